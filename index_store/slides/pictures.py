"""Pictures of a slide: one of its fields, and the whole of it made small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from index_store.slides.field import Field
from index_store.slides.slide import Slide

BLOCK = 2048
"""Pixels along the edge of what is read at once."""
UNREADABLE = (128, 128, 128)
"""The colour of what cannot be read."""


def read_field(slide: Slide, field: Field) -> NDArray[np.uint8]:
    """The field as it is read, uint8[pixels, pixels, 3].

    Raises:
        SlideProblem: as of `Slide.read_region`.
    """
    return slide.read_region(field.x, field.y, field.pixels, field.pixels, field.level, field.plane)


def overview(slide: Slide, edge: int = 1200) -> Image.Image:
    """The whole slide on at most `edge` × `edge` pixels, RGB; what cannot be read is grey."""
    fitting = [number for number, found in enumerate(slide.info.levels) if max(found.width, found.height) >= edge]
    number = max(fitting, default=0)
    level = slide.info.levels[number]
    shrink = min(edge / max(level.width, level.height), 1.0)
    corners = [(x, y) for y in range(0, level.height, BLOCK) for x in range(0, level.width, BLOCK)]
    sizes = [(min(BLOCK, level.width - x), min(BLOCK, level.height - y)) for x, y in corners]
    regions = [
        (round(x * level.downsample), round(y * level.downsample), wide, high, number, 0)
        for (x, y), (wide, high) in zip(corners, sizes, strict=True)
    ]
    size = max(1, round(level.width * shrink)), max(1, round(level.height * shrink))
    whole = Image.new("RGB", size, UNREADABLE)
    for (x, y), (wide, high), pixels in zip(corners, sizes, slide.regions(regions), strict=True):
        left, top = round(x * shrink), round(y * shrink)
        right, bottom = max(round((x + wide) * shrink), left + 1), max(round((y + high) * shrink), top + 1)
        if pixels is not None:
            part = Image.fromarray(pixels).resize((right - left, bottom - top), Image.Resampling.BOX)
            whole.paste(part, (left, top))
    return whole
