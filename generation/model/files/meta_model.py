"""The components of a base by their configurations alone: models without memory, on torch's meta device."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from generation.model.files.network_size import no_larger_than

COMPONENTS: Final = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
    "text_encoder_2": "CLIPTextModelWithProjection",
}
"""Those that have weights, with the names of their classes."""


def meta_model(component: str, config: Mapping[str, Any], weights: Sequence[Path] = ()) -> Any:
    """The model that a component's configuration describes.

    Args:
        weights: its files; where there are any, the model may not be far larger. Raises WeightsError for one that is.
    """
    import torch

    with torch.device("meta"), no_larger_than(weights) if weights else contextlib.nullcontext():
        if component.startswith("text_encoder"):
            import transformers

            return getattr(transformers, COMPONENTS[component])(transformers.CLIPTextConfig.from_dict(dict(config)))
        import diffusers

        return getattr(diffusers, COMPONENTS[component]).from_config(dict(config))
