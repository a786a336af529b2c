"""Perceptual hashes of whole pictures and of the squares that a training cuts out of them.

The hash is `imagehash.phash` with 16 × 16 coefficients: signs about the median of the lowest frequencies of the grey
image, 256 bits. It recognises a whole picture after JPEG, resizing, changes of brightness and stain, and 5 % lost
at the edges, and nothing that is smaller than a picture (`retrieval.copies.overlap` does).

A training sees squares (`generation.training.data.crops`): of a picture that is not square, those of its long side.
`window_hashes` covers them in steps that the hash bridges.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import PIL.Image

Bits = npt.NDArray[np.bool_]

HASH_SIDE: Final = 16
HASH_BITS: Final = HASH_SIDE**2
NEAR_COPY_BITS: Final = 60
"""Of 256 bits: at this distance or below, an image counts as a near copy."""
_PIXELS: Final = 4 * HASH_SIDE
"""The hash looks at a picture of this side, which `imagehash` would make anyway, once for each orientation."""
WINDOW_STEP: Final = 0.05
"""In short sides: no square of the long side lies further than half of this from one that is hashed."""
_WINDOWS: Final = 64
"""At most of one picture: a longer strip is covered less densely."""


def orientation_hashes(image: PIL.Image.Image) -> Bits:
    """The hash of an image as it is, then of its other turns and mirror images, bool[8, 256]."""
    import PIL.Image

    small = _small(image)
    return np.stack([_hash(small), *(_hash(small.transpose(way)) for way in PIL.Image.Transpose)])


def picture_hash(image: PIL.Image.Image) -> Bits:
    """The hash of an image as it is, bool[256]."""
    return _hash(_small(image))


def window_hashes(image: PIL.Image.Image) -> Bits:
    """The hash of an image as it is and of the squares along its long side, bool[n, 256]; n is 1 for a square."""
    width, height = image.size
    side = min(width, height)
    slack = max(width, height) - side
    hashes = [picture_hash(image)]
    if slack:
        count = min(math.ceil(slack / side / WINDOW_STEP) + 1, _WINDOWS)
        # Reduced once: each window is then 256 pixels wide.
        scale = min(1.0, 4 * _PIXELS / side)
        grey = image.convert("L").resize((round(width * scale), round(height * scale)), reducing_gap=3.0)
        side, slack = min(grey.size), max(grey.size) - min(grey.size)
        for start in np.linspace(0, slack, count):
            left, top = (start, 0.0) if width > height else (0.0, start)
            hashes.append(_hash(_small(grey, (left, top, left + side, top + side))))
    return np.stack(hashes)


def hash_distances(some: Bits, others: Bits) -> npt.NDArray[np.int16]:
    """Bits, of 256, that differ between each of bool[n, 256] and each of bool[m, 256]: int16[n, m].

    As a matrix product of signs, which is exact in float32 and many times faster than comparing bits.
    """
    left, right = (np.where(bits, np.float32(1), np.float32(-1)) for bits in (some, others))
    return ((HASH_BITS - left @ right.T) / 2).astype(np.int16)


def hash_distance(orientations: Bits, reference: Bits) -> int:
    """Bits, of 256, that differ from a reference's hash in the orientation where fewest do."""
    return int((orientations != reference).sum(axis=-1).min())


def _small(image: PIL.Image.Image, box: tuple[float, float, float, float] | None = None) -> PIL.Image.Image:
    import PIL.Image

    return image.convert("L").resize((_PIXELS, _PIXELS), PIL.Image.Resampling.LANCZOS, box=box)


def _hash(small: PIL.Image.Image) -> Bits:
    import imagehash

    bits: Bits = imagehash.phash(small, hash_size=HASH_SIDE, highfreq_factor=_PIXELS // HASH_SIDE).hash.ravel()
    return bits
