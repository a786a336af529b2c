"""Augmentation by differences that do not change the morphology: position, scale, stain, focus, wording."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

SAME_PLACE_SHARE = 0.5  # share of pairs of views that differ only in stain and focus
GREY_SHARE = 0.08  # share of images that lose all colour
COVERED_SHARE = 0.4  # share of views of which a square is hidden
COVER_SIDE = (0.15, 0.5)  # range of its edge, as a share of the view's


def two_views(pixels: torch.Tensor, generator: torch.Generator, side: int) -> torch.Tensor:
    """Two random views of each image: float32[n, 3, h, w] in 0…1 -> [2n, 3, side, side], all first views first.

    They always differ in stain and focus, and in half of the pairs also in turn, scale and crop. `generator` is on the
    pixels' device.
    """
    import torch

    first, moved = turn_and_scale(pixels, generator, side), turn_and_scale(pixels, generator, side)
    stays = _uniform(generator, 0, 1, len(pixels), 1, 1, 1) < SAME_PLACE_SHARE
    both = torch.cat([first, torch.where(stays, first, moved)])
    return cover(refocus(restain(both, generator), generator), generator)


def turn_and_scale(pixels: torch.Tensor, generator: torch.Generator, side: int) -> torch.Tensor:
    """Turn, mirror and scale images by 0.87 to 1.5: float32[n, 3, h, h] -> windows [n, 3, side, side].

    A smaller window shows less at the same scale; outside of the image it is mirrored.
    """
    import torch
    import torch.nn.functional as F

    n = len(pixels)
    angle = _uniform(generator, 0, 2 * np.pi, n)
    zoom = torch.exp(_uniform(generator, np.log(0.66), np.log(1.15), n))
    flip = torch.where(_uniform(generator, 0, 1, n) < 0.5, -1.0, 1.0)
    shift = _uniform(generator, -1, 1, n, 2) * (1 - zoom).clamp(min=0.05)[:, None]
    extent = zoom * side / pixels.shape[-1]
    cos, sin = torch.cos(angle) * extent, torch.sin(angle) * extent
    rows = torch.stack(
        [torch.stack([cos * flip, -sin, shift[:, 0]], 1), torch.stack([sin * flip, cos, shift[:, 1]], 1)], 1
    )
    grid = F.affine_grid(rows, [n, 3, side, side], align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


def restain(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Vary the stain of images float32[n, 3, h, w] as between laboratories; same shape.

    In optical density, where stains add up (the form of Tellez et al. 2019, doi:10.1016/j.media.2019.101544): the
    colours are turned about the grey axis and made paler or deeper (some lost altogether), the channels mixed, scaled
    and shifted. All of it is one matrix and one vector an image.
    """
    import torch

    n = len(pixels)
    device = pixels.device
    grey, unchanged = torch.full((3, 3), 1 / 3, device=device), torch.eye(3, device=device)
    next_channel = unchanged.roll(1, 0)
    cross = (next_channel - next_channel.T) / np.sqrt(3)  # made on the device: nothing is copied there at every step
    hue = _uniform(generator, -0.5, 0.5, n, 1, 1)
    depth = _uniform(generator, 0.4, 1.6, n, 1, 1)
    depth = torch.where(_uniform(generator, 0, 1, n, 1, 1) < GREY_SHARE, 0.0, depth)
    colours = depth * (torch.cos(hue) * (unchanged - grey) + torch.sin(hue) * cross)  # Rodrigues about (1, 1, 1)
    mixing = unchanged + torch.randn(n, 3, 3, generator=generator, device=device) * 0.05
    scale = _uniform(generator, 0.65, 1.5, n, 1, 1) * _uniform(generator, 0.85, 1.15, n, 3, 1)
    matrix = scale * (mixing @ (grey + colours))
    offset = _uniform(generator, -0.08, 0.1, n, 1, 1) + _uniform(generator, -0.05, 0.05, n, 3, 1)
    density = -torch.log(pixels.clamp(1 / 255, 1.0)).flatten(2)
    return torch.exp(-(torch.baddbmm(offset.expand(n, 3, 1), matrix, density))).clamp(0, 1).view(pixels.shape)


def refocus(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Add noise, and blur some images float32[n, 3, h, w] as decoded latents are; same shape."""
    import torch
    import torch.nn.functional as F

    soft = F.avg_pool2d(pixels, 3, 1, 1, count_include_pad=False)
    softer = F.avg_pool2d(soft, 3, 1, 1, count_include_pad=False)
    amount = _uniform(generator, -0.6, 1.4, len(pixels), 1, 1, 1).clamp(0, 1)
    noise = torch.randn(pixels.shape, generator=generator, device=pixels.device)
    return pixels + amount * (softer - pixels) + noise * _uniform(generator, 0, 0.02, len(pixels), 1, 1, 1)


def cover(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Hide a square of some views float32[n, 3, h, w] by their mean colour; same shape."""
    import torch

    n, _, height, width = pixels.shape
    reach = _uniform(generator, *COVER_SIDE, n, 1, 1) / 2
    hidden = _uniform(generator, 0, 1, n, 1, 1) < COVERED_SHARE
    for length, shape in ((height, (1, -1, 1)), (width, (1, 1, -1))):
        positions = torch.linspace(0, 1, length, device=pixels.device).view(shape)
        hidden = hidden & ((positions - _uniform(generator, 0, 1, n, 1, 1)).abs() < reach)
    return torch.where(hidden[:, None], pixels.mean((2, 3), keepdim=True), pixels)


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    import torch

    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def reword(report: str, rng: np.random.Generator) -> str:
    """Remove some words or a sentence, or reorder the sentences, so that a template is not learned."""
    sentences = [part for part in report.split(". ") if part]
    if len(sentences) > 1 and rng.random() < 0.3:
        rng.shuffle(sentences)
    if len(sentences) > 1 and rng.random() < 0.2:
        sentences.pop(int(rng.integers(len(sentences))))
    words = ". ".join(sentences).split()
    loss = rng.choice([0.0, 0.08, 0.2, 0.35], p=[0.4, 0.25, 0.2, 0.15])
    kept = [word for word in words if rng.random() >= loss]
    return " ".join(kept or words)
