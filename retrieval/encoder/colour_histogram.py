"""Pictures by their colours alone: no model, and what a learned encoder has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from index_store import COLOUR_FINGERPRINT
from retrieval.arrays import Vectors

if TYPE_CHECKING:
    import PIL.Image
    import torch

BINS: Final = 8
"""A channel: 8 × 8 × 8 colours, as in Swain and Ballard, Color indexing (1991), rounded to a power of two."""


def colour_histogram(pixels: npt.NDArray[np.uint8]) -> Vectors:
    """RGB pixels uint8[h, w, 3] -> unit vector float32[512]: the square root of the share of each colour.

    The inner product of two such vectors is the Bhattacharyya coefficient of the histograms, from 0 to 1.
    """
    levels = pixels.reshape(-1, 3) // (256 // BINS)
    colours = (levels[:, 0].astype(np.int64) * BINS + levels[:, 1]) * BINS + levels[:, 2]
    return np.sqrt(np.bincount(colours, minlength=BINS**3) / len(colours)).astype(np.float32)


class ColourHistogram:
    """Stands where an encoder does that compares images, and needs no files."""

    name: Final = "colour histogram"
    dim: Final = BINS**3
    fingerprint: Final = COLOUR_FINGERPRINT

    def prepare(self, image: PIL.Image.Image, mpp: float | None = None) -> torch.Tensor:
        """The histogram of an RGB image, float32[512]. Its scale `mpp` makes no difference."""
        import torch

        return torch.from_numpy(colour_histogram(np.asarray(image)))

    def encode_prepared(self, prepared: Sequence[torch.Tensor]) -> Vectors:
        """What `prepare` returned, as float32[n, 512]."""
        return np.stack([histogram.numpy() for histogram in prepared])
