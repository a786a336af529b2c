"""The layout of stabilityai/stable-diffusion-xl-base-1.0 without its weights, as published.

A single-file checkpoint holds weights and nothing else: configurations and tokenizers come from here, offline.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from generation.errors import WeightsNotFoundError

_CLIP_TOKENS = 49_408

_TEXT: dict[str, Any] = {
    "vocab_size": _CLIP_TOKENS,
    "max_position_embeddings": 77,
    "layer_norm_eps": 1e-5,
    "attention_dropout": 0.0,
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,  # as published; the pooled vector is then taken at the largest token id, which is the end mark
}

CONFIGS: dict[str, dict[str, Any]] = {
    "unet": {
        "sample_size": 128,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (320, 640, 1280),
        "layers_per_block": 2,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),  # numbers of heads, of 64 channels each
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    "vae": {
        "sample_size": 1024,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "latent_channels": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "scaling_factor": 0.13025,
        "force_upcast": True,
    },
    "text_encoder": {
        **_TEXT,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "hidden_act": "quick_gelu",
        "projection_dim": 768,
    },
    "text_encoder_2": {
        **_TEXT,
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "hidden_act": "gelu",
        "projection_dim": 1280,
    },
}
"""The configurations of the models, as their config.json files have them."""
# scheduler_config.json as published.
SCHEDULER: dict[str, Any] = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "use_karras_sigmas": False,
}
CLASSES = {
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "tokenizer_2": ("transformers", "CLIPTokenizer"),
    "scheduler": ("diffusers", "EulerDiscreteScheduler"),
}


def write_sdxl_layout(folder: Path) -> Path:
    """Write configurations, tokenizers and model_index.json to `folder`, which is returned: a base but for weights."""
    for name, config in CONFIGS.items():
        kind = {"_class_name": CLASSES[name][1]} if CLASSES[name][0] == "diffusers" else {}
        write_config(folder / name / "config.json", {**kind, **config})
    write_layout_without_models(folder)
    return folder


def write_layout_without_models(folder: Path) -> None:
    """Write tokenizers, the scheduler's configuration and model_index.json."""
    for name, padding in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")):
        write_tokenizer(folder / name, padding)
    write_config(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True, **CLASSES}
    write_config(folder / "model_index.json", index)


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write a configuration as JSON, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")


def write_tokenizer(folder: Path, padding: str) -> None:
    """CLIP's own vocabulary, which open_clip brings along, in the files that SDXL's tokenizers have."""
    merges = list(_clip_merges())
    alphabet = list(_byte_symbols())
    symbols = [*alphabet, *(f"{symbol}</w>" for symbol in alphabet), *("".join(pair.split()) for pair in merges)]
    symbols += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "do_lower_case": True,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": padding,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def _clip_merges() -> Iterator[str]:
    """The merges of CLIP's byte-pair vocabulary. open_clip's file holds more than CLIP uses, below a head line."""
    found = importlib.util.find_spec("open_clip")  # its folder alone: importing it would import torchvision and timm
    if found is None or found.origin is None:
        raise WeightsNotFoundError("CLIP's vocabulary is read from the package open_clip_torch: install it.")
    with gzip.open(Path(found.origin).with_name("bpe_simple_vocab_16e6.txt.gz"), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    yield from lines[1 : _CLIP_TOKENS - 256 - 2 - 256 + 1]


def _byte_symbols() -> Iterator[str]:
    """The 256 characters that encode bytes in byte-pair vocabularies of GPT-2's kind, in CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    yield from map(chr, printable)
    yield from (chr(256 + number) for number in range(256 - len(printable)))
