"""The two words that stand on every image that shows no patient, and how a file says the same."""

from __future__ import annotations

import io
from typing import Final

SYNTHETIC: Final = "SYNTHETIC"
PHANTOM: Final = "PHANTOM"

# Keywords of the PNG text chunks that `generation` writes.
_KEYWORDS: Final = {"coin-provenance": SYNTHETIC, "coin-phantom": PHANTOM}


def mark_of(data: bytes) -> str:
    """SYNTHETIC or PHANTOM where the bytes of an image file say that the image is one, else the empty string."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return next((mark for keyword, mark in _KEYWORDS.items() if keyword in image.info), "")
    except (OSError, SyntaxError, ValueError):  # no PNG, or a damaged one
        return ""
