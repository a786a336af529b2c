"""A small picture of a whole slide, by which places on it can be shown."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image

from index_store.slides.slide import Slide

EDGE: Final = 1_024
"""Pixels of its longer side, at most."""
BLOCK: Final = 2_048
"""Pixels of the longer side of what is read at once."""
QUALITY: Final = 85


def overview(slide: Slide) -> bytes:
    """A JPEG of at most `EDGE` × `EDGE` pixels, without metadata, of the slide's own levels; what cannot be read of it
    is white. Empty where nothing can be read."""
    enough = [number for number, level in enumerate(slide.info.levels) if max(level.width, level.height) >= EDGE]
    number = enough[-1] if enough else 0
    level = slide.info.levels[number]
    share = min(1.0, EDGE / max(level.width, level.height))
    whole = Image.new("RGB", (max(1, round(level.width * share)), max(1, round(level.height * share))), "white")
    blocks = [
        (left, top, min(BLOCK, level.width - left), min(BLOCK, level.height - top))
        for top in range(0, level.height, BLOCK)
        for left in range(0, level.width, BLOCK)
    ]
    regions = [
        (round(left * level.downsample), round(top * level.downsample), width, height, number, 0)
        for left, top, width, height in blocks
    ]
    read = 0
    for (left, top, width, height), pixels in zip(blocks, slide.regions(regions), strict=True):
        if pixels is None:
            continue
        read += 1
        first = round(left * share), round(top * share)
        last = round((left + width) * share), round((top + height) * share)
        size = max(1, last[0] - first[0]), max(1, last[1] - first[1])
        whole.paste(Image.fromarray(pixels).resize(size, Image.Resampling.BOX), first)
    if not read:
        return b""
    buffer = io.BytesIO()
    whole.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
