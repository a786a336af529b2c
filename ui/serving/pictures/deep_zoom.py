"""A slide as Deep Zoom tiles: halved from level to level, whatever levels its file has."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Final

from PIL import Image

from index_store import SlideProblem

if TYPE_CHECKING:
    from index_store import Slide, SlideInfo

TILE: Final = 512
"""Pixels of a tile's edge."""
FINER: Final = 4
"""A tile is read at a level at most so many times finer than itself: 4 megapixels."""
QUALITY: Final = 90
REGION: Final = 512
"""Pixels of the longer side of a part of a slide as one picture."""


def zoom_levels(info: SlideInfo) -> tuple[int, int]:
    """The coarsest and the finest level of tiles; the finest has the slide's own pixels, each coarser one half."""
    finest = math.ceil(math.log2(max(info.width, info.height)))
    coarsest = finest - math.floor(math.log2(FINER * info.levels[-1].downsample))
    return max(0, coarsest), finest


def read_tile(slide: Slide, level: int, x: int, y: int, plane: int = 0) -> bytes:
    """A tile as JPEG, x and y counted in tiles.

    Raises:
        SlideProblem: there is no such tile, or it cannot be read.
    """
    coarsest, finest = zoom_levels(slide.info)
    if not coarsest <= level <= finest:
        raise SlideProblem(f"{slide.name} has no level {level} of tiles.")
    scale = 2 ** (finest - level)
    edge = TILE * scale
    info = slide.info
    box = (x * edge, y * edge, min(edge, info.width - x * edge), min(edge, info.height - y * edge))
    return _jpeg(_scaled(slide, box, scale, plane))


def read_part(slide: Slide, box: tuple[int, int, int, int], plane: int = 0) -> bytes:
    """A part of a slide (x, y, width, height in pixels of level 0) as a JPEG of at most `REGION` pixels a side.

    Raises:
        SlideProblem: it lies beyond the slide, or cannot be read.
    """
    return _jpeg(_scaled(slide, box, max(1.0, max(box[2:]) / REGION), plane))


def _scaled(slide: Slide, box: tuple[int, int, int, int], scale: float, plane: int) -> Image.Image:
    """RGB of a part of a slide, one pixel for `scale` of level 0."""
    x, y, width, height = box
    info = slide.info
    inside = width >= 1 and height >= 1 and x + width <= info.width and y + height <= info.height
    if not inside or plane >= len(info.planes):
        raise SlideProblem(f"{slide.name} has nothing at {x}, {y}: it is {info.width} × {info.height} pixels.")
    number = max((n for n, level in enumerate(info.levels) if level.downsample <= scale * 1.01), default=0)
    shrink = info.levels[number].downsample
    if width * height / shrink**2 > 2 * (FINER * TILE) ** 2:
        raise SlideProblem(f"{slide.name} has no level small enough to show {width} × {height} pixels at once.")
    pixels = slide.read_region(x, y, max(1, round(width / shrink)), max(1, round(height / shrink)), number, plane)
    picture = Image.fromarray(pixels)
    size = max(1, math.ceil(width / scale)), max(1, math.ceil(height / scale))
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BOX)


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()
