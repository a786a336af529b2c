"""The colour histograms of an archive's pictures: the least that a learned encoder has to beat.

Stain and scanner alone sort many archives well. An encoder that finds no more than colour does has learned
nothing of cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from retrieval.arrays import Vectors
from retrieval.encoder.colour_histogram import BINS, colour_histogram
from retrieval.encoder.embedding_cache import EmbeddingCache
from retrieval.encoder.encoder import Progress

IMAGES_AT_ONCE: Final = 256
"""Kept together: what an interrupted run has to read again at most."""


def colour_histograms(
    paths: Mapping[str, tuple[Path, str]],
    keys: Sequence[str],
    cache: EmbeddingCache,
    *,
    progress: Progress | None = None,
) -> tuple[Vectors, int]:
    """The histograms of the images `keys`, float32[m, 512], and how many of them could not be read.

    `paths` holds each image's file and its checksum. An image that cannot be read, or was altered, counts as having all
    colours alike, so that one of them does not end the run. What the cache has is not read again; the rest is read
    once, one image in memory at a time, and kept there.
    """
    from index_store import ImageProblem, decode_image

    missing = [key for key in paths if key not in cache]
    unreadable = set()
    for start in range(0, len(missing), IMAGES_AT_ONCE):
        read: dict[str, Vectors] = {}
        for i, key in enumerate(missing[start : start + IMAGES_AT_ONCE], start=len(paths) - len(missing) + start):
            if progress is not None:
                progress(i, len(paths))
            try:
                path, checksum = paths[key]
                read[key] = colour_histogram(np.asarray(decode_image(path, expected=checksum)))
            except ImageProblem:
                unreadable.add(key)
        if read:
            cache.put(list(read), np.stack(list(read.values())))
    if progress is not None and missing:
        progress(len(paths), len(paths))
    alike = np.full(BINS**3, BINS**-1.5, dtype=np.float32)
    return np.stack([alike if key in unreadable else cache.take([key])[0] for key in keys]), sum(
        key in unreadable for key in keys
    )
