"""A slide's own ground, and how much of its light a pixel absorbs: the same for every stain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

STEPS: Final = 80
"""Of the returned densities for one unit of optical density (natural logarithm). 255 are 3.2: 4 % of the light."""
STAINED: Final = 0.16
"""Optical density above which a pixel is not ground: 15 % of the light, more than noise and JPEG change."""
BRIGHTER: Final = 12
"""Grey levels, more than noise."""
_BRIGHT: Final = 45
"""Grey levels below the brightest ones among which the ground is looked for."""
_WIDE: Final = 5
"""Grey levels of the ground's peak to each side."""


@dataclass(frozen=True)
class Densities:
    """Optical densities × `STEPS`, uint8, of the shape of the pixels."""

    red: NDArray[np.uint8]
    """Of red light: haematoxylin, azure and methylene blue absorb it, so nuclei do; eosin, orange G, blood do not."""
    most: NDArray[np.uint8]
    """Of the colour that is absorbed most."""
    least: NDArray[np.uint8]
    """Of the colour that is absorbed least."""


@dataclass(frozen=True)
class Ground:
    """The colour of the glass, and what separates nuclei from the rest of what is stained."""

    colour: tuple[float, float, float]
    """0 to 255."""
    dark: float
    """Optical density of red light that divides what is stained in two (Otsu): nuclei are above it."""

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> Ground:
        """Of uint8[n, 3], any sample of the slide: the highest peak among its brightest levels is the glass.

        On a slide that is covered everywhere it is the palest thing there is, so that densities count from there.
        """
        grey = pixels @ np.array([0.30, 0.59, 0.11])
        counts = np.bincount(np.clip(grey, 0, 255).astype(int), minlength=256)
        smooth = np.convolve(counts, np.ones(7), mode="same")
        top = int(np.quantile(grey, 0.995))
        low = max(top - _BRIGHT, 0)
        peak = low + int(np.argmax(smooth[low : top + 1]))
        near = pixels[np.abs(grey - peak) <= _WIDE]
        colour = np.median(near, axis=0) if len(near) else np.array([peak] * 3)
        red, green, blue = (float(value) for value in colour)
        ground = cls((red, green, blue), 0.0)
        found = ground.densities(pixels)
        return cls(ground.colour, _otsu(found.red[found.most > STAINED * STEPS]) / STEPS)

    def densities(self, pixels: NDArray[np.uint8]) -> Densities:
        """Of uint8[..., 3], RGB."""
        flat = np.ascontiguousarray(pixels).reshape(1, -1, 3)  # a picture's look-up is faster than an array's
        bands = Image.fromarray(flat).point(self._tables).split()
        red, green, blue = (np.asarray(band).reshape(pixels.shape[:-1]) for band in bands)
        return Densities(red, np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue))

    def brighter(self, pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Where bool[h, w] there is less than the ground: a hole in a film that covers the slide, or a bubble."""
        red, green, _ = self.colour
        found: NDArray[np.bool_] = (pixels[..., 0] > red + BRIGHTER) & (pixels[..., 1] > green + BRIGHTER)
        return found

    @cached_property
    def _tables(self) -> list[int]:
        values = np.arange(256) + 1.0
        light = np.log((np.array(self.colour)[:, None] + 1.0) / values)
        return np.clip(light * STEPS, 0, 255).astype(int).ravel().tolist()


def _otsu(values: NDArray[np.uint8]) -> float:
    """The level that best divides the values into two classes (Otsu 1979: the variance between them is largest)."""
    if not values.size:
        return 2 * STAINED * STEPS
    counts = np.bincount(values, minlength=256).astype(float)
    levels = np.arange(256)
    below, total = np.cumsum(counts), counts.sum()
    mean_below = np.cumsum(counts * levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean_below[-1] * below / total - mean_below) ** 2 / (below * (total - below))
    return float(np.argmax(np.nan_to_num(between, nan=0.0, posinf=0.0)))
