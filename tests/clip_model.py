"""A real CLIP, tiny and random, in open_clip's on-disk format: what the encoder's tests load."""

from __future__ import annotations

import json
from pathlib import Path

from generation import quick_import

IMAGE_SIZE = 32
DIM = 32
CONTEXT = 77


def tiny_clip(folder: Path, *, seed: int = 0) -> Path:
    """Write a whole open_clip model (two small transformer towers, byte-level tokenizer) into `folder`.

    The same seed gives the same weights, and so the same fingerprint. Returns the folder.
    """
    import torch
    from safetensors.torch import save_file

    open_clip = quick_import("open_clip")
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _write_tokenizer(folder)
    model_cfg = {
        "embed_dim": DIM,
        "vision_cfg": {"layers": 2, "width": 64, "head_width": 32, "patch_size": 8, "image_size": IMAGE_SIZE},
        "text_cfg": {
            "context_length": CONTEXT,
            "vocab_size": vocabulary,
            # Not empty, or open_clip takes its own tokenizer of 49,408 entries; the folder itself is what is
            # read.
            "hf_tokenizer_name": "local",
            "width": 64,
            "heads": 2,
            "layers": 2,
        },
    }
    preprocess_cfg = {
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "interpolation": "bicubic",
        "resize_mode": "squash",
    }
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**json.loads(json.dumps(model_cfg)))
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder


def _write_tokenizer(folder: Path) -> int:
    """CLIP's byte-level BPE without merges: a token a character. Returns the size of the vocabulary."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    symbols = list(bytes_to_unicode().values())
    tokens = [*symbols, *(f"{symbol}</w>" for symbol in symbols)]
    # The text tower pools at the highest id of a row: the end token must be the last of the vocabulary.
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": CONTEXT,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return len(tokens)
