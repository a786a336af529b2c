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
class Look:
    """What two pictures are compared by."""

    pixels: str
    """SHA-256, in hex, of size and RGB values: the same picture in any file."""
    bits: Bits
    """Perceptual hash, bool[256] (`near_copy.picture_hash`)."""


@dataclass(frozen=True)
class Duplicates:
    """By place in the sequence that was looked at: the first picture that each later one repeats."""

    exact: Mapping[int, int]
    """The same pixels."""
    near: Mapping[int, int]
    """Other pixels, and at most `NEAR_COPY_BITS` of 256 bits apart as they lie (turned copies are not looked for)."""


def look_at(image: PIL.Image.Image) -> Look:
    """Of an RGB image."""
    digest = hashlib.sha256(f"{image.width} {image.height}\n".encode())
    digest.update(image.tobytes())
    return Look(digest.hexdigest(), picture_hash(image))


def find_duplicates(looks: Sequence[Look]) -> Duplicates:
    """Every picture against all before it: the time grows with the square of their number (docs/synthetic-data.md)."""
    first: dict[str, int] = {}
    exact: dict[int, int] = {}
    for place, look in enumerate(looks):
        before = first.setdefault(look.pixels, place)
        if before != place:
            exact[place] = before
    kept = np.array([place for place in range(len(looks)) if place not in exact], dtype=np.int64)
    near: dict[int, int] = {}
    if not len(kept):
        return Duplicates(exact, near)
    bits = np.stack([looks[place].bits for place in kept])
    for start in range(0, len(kept), BLOCK):
        end = min(start + BLOCK, len(kept))
        before_it = np.arange(end) < np.arange(start, end)[:, None]
        alike = (hash_distances(bits[start:end], bits[:end]) <= NEAR_COPY_BITS) & before_it
        for row in np.flatnonzero(alike.any(axis=1)):
            near[int(kept[start + row])] = int(kept[alike[row].argmax()])
    return Duplicates(exact, near)
