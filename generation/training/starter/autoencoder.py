"""Training the starter's autoencoder: 128 px fields to 8 × 8 latents and back.

Losses: absolute error at full size, the same on a Laplacian pyramid (edges of nuclei are few pixels but are what a
pathologist reads), and on the differences between colour channels. A small autoencoder restored grey cells for an hour
before it learned the stain. It therefore begins as a thumbnail: its residual path is set so that the untrained network
passes on the field's colours averaged over 16 px, and training only has to add finer detail. In the second half of the
steps the decoder is trained alone, from latents that no longer change, at half the cost a step (33 minutes of it took
the shipped weights' reconstruction loss from 0.267 to 0.208).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from generation.training.run_settings import decayed_rate

if TYPE_CHECKING:
    import torch

DECODER_ALONE = 0.5  # share of the steps
FEATURE_WEIGHT = 0.2
"""Of the loss by a network's features, beside that by pixels."""
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
    """Absolute error at full size and on a Laplacian pyramid, and of hue at full size and coarsely.

    Both are float32[n, 3, h, w]; returns a scalar.
    """
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


def feature_loss(
    features: Callable[[torch.Tensor], list[torch.Tensor]], restored: torch.Tensor, original: torch.Tensor
) -> torch.Tensor:
    """Squared distance of a fixed network's features, each position's scaled to length one (Zhang et al. 2018,
    arXiv:1801.03924). Both images are float32[n, 3, h, w] in -1…1; returns a scalar."""
    import torch
    import torch.nn.functional as F

    with torch.no_grad():
        wanted = features(original)
    pairs = zip(features(restored), wanted, strict=True)
    return torch.stack([(F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(1).mean() for a, b in pairs]).sum()


def train_autoencoder(
    draw: Callable[[np.random.Generator, int], NDArray[np.uint8]],
    folder: Path,
    *,
    steps: int,
    start_from: Path | None = None,
    features: Callable[[torch.Tensor], list[torch.Tensor]] | None = None,
    batch_size: int = 8,
    learning_rate: float = 2e-3,
    seed: int = 0,
    log: Callable[[str], None] = lambda line: None,
) -> None:
    """Train and save `folder` as a diffusers AutoencoderKL in float32.

    The rate falls along a cosine in each half of the steps. The latents' scaling factor is measured at the end and
    stored in the config, as SDXL does.

    Args:
        draw: gives n images uint8[n, 128, 128, 3] by chance.
        start_from: an autoencoder to go on from; None: from the thumbnail.
        features: a network that stays as it is; what it sees of float32[n, 3, h, w] counts beside the pixels, since
            chromatin that is lost costs few grey values.
    """
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    vae: Any = AutoencoderKL(**CONFIG) if start_from is None else AutoencoderKL.from_pretrained(start_from).float()
    if start_from is None:
        begin_as_thumbnail(vae)
    vae.train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(vae.parameters(), learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    both = steps - round(steps * DECODER_ALONE)  # steps in which the encoder is trained, too
    running = 0.0
    for step in range(steps):
        together = step < both
        begin, end = (0, both) if together else (both, steps)
        rate = decayed_rate(step, peak=learning_rate, steps=end, begin=begin, floor=0.01)
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = to_tensor(augment(draw(rng, batch_size), rng))
        with torch.set_grad_enabled(together):
            posterior = vae.encode(batch).latent_dist
            latents = posterior.sample() if together else posterior.mode()
        restored = vae.decode(latents).sample
        loss = reconstruction_loss(restored, batch)
        if features is not None:
            loss = loss + FEATURE_WEIGHT * feature_loss(features, restored, batch)
        if together:
            loss = loss + 2e-5 * posterior.kl().mean() / CONFIG["latent_channels"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        running = 0.98 * running + 0.02 * float(loss.detach()) if step else float(loss.detach())
        if (step + 1) % 50 == 0:
            log(f"autoencoder step {step + 1} of {steps} loss {running:.4f}")
    vae.eval()
    latents = encode(vae, draw(rng, 512))
    vae.register_to_config(scaling_factor=float(1.0 / latents.std()))
    vae.save_pretrained(folder)


def begin_as_thumbnail(vae: Any) -> None:
    """Set the untrained residual path to carry colour: channels 0-2 unchanged, 3-5 negated.

    Both signs are needed because silu(x) - silu(-x) = x: the activation before each half's last convolution then
    passes colour linearly. Side branches start at a tenth of their strength.
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
    """Flip and turn square images uint8[n, s, s, 3] by quarters, all alike: a smear has no upright position."""
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
    """Encode and decode images uint8[n, h, w, 3]; same shape. No generated image can be sharper."""
    import torch

    restored = np.empty(images.shape, np.uint8)
    with torch.inference_mode():
        for i in range(0, len(images), batch_size):
            decoded = vae.decode(vae.encode(to_tensor(images[i : i + batch_size])).latent_dist.mean).sample
            pixels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
            restored[i : i + batch_size] = pixels.permute(0, 2, 3, 1).numpy()
    return restored
