"""The labels on every image that shows no patient, and how they are read from a file's metadata."""

from __future__ import annotations

import io
from typing import Final

SYNTHETIC: Final = "SYNTHETIC"
PHANTOM: Final = "PHANTOM"
EXPLAINED: Final = {PHANTOM: "PHANTOM: rendered, no patient", SYNTHETIC: "SYNTHETIC: generated, no patient"}
"""What each says on the screen."""

# Keywords of the PNG text chunks that `generation` writes.
_KEYWORDS: Final = {"coin-provenance": SYNTHETIC, "coin-phantom": PHANTOM}


def image_label(data: bytes) -> str:
    """SYNTHETIC or PHANTOM by the metadata of an image file (PNG text chunks); empty where these have neither."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return next((label for keyword, label in _KEYWORDS.items() if keyword in image.info), "")
    except (OSError, SyntaxError, ValueError):  # no PNG, or a damaged one
        return ""
