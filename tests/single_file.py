"""A base in Stability's single-file layout, by code of its own: the names are those of sd_xl_base_1.0.safetensors."""

from __future__ import annotations

import re
from pathlib import Path

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
# The blocks of `tests.models.tiny_sdxl`'s UNet, counted by hand: one layer a block, two blocks.
_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "down_blocks.1.attentions.0": "input_blocks.3.1",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.attentions.0": "output_blocks.0.1",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.attentions.1": "output_blocks.1.1",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def single_file(base: Path) -> dict[str, object]:
    """The tensors of a base written by `tests.models.tiny_sdxl`, as a single-file checkpoint has them."""
    import torch
    from safetensors.torch import load_file

    made: dict[str, object] = {}
    for name, tensor in load_file(base / "unet/diffusion_pytorch_model.safetensors").items():
        block = max((block for block in _BLOCKS if name.startswith(f"{block}.")), key=len)
        rest = name.removeprefix(f"{block}.")
        if ".resnets." in block:
            head, _, tail = rest.partition(".")
            rest = f"{_RESNET[head]}.{tail}"
        made[f"model.diffusion_model.{_BLOCKS[block]}.{rest}"] = tensor
    for name, tensor in load_file(base / "vae/diffusion_pytorch_model.safetensors").items():
        new = _vae(name)
        if ".attn_1." in new and tensor.dim() == 2:
            tensor = tensor[:, :, None, None]
        made[f"first_stage_model.{new}"] = tensor.contiguous()
    for name, tensor in load_file(base / "text_encoder/model.safetensors").items():
        made[f"conditioner.embedders.0.transformer.text_model.{name.removeprefix('text_model.')}"] = tensor
    made["conditioner.embedders.0.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    second = load_file(base / "text_encoder_2/model.safetensors")
    for name, tensor in second.items():
        new = name.removeprefix("text_model.")
        if "q_proj" in name:
            parts = [second[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            new = new.replace("self_attn.q_proj.", "attn.in_proj_")
            tensor = torch.cat(parts)
        elif "k_proj" in name or "v_proj" in name:
            continue
        for old, other in (
            ("encoder.layers.", "transformer.resblocks."),
            ("layer_norm", "ln_"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
            ("self_attn.out_proj", "attn.out_proj"),
            ("embeddings.token_embedding", "token_embedding"),
            ("embeddings.position_embedding.weight", "positional_embedding"),
            ("final_ln_.", "ln_final."),
        ):
            new = new.replace(old, other)
        if name == "text_projection.weight":
            new, tensor = "text_projection", tensor.T.contiguous()
        made[f"conditioner.embedders.1.model.{new}"] = tensor
    made["conditioner.embedders.1.model.logit_scale"] = torch.tensor(4.6)
    return made


def _vae(name: str) -> str:
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{2 - int(m[1])}.block.{m[2]}", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{2 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    for old, new in (
        ("conv_shortcut", "nin_shortcut"),
        ("mid_block.attentions.0", "mid.attn_1"),
        ("group_norm", "norm"),
        ("to_q", "q"),
        ("to_k", "k"),
        ("to_v", "v"),
        ("to_out.0", "proj_out"),
        ("conv_norm_out", "norm_out"),
    ):
        name = name.replace(old, new)
    return name
