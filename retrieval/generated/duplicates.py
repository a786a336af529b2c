"""Pictures of one set that are the same, or nearly."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.generated.near_duplicate import NEAR_COPY_BITS, Bits, hash_distances, picture_hash

if TYPE_CHECKING:
    import PIL.Image

BLOCK: Final = 1024
"""Pictures that are compared with all before them at a time."""


@dataclass(frozen=True, eq=False)
class ImageHashes:
    """The two hashes by which images are compared."""

    pixels: str
    """SHA-256, in hex, of size and RGB values: equal for the same pixels in any file."""
    bits: Bits
    """Perceptual hash, bool[256] (`near_copy.picture_hash`)."""


@dataclass(frozen=True)
class Duplicates:
    """By position in the sequence that was compared: the first image that each later one repeats."""

    exact: Mapping[int, int]
    """The same pixels."""
    near: Mapping[int, int]
    """Other pixels, and at most `NEAR_COPY_BITS` of 256 bits apart as they lie (turned copies are not looked for)."""


def hash_image(image: PIL.Image.Image) -> ImageHashes:
    """Both hashes of an RGB image."""
    digest = hashlib.sha256(f"{image.width} {image.height}\n".encode())
    digest.update(image.tobytes())
    return ImageHashes(digest.hexdigest(), picture_hash(image))


def find_duplicates(hashes: Sequence[ImageHashes]) -> Duplicates:
    """Compare every image with all before it. Time grows with the square of their number (docs/synthetic-data.md)."""
    first: dict[str, int] = {}
    exact: dict[int, int] = {}
    for place, one in enumerate(hashes):
        before = first.setdefault(one.pixels, place)
        if before != place:
            exact[place] = before
    kept = np.array([place for place in range(len(hashes)) if place not in exact], dtype=np.int64)
    near: dict[int, int] = {}
    if not len(kept):
        return Duplicates(exact, near)
    bits = np.stack([hashes[place].bits for place in kept])
    for start in range(0, len(kept), BLOCK):
        end = min(start + BLOCK, len(kept))
        before_it = np.arange(end) < np.arange(start, end)[:, None]
        alike = (hash_distances(bits[start:end], bits[:end]) <= NEAR_COPY_BITS) & before_it
        for row in np.flatnonzero(alike.any(axis=1)):
            near[int(kept[start + row])] = int(kept[alike[row].argmax()])
    return Duplicates(exact, near)
