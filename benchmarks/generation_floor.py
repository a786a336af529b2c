"""The floor of the seconds an image: its operations, counted, over the measured rate of the GPU. For `generate`."""

from __future__ import annotations

import statistics

from generation import PRESETS
from generation.model.weights import Base


def floor(base: Base, device: str, size: int | None) -> dict[str, float]:
    """TFLOP of one UNet pass and of decoding one image, and on a GPU its measured bfloat16 rate in TFLOP/s."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from torch.utils.flop_counter import FlopCounterMode

    edge = size or base.size
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(base.config("unet")).eval()
        vae = AutoencoderKL.from_config(base.config("vae")).eval()
        side = edge // base.size_step
        latents = torch.empty(1, unet.config.in_channels, side, side)
        pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
        added = {"text_embeds": torch.empty(1, pooled), "time_ids": torch.empty(1, 6)}
        words = torch.empty(1, 77, unet.config.cross_attention_dim)
    counts = {}
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            unet(latents, torch.empty(1, device="meta"), encoder_hidden_states=words, added_cond_kwargs=added)
        counts["unet_pass_tflop"] = counter.get_total_flops() / 1e12
        with FlopCounterMode(display=False) as counter:
            vae.decode(latents)
        counts["decode_tflop"] = counter.get_total_flops() / 1e12
    if device == "cuda":
        counts["bf16_tflop_per_s"] = _matmul_rate()
    return counts


def _matmul_rate(edge: int = 8192, times: int = 20) -> float:
    """TFLOP/s of a bfloat16 matrix product of random numbers: the median."""
    import torch

    left, right = (torch.randn(edge, edge, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    seconds = []
    for _ in range(times):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        left @ right
        end.record()
        end.synchronize()
        seconds.append(begin.elapsed_time(end) / 1000)
    return 2 * edge**3 / statistics.median(seconds) / 1e12


def image_tflop(preset: str, counts: dict[str, float]) -> float:
    """TFLOP of one image with this preset: its UNet passes, and decoding."""
    chosen = PRESETS[preset]
    return chosen.steps * (2 if chosen.guidance > 1 else 1) * counts["unet_pass_tflop"] + counts["decode_tflop"]


def floor_text(counts: dict[str, float]) -> str:
    """The floor in words."""
    text = f"One UNet pass is {counts['unet_pass_tflop']:.4g} TFLOP, decoding one image {counts['decode_tflop']:.4g}."
    if rate := counts.get("bf16_tflop_per_s"):
        floors = ", ".join(f"{name} {image_tflop(name, counts) / rate:.2f} s" for name in ("reference", "draft"))
        text += f" The GPU's bfloat16 matrix product runs at {rate:.0f} TFLOP/s: the floor for each image is {floors}."
    return text
