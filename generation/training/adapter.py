"""A LoRA on a UNet's attention: added to the UNet, and written as diffusers reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation.atomic_write import private_folder, write_atomic

if TYPE_CHECKING:
    import torch

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The attention's projections, on which COIN's LoRA is, and the starter's."""
LORA_FILE = "pytorch_lora_weights.safetensors"


def add_lora(unet: Any, *, rank: int = 8, alpha: float | None = None, seed: int | None = None) -> None:
    """Freeze `unet` and add a trainable LoRA to its attention projections (peft).

    Its strength is alpha / rank, 1 by default. A `seed` makes its initial weights reproducible; the LoRA initially
    changes nothing.
    """
    import contextlib

    import torch
    from peft import LoraConfig

    unet.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=alpha or rank, init_lora_weights="gaussian", target_modules=list(TARGETS))
    with contextlib.nullcontext() if seed is None else torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        unet.add_adapter(config)


def trained_parameters(model: Any) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Names and values of the trained parameters, in the model's order."""
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def save_lora(unet: Any, folder: Path, *, dtype: torch.dtype | None = None) -> Path:
    """Write `pytorch_lora_weights.safetensors`, the file that `load_lora_weights` reads from a folder; returns it.

    Atomic; by default in float16. A strength other than 1 is multiplied into the weights, since no field of the file
    format for it is known to every reader.
    """
    import torch
    from diffusers.utils.state_dict_utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save

    (config,) = unet.peft_config.values()
    strength = config.lora_alpha / config.r
    weights = {}
    for name, value in convert_state_dict_to_diffusers(get_peft_model_state_dict(unet)).items():
        scaled = value.detach().float() * (strength if ".up." in name or ".lora_B." in name else 1.0)
        weights[f"unet.{name}"] = scaled.to("cpu", dtype or torch.float16).contiguous()
    private_folder(folder)
    return write_atomic(folder / LORA_FILE, save(weights, metadata={"format": "pt"}))
