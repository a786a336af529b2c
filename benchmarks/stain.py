"""The same field from another laboratory: its stain, hue, saturation and intensity varied within stated ranges.

A test of retrieval, written apart from the training's own perturbation: stains are unmixed into haematoxylin, eosin and
a third (Ruifrok and Johnston 2001), scaled and shifted there as Tellez et al. 2019 (doi:10.1016/j.media.2019.101544)
do, and the result is then varied as an image editor would, in hue, saturation and intensity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image

from retrieval import Encoder

STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical density of haematoxylin, eosin and DAB in red, green and blue (Ruifrok and Johnston 2001)."""


@dataclass(frozen=True)
class Shift:
    """How far laboratories differ. Values are sampled uniformly: between 1 / (1 + x) and 1 + x where it is a factor."""

    name: str
    stain: float
    """Each stain's density times 1 ± this, and plus or minus a tenth of this."""
    hue: float
    """Turn of the hue, as a share of the circle."""
    saturation: float
    """Factor."""
    intensity: float
    """Factor."""

    def __str__(self) -> str:
        return (
            f"{self.name} (stains ± {self.stain:.0%}, hue ± {360 * self.hue:.0f}°, "
            f"saturation × {1 + self.saturation:g}, intensity × {1 + self.intensity:g})"
        )


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


def kept_share(
    encoder: Encoder, images: Sequence[PIL.Image.Image], archive: np.ndarray, own: np.ndarray, shift: Shift, k: int = 10
) -> np.ndarray:
    """Which share of each image's k nearest, float[n], is still there under another stain.

    `archive` float32[m, d] are the encoder's unit rows, `own` bool[n, m] which of them a query may not find.
    """

    def nearest(queries: Sequence[PIL.Image.Image]) -> np.ndarray:
        scores = np.where(own, -np.inf, encoder.encode_images(queries) @ archive.T)
        return np.argsort(-scores, axis=1, kind="stable")[:, :k]

    rng = np.random.default_rng(0)
    before, after = nearest(images), nearest([perturb_stain(image, rng, shift) for image in images])
    return (before[:, :, None] == after[:, None]).any(axis=2).mean(axis=1)


def _factor(rng: np.random.Generator, most: float) -> float:
    return float(np.exp(rng.uniform(-1, 1) * np.log1p(most)))
