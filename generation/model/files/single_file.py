"""The names that SDXL's tensors have in single-file checkpoints (Stability's own layout), and single-file VAEs.

Everything is a renaming, except that OpenCLIP keeps queries, keys and values in one tensor and its projection
transposed, and that the VAE's attention is written as convolutions of one pixel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from generation.model.lora.names import sgm_names

if TYPE_CHECKING:
    import torch

PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "conditioner.embedders.0.transformer.",
    "text_encoder_2": "conditioner.embedders.1.model.",
}
NOT_WEIGHTS = re.compile(r".*\.(?:position_ids|logit_scale)|denoiser\.sigmas")
"""Tensors of such files that diffusers' layout has no place for and that nothing is computed from."""
_OTHER_KINDS = {
    "cond_stage_model.": "a checkpoint of Stable Diffusion 1 or 2",
    "conditioner.embedders.0.model.": "a checkpoint of SDXL's refiner",
    ".joint_blocks.": "a checkpoint of Stable Diffusion 3",
    "double_blocks.": "a checkpoint of Flux",
    "single_transformer_blocks.": "a checkpoint of Flux",
    ".lora_": "a LoRA (`coin lora import` brings one in)",
}
"""What a file is that has a name with such a part."""
Taken = Callable[["torch.Tensor"], "torch.Tensor"]
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_CLIP_FIXED = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
    "text_projection.weight": "text_projection",
}


def other_kind(names: Iterable[str]) -> str:
    """What a file with tensors of these names is, where it is known and no base of SDXL; "" where it may be one."""
    known = list(names)
    return next((kind for part, kind in _OTHER_KINDS.items() if any(part in name for name in known)), "")


def single_file_names(component: str, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, str, Taken]]:
    """For each tensor of a component in diffusers' layout: its name, its name in a single file, how it is taken.

    Names in a single file are without the component's prefix (`PREFIXES`).
    """
    if component == "unet":
        layers = sgm_names({name.rpartition(".")[0]: () for name in shapes})
        for name in shapes:
            layer, _, kind = name.rpartition(".")
            yield name, f"{layers[layer]}.{kind}", _as_it_is
    elif component == "vae":
        levels = 1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("decoder.up_blocks."))
        for name, shape in shapes.items():
            other = _vae_name(name, levels)
            yield name, other, _pixel_to_row if ".attn_1." in other and len(shape) == 2 else _as_it_is
    elif component == "text_encoder":
        for name in shapes:
            yield name, f"text_model.{name.removeprefix('text_model.')}", _as_it_is
    else:
        for name in shapes:
            yield (name, *_open_clip_name(name.removeprefix("text_model.")))


def read_single_file_vae(names: Iterable[str]) -> str | None:
    """The prefix of a VAE's names in a single file: "" or `first_stage_model.`; None if it is in diffusers' layout."""
    names = set(names)
    if "encoder.down_blocks.0.resnets.0.conv1.weight" in names:
        return None
    return PREFIXES["vae"] if any(name.startswith(PREFIXES["vae"]) for name in names) else ""


def taken_shape(shape: tuple[int, ...], take: Taken) -> tuple[int, ...] | None:
    """The shape that a stored tensor has once it is taken, without reading it; None where it cannot be taken so."""
    import torch

    try:
        return tuple(take(torch.empty(shape, device="meta")).shape)
    except (RuntimeError, IndexError):
        return None


def _vae_name(name: str, levels: int) -> str:
    side, _, rest = name.partition(".")
    if match := re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d+)\.(.+)", rest):
        way, block, kind, index, inner = match.groups()
        level = int(block) if way == "down" else levels - 1 - int(block)
        if kind != "resnets":
            return f"{side}.{way}.{level}.{way}sample.{inner}"
        return f"{side}.{way}.{level}.block.{index}.{inner.replace('conv_shortcut', 'nin_shortcut')}"
    if match := re.fullmatch(r"mid_block\.resnets\.(\d+)\.(.+)", rest):
        return f"{side}.mid.block_{int(match[1]) + 1}.{match[2].replace('conv_shortcut', 'nin_shortcut')}"
    if match := re.fullmatch(r"mid_block\.attentions\.0\.(.+)\.(weight|bias)", rest):
        return f"{side}.mid.attn_1.{_VAE_ATTENTION[match[1]]}.{match[2]}"
    return name.replace(".conv_norm_out.", ".norm_out.")


def _open_clip_name(name: str) -> tuple[str, Taken]:
    if name in _CLIP_FIXED:
        return _CLIP_FIXED[name], _transposed if name == "text_projection.weight" else _as_it_is
    match = re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if match is None:
        return name, _as_it_is
    layer, inner, kind = match.groups()
    before = f"transformer.resblocks.{layer}"
    if inner in _CLIP_LAYER:
        return f"{before}.{_CLIP_LAYER[inner]}.{kind}", _as_it_is
    third = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj").index(inner)
    return f"{before}.attn.in_proj_{kind}", lambda tensor: tensor.chunk(3)[third]


def _as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _transposed(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.T


def _pixel_to_row(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(tensor.shape[:2])
