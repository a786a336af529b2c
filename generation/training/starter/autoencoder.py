"""Training the starter's autoencoder: 128 px fields to 8 × 8 latents and back.

Losses: absolute error at full size, the same on a Laplacian pyramid (edges of nuclei are few pixels but are what a
pathologist reads), and on the differences between colour channels. A small autoencoder drew grey cells for an hour
before it learned the stain; it therefore begins as a thumbnail: its residual path is set so that the untrained network
passes on the field's colours averaged over 16 px, and training only has to add what is finer. In the second half of the
time the decoder goes on alone, from latents that no longer move, at half the cost a step (33 minutes of it took
the shipped weights' reconstruction loss from 0.267 to 0.208).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

DECODER_ALONE = 0.5  # of the training time
# Full-size levels are kept narrow: at 128 px they would cost more than the denoiser (16 × smaller latents do not).
CONFIG: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 5,
    "up_block_types": ["UpDecoderBlock2D"] * 5,
    "block_out_channels": [8, 16, 40, 80, 128],
    "layers_per_block": 1,
    "latent_channels": 12,
    "norm_num_groups": 1,  # more groups would be one channel each at full size, and wipe out a field's mean colour
    "sample_size": 128,
    "act_fn": "silu",
    "force_upcast": False,
}


def to_tensor(images: NDArray[np.uint8]) -> torch.Tensor:
    """uint8[n, h, w, 3] to float32[n, 3, h, w] in -1…1, channels last."""
    import torch

    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
    return pixels.to(memory_format=torch.channels_last).float().div_(127.5).sub_(1.0)


def reconstruction_loss(restored: torch.Tensor, original: torch.Tensor) -> torch.Tensor:
    """Scalar: absolute error at full size and on a Laplacian pyramid, and of hue at full size and coarsely."""
    import torch
    import torch.nn.functional as F

    error = restored - original
    red, green, blue = error.unbind(1)
    hue = torch.stack([red - green, blue - (red + green) / 2], 1)
    loss = error.abs().mean() + hue.abs().mean() + 2.0 * F.avg_pool2d(hue, 8).abs().mean()
    for _ in range(3):
        coarse = F.avg_pool2d(error, 2)
        loss = loss + 0.6 * (error - F.interpolate(coarse, scale_factor=2.0)).abs().mean()
        error = coarse
    return loss + 2.0 * error.abs().mean()


def train_autoencoder(
    images: NDArray[np.uint8],
    folder: Path,
    *,
    seconds: float,
    batch_size: int = 8,
    learning_rate: float = 2e-3,
    seed: int = 0,
    log: Callable[[str], None] = lambda line: None,
    checkpoint_every: float = 300.0,
) -> None:
    """Train for `seconds` (cosine decay over them) and save `folder` as a diffusers AutoencoderKL in float32.

    The latents' scaling factor is measured at the end and stored in the config, as SDXL does.
    """
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    vae = AutoencoderKL(**CONFIG)
    begin_as_thumbnail(vae)
    vae.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(vae.parameters(), learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    started = saved = time.monotonic()
    step, running = 0, 0.0
    while (elapsed := time.monotonic() - started) < seconds:
        together = elapsed < seconds * (1 - DECODER_ALONE)
        begun, length = (0.0, 1 - DECODER_ALONE) if together else (1 - DECODER_ALONE, DECODER_ALONE)
        progress = (elapsed / seconds - begun) / length  # each half has its own cosine
        rate = learning_rate * min(1.0, (step + 1) / 100) * (0.5 * (1 + np.cos(np.pi * progress)) + 0.01)
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = to_tensor(augment(images[np.sort(rng.choice(len(images), batch_size, replace=False))], rng))
        with torch.set_grad_enabled(together):
            posterior = vae.encode(batch).latent_dist
            latents = posterior.sample() if together else posterior.mode()
        loss = reconstruction_loss(vae.decode(latents).sample, batch)
        if together:
            loss = loss + 2e-5 * posterior.kl().mean() / CONFIG["latent_channels"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        step += 1
        running = 0.98 * running + 0.02 * float(loss.detach()) if step > 1 else float(loss.detach())
        if step % 50 == 0:
            log(f"autoencoder step {step} loss {running:.4f} {elapsed:.0f} s")
        if time.monotonic() - saved > checkpoint_every:
            vae.save_pretrained(folder)
            saved = time.monotonic()
    vae.eval()
    latents = encode(vae, images[:: max(len(images) // 512, 1)])
    vae.register_to_config(scaling_factor=float(1.0 / latents.std()))
    vae.save_pretrained(folder)


def begin_as_thumbnail(vae: Any) -> None:
    """Set the untrained residual path to carry colour: channels 0-2 as they are, 3-5 negated.

    Both signs are needed because silu(x) - silu(-x) = x: the activation before each half's last convolution then
    passes colour unbent. Side branches start at a tenth of their strength.
    """
    import torch

    def carry(weight: torch.Tensor, rows: list[tuple[int, int, float]], *, halve: bool = False) -> None:
        for out, into, sign in rows:
            if halve:  # stride two, padded at the end: the mean of two by two pixels
                weight[out, into, :2, :2] = sign / 4
            else:
                weight[out, into, weight.shape[2] // 2, weight.shape[3] // 2] = sign

    same = [(i, i, 1.0) for i in range(6)]
    both_signs = [(i, i, 1.0) for i in range(3)] + [(i + 3, i, -1.0) for i in range(3)]
    joined = [(i, i, 1.0) for i in range(3)] + [(i, i + 3, -1.0) for i in range(3)]
    with torch.no_grad():
        for name, module in vae.named_modules():
            if name.endswith(("conv2", "to_out.0")):
                module.weight.mul_(0.1)
            elif name.endswith("conv_shortcut"):
                module.weight[:6] = 0
                carry(module.weight, same)
            elif ".downsamplers." in name and name.endswith("conv"):
                module.weight[:6] = 0
                carry(module.weight, same, halve=True)
            elif ".upsamplers." in name and name.endswith("conv"):
                module.weight[:6] = 0
                carry(module.weight, same)
        for part in (vae.encoder, vae.decoder):
            part.conv_in.weight[:6] = 0
            carry(part.conv_in.weight, both_signs)
            part.conv_out.weight[:3] = 0
            carry(part.conv_out.weight, joined)
        for conv in (vae.quant_conv, vae.post_quant_conv):
            conv.weight[:3] = 0
            carry(conv.weight, same[:3])
        latent = CONFIG["latent_channels"]
        vae.quant_conv.weight[latent:] *= 0.1
        vae.quant_conv.bias[latent:] = -4.0  # little noise at first, so that small differences in colour survive


def augment(images: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Flips and quarter turns: a smear has no up."""
    turned = np.rot90(images, int(rng.integers(4)), axes=(1, 2))
    return turned[:, ::-1] if rng.random() < 0.5 else turned


def encode(vae: Any, images: NDArray[np.uint8], *, batch_size: int = 32) -> NDArray[np.float32]:
    """Mean latents, unscaled: float32[n, channels, 8, 8]."""
    import torch

    with torch.inference_mode():
        parts = [
            vae.encode(to_tensor(images[i : i + batch_size])).latent_dist.mean.float().contiguous().numpy()
            for i in range(0, len(images), batch_size)
        ]
    return np.concatenate(parts)


def restore(vae: Any, images: NDArray[np.uint8], *, batch_size: int = 16) -> NDArray[np.uint8]:
    """The images as the autoencoder gives them back, which is how sharp a generated image can be: same shape."""
    import torch

    restored = np.empty(images.shape, np.uint8)
    with torch.inference_mode():
        for i in range(0, len(images), batch_size):
            decoded = vae.decode(vae.encode(to_tensor(images[i : i + batch_size])).latent_dist.mean).sample
            pixels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
            restored[i : i + batch_size] = pixels.permute(0, 2, 3, 1).numpy()
    return restored
