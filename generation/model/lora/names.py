"""The names that a layer of an SDXL base goes by in published LoRAs, and the layer that such a name means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

PARTS = ("unet", "text_encoder", "text_encoder_2")
"""The models that a LoRA may change; SDXL can do without the first text encoder."""
Shapes = Mapping[str, Mapping[str, tuple[int, ...]]]
"""For each part of a base, the shape of each layer's weight by the layer's name."""
_FLAT = {
    "unet": ("lora_unet_", "lycoris_"),
    "text_encoder": ("lora_te1_", "lora_te_"),
    "text_encoder_2": ("lora_te2_",),
}
_PART_OF = {**{part: part for part in PARTS}, "clip_l": "text_encoder", "clip_g": "text_encoder_2"}
"""The part that a prefix of a dotted name says: diffusers' names, and those of OneTrainer and ComfyUI."""
_SGM_FIXED = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_SGM_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_INNER = re.compile(r"(down_blocks|up_blocks|mid_block)\.(?:(\d+)\.)?(resnets|attentions)\.(\d+)\.(.+)")
_SCALER = re.compile(r"(?:down|up)_blocks\.(\d+)\.(downsamplers|upsamplers)\.0\.conv")


def weight_shapes(models: Mapping[str, Any]) -> dict[str, dict[str, tuple[int, ...]]]:
    """`Shapes` of the models of a pipeline by their part; a part that is None or missing is left out."""
    return {
        part: {
            name: tuple(module.weight.shape)
            for name, module in model.named_modules()
            if getattr(module, "weight", None) is not None
        }
        for part in PARTS
        if (model := models.get(part)) is not None
    }


def sgm_name(name: str, layers: int, *, attended: bool = True) -> str:
    """The name of a UNet's layer in Stability's own code, which single-file checkpoints and some LoRAs keep.

    Args:
        layers: `layers_per_block` of the UNet.
        attended: whether the block that an upsampler belongs to has attention.
    """
    if name in _SGM_FIXED:
        return _SGM_FIXED[name]
    if match := _SCALER.fullmatch(name):
        block = int(match[1])
        if match[2] == "downsamplers":
            return f"input_blocks.{(block + 1) * (layers + 1)}.0.op"
        return f"output_blocks.{block * (layers + 1) + layers}.{2 if attended else 1}.conv"
    match = _INNER.fullmatch(name)
    if match is None:
        return name
    where, kind, index, rest = match[1], match[3], int(match[4]), match[5]
    if kind == "resnets":
        head, _, tail = rest.partition(".")
        rest = ".".join(filter(None, (_SGM_RESNET.get(head, head), tail)))
    if where == "mid_block":
        return f"middle_block.{1 if kind == 'attentions' else 2 * index}.{rest}"
    side, first = ("input_blocks", 1) if where == "down_blocks" else ("output_blocks", 0)
    return f"{side}.{first + int(match[2]) * (layers + 1) + index}.{int(kind == 'attentions')}.{rest}"


def sgm_names(names: Mapping[str, Any]) -> dict[str, str]:
    """`sgm_name` of each layer of a UNet, by the layer's name."""
    resnets = (re.match(r"down_blocks\.0\.resnets\.(\d+)", name) for name in names)
    layers = 1 + max((int(match[1]) for match in resnets if match), default=0)
    attended = {match[1] for name in names if (match := re.match(r"(up_blocks\.\d+)\.attentions", name))}
    return {name: sgm_name(name, layers, attended=".".join(name.split(".")[:2]) in attended) for name in names}


class LayerNames:
    """Finds the layer of a base that a name in a LoRA means."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes
        self._flat: dict[str, tuple[str, str]] = {}
        self._dotted: dict[str, dict[str, str]] = {part: {} for part in shapes}
        for part, layers in shapes.items():
            sgm = sgm_names(layers) if part == "unet" else {}
            for name in layers:
                for other in (sgm.get(name, name), *_spellings(name, part)):
                    self._dotted[part].setdefault(other, name)
                    for prefix in _FLAT[part]:
                        self._flat.setdefault(prefix + other.replace(".", "_"), (part, name))

    def find(self, name: str, part: str = "") -> tuple[str, str] | None:
        """Part and layer of `name`, or None.

        Prefixes are taken off one by one until a layer's name is left: trainers put many before it
        (`base_model.model.`, `unet.`, `diffusion_model.`, `module.`).

        Args:
            part: the part that names belong to which do not say so; "" is the UNet.
        """
        if name in self._flat:
            return self._flat[name]
        rest = name
        while rest:
            head, _, below = rest.partition(".")
            layer = self._dotted.get(part or "unet", {}).get(rest)
            if layer is not None:
                return part or "unet", layer
            part = _PART_OF.get(head, part)
            rest = below
        return None


def _spellings(name: str, part: str) -> Iterator[str]:
    yield name
    if part != "unet":  # transformers 5 took the level `text_model` out of one encoder and left it in the other
        bare = name.removeprefix("text_model.")
        yield from (bare, f"text_model.{bare}")
