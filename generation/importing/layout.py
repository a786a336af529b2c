"""The shapes of a base's tensors by its configurations alone: models without memory, on torch's meta device."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

from generation.importing.sdxl_layout import CONFIGS, write_sdxl_layout
from generation.model.files.meta_model import COMPONENTS, meta_model
from generation.model.lora.names import weight_shapes
from generation.model.weights import find_base


def meta_models(folder: Path) -> dict[str, Any]:
    """The models that the configurations in `folder` describe, by component."""
    paths = {name: folder / name / "config.json" for name in COMPONENTS}
    return _models({name: json.loads(path.read_text("utf-8")) for name, path in paths.items() if path.is_file()})


def tensor_shapes(component: str, model: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a model by its published name: transformers 5 left out a level of the encoders."""
    return {
        name
        if not component.startswith("text_encoder") or name.startswith(("text_model.", "text_projection."))
        else f"text_model.{name}": tuple(value.shape)
        for name, value in model.state_dict().items()
    }


def base_shapes(base: str | Path) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes of the layers of a base, for the names in a LoRA."""
    return weight_shapes(meta_models(find_base(base).folder))


@functools.cache
def sdxl_shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """The same of SDXL 1.0."""
    return weight_shapes(_models(CONFIGS))


def sdxl_folder(folder: str) -> Path:
    """SDXL 1.0's configurations and tokenizers, written below `folder`."""
    return write_sdxl_layout(Path(tempfile.mkdtemp(dir=folder)))


def _models(configs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: meta_model(name, config) for name, config in configs.items()}
