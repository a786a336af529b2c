"""A field of view in optical density, and the two kinds of shape rendered on it: soft shapes and cells.

Lengths are micrometres everywhere; the canvas alone knows pixels. Shapes are polar outlines
r(θ) = R · (1 + Σ aₖ cos(kθ + φₖ)) with an antialiased edge, so that a phantom may be rendered at any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from generation.phantom.palette import Stain

DENSEST = 2.3  # natural-log density that no pile of nuclei exceeds
FIELD_UM = 96.0  # width of a field: a high-power crop, one superficial squamous cell is about half of it

Array = NDArray[np.float32]


@cache
def _noise_bank() -> tuple[Array, ...]:
    """Fixed noise at fine, middle and coarse grain, each float32[512, 512] of zero mean and unit deviation."""
    rng = np.random.default_rng(20260101)
    bank = []
    for grain in (0.7, 1.5, 4.0, 12.0):
        field = gaussian_filter(rng.standard_normal((512, 512)), grain, mode="wrap")
        bank.append((field / field.std()).astype(np.float32))
    return tuple(bank)


@dataclass(frozen=True)
class Patch:
    """The part of a canvas that a shape touches: where it lies, its soft mask and its polar coordinates."""

    rows: slice
    columns: slice
    mask: Array  # 0 outside, 1 inside, antialiased between
    radius: Array  # distance from the centre as a fraction of the outline in that direction
    along: Array  # micrometres along the long axis
    across: Array  # micrometres across it


class Canvas:
    """Optical density of one field, `float32[size, size, 3]`; `rng` is the only source of chance."""

    def __init__(self, size: int, stain: Stain, rng: np.random.Generator) -> None:
        self.size = size
        self.stain = stain
        self.rng = rng
        self.px = size / FIELD_UM
        self.density = np.zeros((size, size, 3), np.float32)

    def texture(self, patch: Patch, grain: int) -> Array:
        """Zero-mean unit noise for a patch; `grain` 0 is finest, 3 coarsest. Independent of the canvas size."""
        bank = _noise_bank()[grain]
        height, width = patch.mask.shape
        top, left = self.rng.integers(0, 512, 2)
        step = 128 / self.size
        ys = (top + np.arange(height) * step).astype(int) % 512
        xs = (left + np.arange(width) * step).astype(int) % 512
        return bank[np.ix_(ys, xs)]

    def outline(
        self,
        x: float,
        y: float,
        radius: float,
        *,
        aspect: float = 1.0,
        angle: float = 0.0,
        irregularity: float = 0.0,
        corners: int = 0,
        taper: float = 0.0,
        softness: float = 0.6,
    ) -> Patch | None:
        """The patch of one outlined shape, or None where it lies off the field.

        `radius` is the mean radius in µm, `aspect` length over width at equal area, `irregularity` the depth of the
        outline's random waves, `corners` > 0 makes it polygonal, `taper` pulls one end into a tail, `softness` is
        the width of the edge in µm.
        """
        phase = self.rng.uniform(0, 2 * np.pi, 6)
        reach = radius * np.sqrt(aspect) * (1.0 + irregularity + 0.25 * (corners > 0) + taper) + 2 * softness
        left, right = int((x - reach) * self.px), int((x + reach) * self.px) + 2
        top, bottom = int((y - reach) * self.px), int((y + reach) * self.px) + 2
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, self.size), min(bottom, self.size)
        if left >= right or top >= bottom:
            return None
        ys, xs = np.mgrid[top:bottom, left:right].astype(np.float32)
        dx, dy = (xs + 0.5) / self.px - x, (ys + 0.5) / self.px - y
        cos, sin = np.cos(angle), np.sin(angle)
        along, across = cos * dx + sin * dy, -sin * dx + cos * dy
        stretched, squeezed = along / np.sqrt(aspect), across * np.sqrt(aspect)
        if taper:
            squeezed = squeezed / np.clip(1.0 - taper * stretched / radius, 0.12, 2.0)
        theta = np.arctan2(squeezed, stretched)
        wave = sum(np.cos(k * theta + phase[k]) / k for k in (2, 3, 4, 5))
        edge = radius * (1.0 + irregularity * 0.6 * wave)
        if corners:
            sector = 2 * np.pi / corners
            bend = np.cos(sector / 2) / np.cos((theta + phase[0]) % sector - sector / 2)
            edge = edge * (0.35 + 0.65 * bend) * 1.08
        distance = np.hypot(stretched, squeezed)
        mask = np.clip((edge - distance) / max(softness, 0.5 / self.px) + 0.5, 0.0, 1.0)
        return Patch(
            slice(top, bottom),
            slice(left, right),
            mask.astype(np.float32),
            (distance / np.maximum(edge, 1e-3)).astype(np.float32),
            along.astype(np.float32),
            across.astype(np.float32),
        )

    def absorb(self, patch: Patch, amount: Array, substance: str) -> None:
        """Add `amount` (density units over the patch) of a substance."""
        self.density[patch.rows, patch.columns] += np.maximum(amount, 0.0)[..., None] * self.stain.density(substance)

    def clear(self, patch: Patch, share: Array) -> None:
        """Thin out what is already there: `share` of the density is removed (a vacuole, a halo, an inclusion)."""
        self.density[patch.rows, patch.columns] *= 1.0 - np.clip(share, 0.0, 1.0)[..., None]

    def photograph(self, *, blur_um: float, noise: float, gain: Array, vignette: float) -> Image.Image:
        """Light through the slide, onto a camera: defocus, uneven illumination, colour balance, sensor noise."""
        # Light that bypasses the cells (glare) keeps piled-up nuclei from going black, as in a real photomicrograph.
        density = DENSEST * (1.0 - np.exp(-self.density / DENSEST))
        if blur_um > 0:
            density = gaussian_filter(density, (blur_um * self.px, blur_um * self.px, 0))
        ys, xs = np.mgrid[-1 : 1 : self.size * 1j, -1 : 1 : self.size * 1j].astype(np.float32)
        light = np.asarray(self.stain.slide, np.float32) / 255.0 * gain
        light = light * (1.0 - vignette * (xs**2 + ys**2) / 2.0)[..., None]
        picture = light * np.exp(-density)
        picture = picture + self.rng.standard_normal(picture.shape).astype(np.float32) * noise
        return Image.fromarray((np.clip(picture, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8))
