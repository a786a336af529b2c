"""A small smear drawn with a few lines of numpy: cells, and what must not be taken for them."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SIDE, MPP = 2048, 0.5
GLASS, NUCLEUS, CYTOPLASM, BLOOD = (240, 236, 240), (90, 60, 150), (190, 190, 225), (214, 172, 166)


@functools.cache
def smear(seed: int = 0) -> NDArray[np.uint8]:
    """uint8[2048, 2048, 3], 0.5 µm a pixel: cells at the upper left, out of focus at the upper right.

    Blood lies at the lower left, and at the lower right nothing but a thick sheet, a stroke of ink and a bubble.
    """
    rng = np.random.default_rng(seed)
    half = SIDE // 2
    pixels = np.empty((SIDE, SIDE, 3), np.float32)
    pixels[:] = GLASS
    cells(pixels[:half, :half], rng, 220)
    blurred = pixels[:half, half:]
    cells(blurred, rng, 220)
    blurred[:] = ndimage.gaussian_filter(blurred, (7, 7, 0))
    for x, y in rng.uniform(10, half - 10, (500, 2)):
        disc(pixels[half:, :half], x, y, 7, BLOOD)
    rest = pixels[half:, half:]
    cells(rest[:400, :400], rng, 60)
    rest[:400, :400] *= np.array([0.12, 0.1, 0.4], np.float32)
    rest[500:1000, 100:260] = (64, 92, 196)
    disc(rest, 700, 300, 130, (40, 40, 40))
    disc(rest, 700, 300, 120, GLASS)
    noisy = pixels + rng.normal(0, 2, pixels.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def cells(part: NDArray[np.float32], rng: np.random.Generator, n: int) -> None:
    """Cells of 20 µm with nuclei of 9 µm."""
    for x, y in rng.uniform(20, min(part.shape[:2]) - 20, (n, 2)):
        disc(part, x, y, 20, CYTOPLASM)
        disc(part, x, y, 9, NUCLEUS)


def disc(part: NDArray[np.float32], x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
    left, top = max(int(x - radius), 0), max(int(y - radius), 0)
    near = part[top : int(y + radius) + 2, left : int(x + radius) + 2]
    ys, xs = np.ogrid[top : top + near.shape[0], left : left + near.shape[1]]
    near[(xs - x) ** 2 + (ys - y) ** 2 < radius**2] = colour
