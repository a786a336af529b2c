"""The shapes of SDXL 1.0's tensors by its configurations alone: models without memory, on torch's meta device."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

from generation.importing.sdxl_layout import CONFIGS, write_sdxl_layout
from generation.model.files.meta_model import meta_model
from generation.model.lora.names import weight_shapes


def sdxl_models() -> dict[str, Any]:
    """The models of SDXL 1.0, by component."""
    return {name: meta_model(name, config) for name, config in CONFIGS.items()}


def tensor_shapes(component: str, model: Any) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a model by its published name: transformers 5 left out a level of the encoders."""
    return {
        name
        if not component.startswith("text_encoder") or name.startswith(("text_model.", "text_projection."))
        else f"text_model.{name}": tuple(value.shape)
        for name, value in model.state_dict().items()
    }


@functools.cache
def sdxl_shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes of its layers, for the names in a LoRA."""
    return weight_shapes(sdxl_models())


def sdxl_folder(folder: str) -> Path:
    """SDXL 1.0's configurations and tokenizers, written below `folder`."""
    return write_sdxl_layout(Path(tempfile.mkdtemp(dir=folder)))
