"""The starter's CLIP: a small convolutional image tower and a small text tower, in open_clip's format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

EMBED_DIM = 192
TRUNK = "tf_efficientnet_lite0"
"""The image tower in timm's terms: EfficientNet-Lite0 (Tan and Le 2019, arXiv:1905.11946), 3.4 million weights."""
TEXT_LAYERS = 4
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")
PREPROCESS: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def model_config(vocabulary: int, text_layers: int = TEXT_LAYERS) -> dict[str, Any]:
    """The architecture in open_clip's terms (`model_cfg`)."""
    return {
        "embed_dim": EMBED_DIM,
        "vision_cfg": {
            "timm_model_name": TRUNK,
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
            "layers": text_layers,
        },
    }


def new_clip(
    tokenizer_folder: Path, *, start_from: Path | None = None, drop_path: float = 0.0
) -> tuple[Any, dict[str, Any]]:
    """A CLIP for the vocabulary of `tokenizer_folder`, and its config; with the weights of the folder `start_from`, and
    as many layers of text as it has.

    `drop_path` is the share of residual branches that a training skips; it is in no config that is saved. Where
    `start_from` had another vocabulary, the embeddings of the tokens that both have are taken over, token by token.
    """
    import open_clip
    import torch
    from safetensors.torch import load_file

    vocabulary = _vocabulary(tokenizer_folder)
    config = model_config(len(vocabulary), TEXT_LAYERS if start_from is None else _text_layers(start_from))
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


def write_imagenet_start(trunk: Path, text_tower: Path, folder: Path) -> None:
    """Write the CLIP `folder` that a training starts from: the image tower has learned from ImageNet alone (its last
    layer nothing yet), the text tower is that of the CLIP folder `text_tower`.

    `trunk` is timm's state dict of TRUNK as safetensors. Raises KeyError or RuntimeError where it is of another model.
    """
    from safetensors.torch import load_file

    model, config = new_clip(text_tower, start_from=text_tower)
    learned = {name: value for name, value in load_file(trunk).items() if not name.startswith("classifier.")}
    own = model.visual.trunk.state_dict()
    model.visual.trunk.load_state_dict(learned | {name: own[name] for name in ("classifier.weight", "classifier.bias")})
    save_clip(model.state_dict(), config, text_tower, folder)


def imagenet_features(trunk: Path) -> Callable[[torch.Tensor], list[torch.Tensor]]:
    """The four stages of TRUNK with ImageNet's weights, as a function of images float32[n, 3, h, w] in -1…1.

    Args:
        trunk: as for `write_imagenet_start`.
    """
    import timm
    import torch
    from safetensors.torch import load_file

    network: Any = timm.create_model(TRUNK, num_classes=0).eval().requires_grad_(False)
    network.load_state_dict({name: v for name, v in load_file(trunk).items() if not name.startswith("classifier.")})
    mean, std = (torch.tensor(network.default_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))

    def features(images: torch.Tensor) -> list[torch.Tensor]:
        seen = ((images + 1) / 2 - mean) / std
        stages: list[torch.Tensor] = network.forward_intermediates(seen, indices=[0, 1, 2, 3], intermediates_only=True)
        return stages

    return features


def _text_layers(folder: Path) -> int:
    document = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    return int(document["model_cfg"]["text_cfg"]["layers"])


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
