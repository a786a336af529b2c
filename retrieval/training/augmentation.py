"""What a query may differ in without being another morphology: position, laboratory, focus, wording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def perturb_fields(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random turn, crop, stain and focus. `pixels` float32[n, 3, h, w] in 0…1; the same shape comes back.

    Stain is varied in optical density (a scale and a shift for each channel, and some mixing between channels), the
    form of Tellez et al. 2019 (doi:10.1016/j.media.2019.101544), so that a colour is a hint and never the evidence.
    """
    import torch
    import torch.nn.functional as F

    n = len(pixels)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator) * (high - low) + low

    angle = uniform(0, 2 * np.pi, n)
    zoom = uniform(0.72, 1.0, n)
    flip = torch.where(uniform(0, 1, n) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    shift = uniform(-1, 1, n, 2) * (1 - zoom)[:, None]
    rows = torch.stack(
        [torch.stack([cos * flip, -sin, shift[:, 0]], 1), torch.stack([sin * flip, cos, shift[:, 1]], 1)], 1
    )
    grid = F.affine_grid(rows, list(pixels.shape), align_corners=False)
    pixels = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)

    density = -torch.log(pixels.clamp(1 / 255, 1.0))
    mixing = torch.eye(3) + torch.randn(n, 3, 3, generator=generator) * 0.07
    density = torch.einsum("nij,njhw->nihw", mixing, density)
    scale, offset = uniform(0.7, 1.35, n, 3, 1, 1), uniform(-0.06, 0.08, n, 3, 1, 1)
    pixels = torch.exp(-(density * scale + offset)).clamp(0, 1)

    soft = F.avg_pool2d(pixels, 3, 1, 1, count_include_pad=False)
    softer = F.avg_pool2d(soft, 3, 1, 1, count_include_pad=False)
    amount = uniform(-0.6, 1.4, n, 1, 1, 1).clamp(0, 1)  # often sharp, sometimes as soft as a decoded latent
    pixels = pixels + amount * (softer - pixels)
    return pixels + torch.randn(pixels.shape, generator=generator) * uniform(0, 0.02, n, 1, 1, 1)


def reword(report: str, rng: np.random.Generator) -> str:
    """Lose some words, or sentences, or their order: a report is read for what it says, not for its template."""
    sentences = [part for part in report.split(". ") if part]
    if len(sentences) > 1 and rng.random() < 0.3:
        rng.shuffle(sentences)
    if len(sentences) > 1 and rng.random() < 0.2:
        sentences.pop(int(rng.integers(len(sentences))))
    words = ". ".join(sentences).split()
    loss = rng.choice([0.0, 0.08, 0.2, 0.35], p=[0.4, 0.25, 0.2, 0.15])
    kept = [word for word in words if rng.random() >= loss]
    return " ".join(kept or words)
