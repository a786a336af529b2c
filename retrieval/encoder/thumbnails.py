"""Images as small pictures: what a network that learns to see is trained on, in place of an encoder's vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Vectors

if TYPE_CHECKING:
    import PIL.Image


SIDE: Final = 48


class Thumbnails:
    """Stands where an encoder does, and keeps an image's pixels: squares of `SIDE` pixels, cut from the middle as an
    encoder cuts, float32[n, 3 × SIDE × SIDE] from 0 to 1 in the order row, column, colour."""

    name: Final = f"pixels, {SIDE} × {SIDE}"
    dim: Final = 3 * SIDE * SIDE
    fingerprint: Final = f"thumbnails-{SIDE}-lanczos"

    def encode_images(self, images: Sequence[PIL.Image.Image]) -> Vectors:
        """RGB images -> float32[n, dim], in the order given."""
        from PIL import Image, ImageOps

        small = [ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.LANCZOS) for image in images]
        rows = np.array(
            [np.asarray(thumbnail, dtype=np.float32).ravel() / 255 for thumbnail in small], dtype=np.float32
        )
        return rows.reshape(len(images), self.dim)
