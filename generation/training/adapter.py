"""A LoRA on the attention of a UNet and of text encoders: added to them, and written as diffusers reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation.atomic_write import private_folder, write_atomic
from generation.errors import LoraMismatchError
from generation.model.files.stored_weights import StoredWeights

if TYPE_CHECKING:
    import torch

    from generation.model.lora.lora_file import LoraContent

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The attention's projections, on which COIN's LoRA is, and the starter's."""
TEXT_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
"""The same of a text encoder, as in diffusers' training scripts."""
LORA_FILE = "pytorch_lora_weights.safetensors"


def add_lora(
    model: Any,
    *,
    rank: int = 8,
    alpha: float | None = None,
    seed: int | None = None,
    targets: Sequence[str] = TARGETS,
) -> None:
    """Freeze a UNet, or another model, and add a trainable LoRA to its attention projections (peft).

    Its strength is alpha / rank, 1 by default. A `seed` makes its initial weights reproducible; the LoRA initially
    changes nothing.
    """
    import contextlib

    import torch
    from peft import LoraConfig

    model.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=alpha or rank, init_lora_weights="gaussian", target_modules=list(targets))
    with contextlib.nullcontext() if seed is None else torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        model.add_adapter(config)


def start_from(models: Mapping[str, Any], content: LoraContent, *, name: str) -> None:
    """Give the LoRA that `add_lora` put on `models` ("unet", "text_encoder" …) the weights of another, which was read
    for the same base.

    Raises `LoraMismatchError` if that one is of another rank or kind, or on other layers: it would not go on as it is.
    """
    import torch

    (config,) = models["unet"].peft_config.values()
    weights = {part: dict(trained_parameters(model)) for part, model in models.items()}
    files = {change.path: StoredWeights([change.path]) for change in content.changes}
    with torch.no_grad():
        for change in content.changes:
            if change.part not in models:
                raise LoraMismatchError(
                    f"The LoRA {name} changes the text encoders, too: give --text-encoder to train it further there."
                )
            down, up = (weights[change.part].get(f"{change.layer}.lora_{side}.default.weight") for side in "AB")
            if down is None or up is None or not {"down", "up"} <= set(change.keys) <= {"down", "up", "alpha"}:
                raise LoraMismatchError(
                    f"The LoRA {name} changes {change.layer} in a way that is not trained here: low rank, on the "
                    "projections of the attention. Begin without it."
                )
            if change.rank != config.r:
                raise LoraMismatchError(f"The LoRA {name} has rank {change.rank}. Give --rank {change.rank}.")
            read = {role: files[change.path].read(key, torch.float32) for role, key in change.keys.items()}
            strength = change.strength
            if strength is None:
                strength = float(read["alpha"]) / config.r if "alpha" in read else 1.0
            down.copy_(read["down"].reshape(down.shape))
            up.copy_(read["up"].reshape(up.shape) * (strength * config.r / config.lora_alpha))


def trained_parameters(model: Any) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Names and values of the trained parameters, in the model's order."""
    return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)


def save_lora(
    unet: Any, folder: Path, *, dtype: torch.dtype | None = None, text_encoders: Mapping[str, Any] | None = None
) -> Path:
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
    for part, model in {"unet": unet, **(text_encoders or {})}.items():
        for name, value in convert_state_dict_to_diffusers(get_peft_model_state_dict(model)).items():
            scaled = value.detach().float() * (strength if ".up." in name or ".lora_B." in name else 1.0)
            # transformers 5 took this level out of one of the encoders; published files have it
            level = "" if part == "unet" or name.startswith("text_model.") else "text_model."
            weights[f"{part}.{level}{name}"] = scaled.to("cpu", dtype or torch.float16).contiguous()
    private_folder(folder)
    return write_atomic(folder / LORA_FILE, save(weights, metadata={"format": "pt"}))
