"""The architecture of SDXL 1.0 with random weights, in the real on-disk formats.

    python -m benchmarks.architecture FOLDER [--device cuda] [--rank 4] [--tiny]

Time and memory do not depend on the values of weights, so the published weights are not needed to measure them. The
files are loaded by the same loaders: a folder in diffusers' layout (UNet, two CLIP text encoders, autoencoder,
tokenizers, scheduler), float16 in safetensors, and a LoRA as diffusers' training scripts write it. The images are
noise, but finite: weights are random with the variance that PyTorch's own initialisation has.

The configurations are those of stabilityai/stable-diffusion-xl-base-1.0. The rank of COIN's LoRA is not published; 4 on
the UNet's attention is what diffusers' `train_text_to_image_lora_sdxl.py` makes by default, and assumed here.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ASSUMED_RANK = 4
LORA_FILE = "pytorch_lora_weights.safetensors"
_LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
_CLIP_TOKENS = 49_408


@dataclass(frozen=True)
class Architecture:
    """The configurations of a pipeline's four models, as their config.json files have them."""

    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    text_encoder_2: Mapping[str, Any]

    def models(self) -> dict[str, Any]:
        """The four models on torch's meta device: names, shapes and numbers of parameters, and no memory."""
        import torch
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        with torch.device("meta"):
            return {
                "unet": UNet2DConditionModel(**self.unet),
                "vae": AutoencoderKL(**self.vae),
                "text_encoder": CLIPTextModel(CLIPTextConfig(**self.text_encoder)),
                "text_encoder_2": CLIPTextModelWithProjection(CLIPTextConfig(**self.text_encoder_2)),
            }


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

SDXL = Architecture(
    unet={
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
    vae={
        "sample_size": 1024,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "latent_channels": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "scaling_factor": 0.13025,
        "force_upcast": True,
    },
    text_encoder={
        **_TEXT,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "hidden_act": "quick_gelu",
        "projection_dim": 768,
    },
    text_encoder_2={
        **_TEXT,
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "hidden_act": "gelu",
        "projection_dim": 1280,
    },
)
# The same kinds of layers in small, 128 px, so that everything that runs on the large one runs on a CPU too.
TINY = Architecture(
    unet={
        **SDXL.unet,
        "sample_size": 16,
        "block_out_channels": (32, 64, 64),
        "attention_head_dim": (1, 2, 2),
        "transformer_layers_per_block": (1, 1, 2),
        "cross_attention_dim": 64 + 96,
        "addition_time_embed_dim": 16,
        "projection_class_embeddings_input_dim": 6 * 16 + 96,
    },
    vae={**SDXL.vae, "sample_size": 128, "block_out_channels": (32, 32, 64, 64)},
    text_encoder={**SDXL.text_encoder, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    | {"num_attention_heads": 2, "projection_dim": 64},
    text_encoder_2={**SDXL.text_encoder_2, "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 2}
    | {"num_attention_heads": 2, "projection_dim": 96},
)

# scheduler_config.json as published.
_SCHEDULER = {
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
_CLASSES = {
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "tokenizer_2": ("transformers", "CLIPTokenizer"),
    "scheduler": ("diffusers", "EulerDiscreteScheduler"),
}


def write_base(folder: str | Path, architecture: Architecture = SDXL, *, device: str = "cpu", seed: int = 0) -> Path:
    """A pipeline with random weights in `folder`, which is returned. SDXL takes 7 GB there.

    Sampled on `device`, one model at a time; on a GPU this takes as long as the disk does.
    """
    import torch
    from safetensors.torch import save_file

    folder = Path(folder)
    generator = torch.Generator(device).manual_seed(seed)
    for name, model in architecture.models().items():
        part = folder / name
        part.mkdir(parents=True, exist_ok=True)
        tensors = _published_names(name, _random(model.state_dict(), generator, device))
        file = "diffusion_pytorch_model" if name in ("unet", "vae") else "model"
        save_file(tensors, part / f"{file}.safetensors", metadata={"format": "pt"})
        kind = {"_class_name": type(model).__name__} if name in ("unet", "vae") else {}
        config = {**kind, **getattr(architecture, name)}
        (part / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    for name, padding in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")):
        _write_tokenizer(folder / name, padding)
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler/scheduler_config.json").write_text(json.dumps(_SCHEDULER, indent=2), encoding="utf-8")
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True, **_CLASSES}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    return folder


def write_lora(
    folder: str | Path, architecture: Architecture = SDXL, *, rank: int = ASSUMED_RANK, seed: int = 1
) -> Path:
    """A LoRA on the UNet's attention in `folder`, which is returned; float32, as training scripts save it."""
    import torch
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, layer in architecture.models()["unet"].named_modules():
        if name.endswith(_LORA_TARGETS):
            wide, narrow = layer.weight.shape
            for half, shape in (("down", (rank, narrow)), ("up", (wide, rank))):
                tensors[f"unet.{name}.lora.{half}.weight"] = 0.02 * torch.randn(shape, generator=generator)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / LORA_FILE, metadata={"format": "pt"})
    return folder


def _random(shapes: Mapping[str, torch.Tensor], generator: torch.Generator, device: str) -> dict[str, torch.Tensor]:
    import torch

    tensors = {}
    for name, like in shapes.items():
        tensor = torch.zeros(like.shape, dtype=torch.float16, device=device)
        if like.ndim > 1:  # the variance of torch's default for linear and convolutional layers: 1 / (3 x inputs)
            inputs = like[0].numel()
            tensor.normal_(std=0.02 if "embedding" in name else (3 * inputs) ** -0.5, generator=generator)
        elif name.endswith("weight"):  # of a normalisation
            tensor.fill_(1)
        tensors[name] = tensor
    return tensors


def _published_names(model: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The text encoders' names as in the published files: transformers 5 left out a level, and reads both."""
    if not model.startswith("text_encoder"):
        return dict(tensors)
    return {
        name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}": tensor
        for name, tensor in tensors.items()
    }


def _write_tokenizer(folder: Path, padding: str) -> None:
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
        raise SystemExit("CLIP's vocabulary is read from the package open_clip_torch: install it.")
    with gzip.open(Path(found.origin).with_name("bpe_simple_vocab_16e6.txt.gz"), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    yield from lines[1 : _CLIP_TOKENS - 256 - 2 - 256 + 1]


def _byte_symbols() -> Iterator[str]:
    """The 256 characters that encode bytes in byte-pair vocabularies of GPT-2's kind, in CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    yield from map(chr, printable)
    yield from (chr(256 + number) for number in range(256 - len(printable)))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rank", type=int, default=ASSUMED_RANK, help="of the LoRA")
    parser.add_argument("--tiny", action="store_true", help="the same kinds of layers in small, for a CPU")
    options = parser.parse_args(arguments)
    architecture = TINY if options.tiny else SDXL
    started = time.perf_counter()
    write_base(options.folder / "base", architecture, device=options.device)
    write_lora(options.folder / "lora", architecture, rank=options.rank)
    for name, model in architecture.models().items():
        print(f"{name:16} {model.num_parameters():>13,} parameters")
    print(f"written to {options.folder} in {time.perf_counter() - started:.1f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
