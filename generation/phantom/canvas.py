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
from scipy.ndimage import gaussian_filter, map_coordinates

from generation.phantom.palette import Stain

DENSEST = 2.3  # natural-log density that no pile of nuclei exceeds
FIELD_UM = 96.0  # width of a field: a high-power crop, one superficial squamous cell is about half of it
GRAIN_UM = 0.75  # width of a value of the noise bank

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
    """Optical density of a window on a field, `float32[size, size, 3]`; `rng` is the only source of chance.

    `width` is the window's in µm, (`left`, `top`) its corner on the field. What is rendered does not depend on the
    window: a shape outside it takes the same random numbers, so that two windows show the same cells. What lies past
    the edge of the field is rendered on canvases `beside` it.
    """

    def __init__(
        self,
        size: int,
        stain: Stain,
        rng: np.random.Generator,
        *,
        width: float = FIELD_UM,
        left: float = 0.0,
        top: float = 0.0,
    ) -> None:
        self.size = size
        self.stain = stain
        self.rng = rng
        self.width, self.left, self.top = width, left, top
        self.px = size / width
        self.films = True
        """Whether films, which cover all fields alike, are laid from here."""
        self.density = np.zeros((size, size, 3), np.float32)

    def beside(self, column: int, row: int, rng: np.random.Generator) -> Canvas:
        """The window as seen from another field, so many to the right and below; it shares this one's density."""
        left, top = self.left - column * FIELD_UM, self.top - row * FIELD_UM
        other = Canvas(self.size, self.stain, rng, width=self.width, left=left, top=top)
        other.films, other.density = False, self.density
        return other

    def texture(self, patch: Patch, grain: int) -> Array:
        """Zero-mean unit noise for a patch; `grain` 0 is finest, 3 coarsest. Independent of the canvas size."""
        start = self.rng.integers(0, 512, 2)
        ys = start[0] + self._along(patch.rows, self.top) / GRAIN_UM
        xs = start[1] + self._along(patch.columns, self.left) / GRAIN_UM
        places = np.broadcast_arrays(ys[:, None], xs[None, :])
        return map_coordinates(_noise_bank()[grain], places, order=1, mode="grid-wrap", output=np.float32)

    def sampled(self, field: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the window shows, float64[size, size], of values that lie a µm apart, float64[96, 96].

        Past its edge the field is mirrored, so that a film goes on without a seam.
        """
        n, whole = len(field), slice(0, self.size)
        places = (np.floor(self._along(whole, start)).astype(int) % (2 * n) for start in (self.top, self.left))
        return field[np.ix_(*(np.minimum(place, 2 * n - 1 - place) for place in places))]

    def _pixels(self, at: float, reach: float) -> tuple[int, int]:
        """The window's pixels within `reach` µm of a place on it, from and to: the same where none is."""
        first = min(max(int((at - reach) * self.px), 0), self.size)
        return first, min(max(int((at + reach) * self.px) + 2, first), self.size)

    def _along(self, pixels: slice, start: float) -> NDArray[np.float64]:
        """Where pixels begin on the field in µm, float64[n]."""
        return start + np.arange(pixels.start, pixels.stop) / self.px

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
        indent: float = 0.0,
        softness: float = 0.6,
    ) -> Patch:
        """The patch of one outlined shape; empty where it lies outside the window.

        `radius` is the mean radius in µm, `aspect` length over width at equal area, `irregularity` the depth of the
        outline's random waves, `corners` > 0 makes it polygonal, `taper` pulls one end into a tail, `indent` is
        the depth of a notch in one side (a kidney), `softness` is the width of the edge in µm.
        """
        phase = self.rng.uniform(0, 2 * np.pi, 6)
        reach = radius * np.sqrt(aspect) * (1.0 + irregularity + 0.25 * (corners > 0) + taper) + 2 * softness
        left, right = self._pixels(x - self.left, reach)
        top, bottom = self._pixels(y - self.top, reach)
        ys, xs = np.mgrid[top:bottom, left:right].astype(np.float32)
        dx, dy = (xs + 0.5) / self.px + self.left - x, (ys + 0.5) / self.px + self.top - y
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
        if indent:
            edge = edge * (1.0 - indent * np.exp(-(((theta - np.pi / 2) / 0.6) ** 2)))
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
