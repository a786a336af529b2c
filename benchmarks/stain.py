"""The same field from another laboratory: its stain, hue, saturation and intensity varied within stated ranges.

A test of retrieval, written apart from the training's own perturbation: stains are unmixed into haematoxylin, eosin and
a third (Ruifrok and Johnston 2001), scaled and shifted there as Tellez et al. 2019 (doi:10.1016/j.media.2019.101544)
do, and the result is then varied as an image editor would, in hue, saturation and intensity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import PIL.Image

STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical density of haematoxylin, eosin and DAB in red, green and blue (Ruifrok and Johnston 2001)."""


@dataclass(frozen=True)
class Shift:
    """How far laboratories differ. Each draw is uniform: between 1 / (1 + x) and 1 + x where it is a factor."""

    name: str
    stain: float
    """Each stain's density times 1 ± this, and plus or minus a tenth of this."""
    hue: float
    """Turn of the hue, as a share of the circle."""
    saturation: float
    """Factor."""
    intensity: float
    """Factor."""


BETWEEN_LABORATORIES = Shift("between laboratories", stain=0.1, hue=0.03, saturation=0.25, intensity=0.1)
FAR_APART = Shift("twice as far", stain=0.2, hue=0.06, saturation=0.5, intensity=0.2)


def perturb_stain(
    image: PIL.Image.Image, rng: np.random.Generator, shift: Shift = BETWEEN_LABORATORIES
) -> PIL.Image.Image:
    """An RGB image under another stain; size and shapes stay as they are."""
    unit = STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)
    pixels = np.asarray(image.convert("RGB"), dtype=np.float64)
    stains = -np.log10((pixels + 1) / 256) @ np.linalg.inv(unit)
    stains = stains * rng.uniform(1 - shift.stain, 1 + shift.stain, 3)
    stains = stains + rng.uniform(-0.1, 0.1, 3) * shift.stain
    pixels = 256 * 10 ** -(stains @ unit) - 1
    restained = PIL.Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
    hsv = np.asarray(restained.convert("HSV"), dtype=np.float64)
    hue = (hsv[..., 0] + 256 * rng.uniform(-shift.hue, shift.hue)) % 256
    saturation = hsv[..., 1] * _factor(rng, shift.saturation)
    intensity = hsv[..., 2] * _factor(rng, shift.intensity)
    turned = np.stack([hue, saturation.clip(0, 255), intensity.clip(0, 255)], axis=-1)
    return PIL.Image.fromarray(turned.astype(np.uint8), mode="HSV").convert("RGB")


def _factor(rng: np.random.Generator, most: float) -> float:
    return float(np.exp(rng.uniform(-1, 1) * np.log1p(most)))
