"""Pictures at the size in which people look at them: small crops enlarged smoothly, large fields reduced."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image

CARD: Final = 320  # pixels, longer side, in a grid
PAGE: Final = 1200  # pixels, longer side at most, on a case's own page
LEGIBLE: Final = 256  # pixels, longer side at least: a 128 px field is enlarged to this


def fitted(image: Image.Image, side: int) -> Image.Image:
    """`image` with its longer side at exactly `side` pixels, by Lanczos; the proportions stay."""
    scale = side / max(image.size)
    if scale == 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def readable(image: Image.Image, *, at_least: int = LEGIBLE, at_most: int = PAGE) -> Image.Image:
    """`image` with its longer side between the two limits."""
    return fitted(image, min(max(max(image.size), at_least), at_most))


def png_bytes(image: Image.Image) -> bytes:
    """`image` as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)  # served once on this machine: speed, not size
    return buffer.getvalue()
