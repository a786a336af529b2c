"""The starter's CLIP: a small convolutional image tower and a small text tower, in open_clip's format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

EMBED_DIM = 192
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")
PREPROCESS: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def model_config(vocabulary: int) -> dict[str, Any]:
    """The architecture in open_clip's terms (`model_cfg`)."""
    return {
        "embed_dim": EMBED_DIM,
        "vision_cfg": {
            "timm_model_name": "mobilenetv4_conv_small",
            "timm_model_pretrained": False,
            "timm_pool": "avg",
            "timm_proj": "",  # the trunk's own classifier layer is the projection
            "image_size": 128,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": vocabulary,
            "hf_tokenizer_name": "local",
            "width": 192,
            "heads": 6,
            "layers": 4,
        },
    }


def new_clip(
    tokenizer_folder: Path, *, start_from: Path | None = None, drop_path: float = 0.0
) -> tuple[Any, dict[str, Any]]:
    """A CLIP for the vocabulary of `tokenizer_folder`, and its config; with the weights of the folder `start_from`.

    `drop_path` is the share of residual branches that a training skips; it is in no config that is saved. Where
    `start_from` had another vocabulary, the embeddings of the tokens that both have are taken over, token by token.
    """
    import open_clip
    import torch
    from safetensors.torch import load_file

    vocabulary = _vocabulary(tokenizer_folder)
    config = model_config(len(vocabulary))
    model = open_clip.CLIP(**{**config, "vision_cfg": {**config["vision_cfg"], "timm_drop_path": drop_path}})
    if start_from is not None:
        earlier = _vocabulary(start_from)
        weights = load_file(start_from / "open_clip_model.safetensors")
        weights = {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
        embedding = model.state_dict()["token_embedding.weight"].clone()
        common = [token for token in vocabulary if token in earlier]
        embedding[[vocabulary[token] for token in common]] = weights["token_embedding.weight"][
            [earlier[token] for token in common]
        ]
        model.load_state_dict({**weights, "token_embedding.weight": embedding})
    return model.to(memory_format=torch.channels_last), config


def _vocabulary(folder: Path) -> dict[str, int]:
    entries: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    return entries


def encode_text(model: Any, tokens: Any) -> Any:
    """open_clip's `model.encode_text` without the padding: attention is causal, so what follows END cannot matter."""
    import torch

    ends = tokens.argmax(1)
    length = int(ends.max()) + 1
    x = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    return x[torch.arange(len(x)), ends] @ model.text_projection


def save_clip(weights: dict[str, Any], config: dict[str, Any], tokenizer_folder: Path, folder: Path) -> None:
    """Write the folder that `local-dir:` loads: config, fp16 weights (of a state dict), tokenizer files."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    document = {"model_cfg": config, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    halved = {
        name: (value.half() if value.is_floating_point() else value).contiguous() for name, value in weights.items()
    }
    save_file(halved, folder / "open_clip_model.safetensors")
    for name in TOKENIZER_FILES:
        if (tokenizer_folder / name).resolve() != (folder / name).resolve():
            shutil.copyfile(tokenizer_folder / name, folder / name)
