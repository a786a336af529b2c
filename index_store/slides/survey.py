"""A slide at low power: counts over small squares, from which every place of a field's size can be judged.

One pass over the level of about 2 µm a pixel, a block at a time, so that memory does not grow with the slide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from index_store.slides.block_maps import MAPS, Map, block_maps
from index_store.slides.ground import STAINED, Ground
from index_store.slides.slide import Slide

UM: Final = 2.0
"""µm a pixel of the survey: a nucleus is four pixels wide."""
COARSEST: Final = 2.6
"""µm a pixel of the level that is read for it, where there is one so fine."""
SQUARES: Final = 4
"""Small squares along a field's edge."""
BLOCK: Final = 1800
"""Pixels along a block's edge, about."""
MARGIN: Final = 4
"""Small squares around a block that are read with it."""


@dataclass(frozen=True)
class Survey:
    """Maps over small squares, each float32[rows, columns]; a field is `SQUARES` × `SQUARES` of them."""

    left: int
    top: int
    """Of the upper left square, in pixels of level 0."""
    square: float
    """Edge of a square in pixels of level 0."""
    ground: Ground
    read: Map
    """Share of the square that could be read."""
    nuclei: Map
    """How many have their middle in the square."""
    stained: Map
    dark: Map
    thick: Map
    fold: Map
    ink: Map
    bubble: Map
    """Shares of the square."""
    density: Map
    detail: Map
    red: Map
    """Sums over what is stained and not thick, for the area of a square: the optical density, its difference from the
    surroundings within 6 µm, and the optical density of red light."""
    megapixels: float


def survey(slide: Slide, mpp: float, width_um: float, box: tuple[int, int, int, int]) -> Survey:
    """Look at the `box` (x, y, width, height in pixels of level 0) of a slide of `mpp` µm a pixel."""
    square = width_um / SQUARES / mpp
    rows, columns = int(box[3] / square), int(box[2] / square)
    level = survey_level(slide, mpp)
    scale = slide.info.levels[level].downsample
    shrink = max(1, round(UM / (mpp * scale)))
    maps = {name: np.zeros((rows, columns), np.float32) for name in MAPS}
    ground = _ground(slide, box)
    blocks = _blocks(rows, columns, square / scale)
    megapixels = 0.0
    while blocks:
        regions = []
        for block in blocks:
            top, left, high, wide = block.with_margin(rows, columns)
            x, y = box[0] + left * square, box[1] + top * square
            regions.append(
                (round(x), round(y), _pixels(wide * square / scale), _pixels(high * square / scale), level, 0)
            )
        unread = []
        for block, pixels in zip(blocks, slide.regions(regions), strict=True):
            if pixels is None:
                unread += block.quarters()
                continue
            megapixels += pixels.shape[0] * pixels.shape[1] / 1e6
            seen = np.asarray(Image.fromarray(pixels).reduce(shrink)) if shrink > 1 else pixels
            top, left, high, wide = block.with_margin(rows, columns)
            inside = (
                slice(block.row - top, block.row - top + block.high),
                slice(block.column - left, block.column - left + block.wide),
            )
            for name, values in block_maps(seen, ground, (high, wide), mpp * scale * shrink).items():
                maps[name][block.row : block.row + block.high, block.column : block.column + block.wide] = values[
                    inside
                ]
        blocks = unread
    return Survey(box[0], box[1], square, ground, **maps, megapixels=megapixels)


def survey_level(slide: Slide, mpp: float) -> int:
    """The coarsest level that is fine enough, or the finest one."""
    fine = [number for number, level in enumerate(slide.info.levels) if mpp * level.downsample <= COARSEST]
    return max(fine, default=0)


def _pixels(length: float) -> int:
    return max(1, round(length))


@dataclass(frozen=True)
class _Block:
    """Part of the maps that is read at once, in squares."""

    row: int
    column: int
    high: int
    wide: int

    def with_margin(self, rows: int, columns: int) -> tuple[int, int, int, int]:
        """Row, column, height and width with what is read around it: a bubble at its edge is seen whole."""
        top, left = max(self.row - MARGIN, 0), max(self.column - MARGIN, 0)
        bottom, right = min(self.row + self.high + MARGIN, rows), min(self.column + self.wide + MARGIN, columns)
        return top, left, bottom - top, right - left

    def quarters(self) -> list[_Block]:
        """Its parts, read instead of it where a tile is damaged; none of a block that is small already."""
        if max(self.high, self.wide) <= SQUARES:
            return []
        high, wide = -(-self.high // 2), -(-self.wide // 2)
        parts = [
            _Block(self.row + row, self.column + column, min(high, self.high - row), min(wide, self.wide - column))
            for row in (0, high)
            for column in (0, wide)
        ]
        return [part for part in parts if part.high > 0 and part.wide > 0]


def _blocks(rows: int, columns: int, pixels: float) -> list[_Block]:
    """Blocks that cover the maps; a square is so many pixels of the level that is read."""
    edge = max(2 * MARGIN, int(BLOCK / pixels) - 2 * MARGIN)
    return [
        _Block(row, column, min(edge, rows - row), min(edge, columns - column))
        for row in range(0, rows, edge)
        for column in range(0, columns, edge)
    ]


def _ground(slide: Slide, box: tuple[int, int, int, int]) -> Ground:
    """From up to 16 blocks of the coarsest level, evenly spaced over the box."""
    level = len(slide.info.levels) - 1
    scale = slide.info.levels[level].downsample
    wide, high = _pixels(box[2] / scale), _pixels(box[3] / scale)
    edge = 512
    lefts = sorted({round(value) for value in np.linspace(0, max(wide - edge, 0), min(4, -(-wide // edge)))})
    tops = sorted({round(value) for value in np.linspace(0, max(high - edge, 0), min(4, -(-high // edge)))})
    regions = [
        (box[0] + round(x * scale), box[1] + round(y * scale), min(edge, wide), min(edge, high), level, 0)
        for y in tops
        for x in lefts
    ]
    seen = [pixels.reshape(-1, 3) for pixels in slide.regions(regions) if pixels is not None]
    return Ground.of(np.concatenate(seen)) if seen else Ground((255.0, 255.0, 255.0), 2 * STAINED)


def windows(values: Map, margin: int = 0) -> Map:
    """Sums over every place of a field's size, less a margin of squares: float32[rows - 3, columns - 3]."""
    padded = np.pad(values.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    high, wide = (length - SQUARES + 1 for length in values.shape)
    first, last = margin, SQUARES - margin

    def corner(row: int, column: int) -> NDArray[np.float64]:
        return padded[row : row + high, column : column + wide]

    total = corner(last, last) - corner(first, last) - corner(last, first) + corner(first, first)
    return total.astype(np.float32)
