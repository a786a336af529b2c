"""A LoRA on a UNet's attention: put on, read out, written as diffusers reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation.atomic_write import write_atomic

if TYPE_CHECKING:
    import torch

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The attention's projections: what COIN's LoRA, and the starter's, is on."""
LORA_FILE = "pytorch_lora_weights.safetensors"


def add_lora(unet: Any, *, rank: int = 8, alpha: float | None = None, seed: int | None = None) -> None:
    """Freeze `unet` and put a trainable LoRA on its attention projections (peft). Its strength is alpha / rank, 1 by
    default. With a `seed` it begins the same each time; either way it begins as no change at all."""
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
    """Names and parameters that are trained, in the model's order."""
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def save_lora(unet: Any, folder: Path, *, dtype: torch.dtype | None = None) -> Path:
    """Write `pytorch_lora_weights.safetensors`, the file that `load_lora_weights` reads from a folder; returns it.

    Atomic. Another strength than 1 goes into the weights: the file format has no place for it that every reader knows.
    By default in float16.
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
    folder.mkdir(parents=True, exist_ok=True)
    return write_atomic(folder / LORA_FILE, save(weights, metadata={"format": "pt"}))
