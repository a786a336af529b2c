"""The colour histogram: the least that a learned encoder has to beat.

Stain and scanner alone sort many archives well. An encoder that finds no more than colour does has learned
nothing of cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from retrieval.encoder import Progress

Vectors = npt.NDArray[np.float32]

BINS: Final = 8
"""A channel: 8 × 8 × 8 colours, as in Swain and Ballard, Color indexing (1991), rounded to a power of two."""


def colour_histogram(pixels: npt.NDArray[np.uint8]) -> Vectors:
    """RGB pixels uint8[h, w, 3] -> unit vector float32[512]: the square root of the share of each colour.

    The inner product of two such vectors is the Bhattacharyya coefficient of the histograms, from 0 to 1.
    """
    levels = pixels.reshape(-1, 3) // (256 // BINS)
    colours = (levels[:, 0].astype(np.int64) * BINS + levels[:, 1]) * BINS + levels[:, 2]
    return np.sqrt(np.bincount(colours, minlength=BINS**3) / len(colours)).astype(np.float32)


def colour_histograms(paths: Sequence[Path], *, progress: Progress | None = None) -> tuple[Vectors, int]:
    """The histogram of each image file, float32[m, 512], and how many files could not be read.

    A file that cannot be read counts as having all colours alike, so that one of them does not end the run.
    Reads each file once; O(m) decoded images, one in memory at a time.
    """
    from index_store import ImageProblem, decode_image

    histograms = np.full((len(paths), BINS**3), BINS**-1.5, dtype=np.float32)
    unreadable = 0
    for i, path in enumerate(paths):
        try:
            histograms[i] = colour_histogram(np.asarray(decode_image(path)))
        except ImageProblem:
            unreadable += 1
        if progress is not None:
            progress(i + 1, len(paths))
    return histograms, unreadable
