"""The components of a base by their configurations alone: models without memory, on torch's meta device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

COMPONENTS: Final = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
    "text_encoder_2": "CLIPTextModelWithProjection",
}
"""Those that have weights, with the names of their classes."""


def meta_model(component: str, config: Mapping[str, Any]) -> Any:
    """The model that a component's configuration describes."""
    import torch

    with torch.device("meta"):
        if component.startswith("text_encoder"):
            import transformers

            return getattr(transformers, COMPONENTS[component])(transformers.CLIPTextConfig.from_dict(dict(config)))
        import diffusers

        return getattr(diffusers, COMPONENTS[component]).from_config(dict(config))
