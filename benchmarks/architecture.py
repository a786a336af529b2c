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
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generation.importing import sdxl_layout

if TYPE_CHECKING:
    import torch

ASSUMED_RANK = 4
LORA_FILE = "pytorch_lora_weights.safetensors"
_LORA_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")


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


SDXL = Architecture(**{part: sdxl_layout.CONFIGS[part] for part in ("unet", "vae", "text_encoder", "text_encoder_2")})
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
        sdxl_layout.write_config(part / "config.json", config)
    sdxl_layout.write_layout_without_models(folder)
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
