"""The starter CLIP's text tower, handed on as SDXL's two text encoders.

SDXL reads its prompt with the text towers of two trained CLIPs. The starter has one CLIP; its whole tower becomes the
second encoder (with the projection, as in SDXL), and its first two layers, which are nearer to the words, the first.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from generation.training.starter.base import write_text_encoder

FIRST_LAYERS = 2


def hand_on_text_tower(clip_folder: Path, first: Path, second: Path) -> None:
    """Write the folders `first` (CLIPTextModel, two layers) and `second` (CLIPTextModelWithProjection, all layers)."""
    from safetensors.numpy import load_file

    weights = {
        name: value.astype(np.float32)
        for name, value in load_file(clip_folder / "open_clip_model.safetensors").items()
        if not name.startswith("visual.")
    }
    text = json.loads((clip_folder / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
    end_id = text["vocab_size"] - 1
    for folder, layers, projection in ((first, FIRST_LAYERS, False), (second, text["layers"], True)):
        named = rename(weights, layers=layers)
        if projection:
            named["text_projection.weight"] = weights["text_projection"].T
        write_text_encoder(folder, named, layers=layers, heads=text["heads"], end_id=end_id, projection=projection)


def rename(weights: dict[str, NDArray[np.float32]], *, layers: int) -> dict[str, NDArray[np.float32]]:
    """open_clip's names of the text tower's first `layers` layers under transformers' names; shapes stay."""
    named = {
        "text_model.embeddings.token_embedding.weight": weights["token_embedding.weight"],
        "text_model.embeddings.position_embedding.weight": weights["positional_embedding"],
        "text_model.final_layer_norm.weight": weights["ln_final.weight"],
        "text_model.final_layer_norm.bias": weights["ln_final.bias"],
    }
    pairs = {
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
        "attn.out_proj": "self_attn.out_proj",
    }
    for layer in range(layers):
        theirs, ours = f"transformer.resblocks.{layer}.", f"text_model.encoder.layers.{layer}."
        for part in ("weight", "bias"):
            for old, new in pairs.items():
                named[f"{ours}{new}.{part}"] = weights[f"{theirs}{old}.{part}"]
            joined = weights[f"{theirs}attn.in_proj_{part}"]
            for name, block in zip(("q_proj", "k_proj", "v_proj"), np.split(joined, 3), strict=True):
                named[f"{ours}self_attn.{name}.{part}"] = block
    return named
