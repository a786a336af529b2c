"""A part of a slide that somebody points at, read as a field is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from index_store.errors import SlideProblem
from index_store.scale import OBJECTIVE_MPP
from index_store.slides.field import FieldChoice
from index_store.slides.focus import sharpness
from index_store.slides.ground import Ground
from index_store.slides.slide import LARGEST, Slide

LARGEST_UM: Final = 2000.0
"""Edge of the largest region: the largest field that can be cut out is as wide."""
SMALLEST_UM: Final = 8.0
"""Edge of the smallest region: a nucleus."""
FEWEST_PIXELS: Final = 16
"""Along the edge of a region, as it is read: fewer show no cell, whatever the scale."""


@dataclass(frozen=True, eq=False)
class SlideRegion:
    """A part of a slide, and its pixels."""

    x: int
    """Of its upper left corner, in pixels of level 0."""
    y: int
    width: int
    """In pixels of level 0."""
    height: int
    level: int
    """At which it was read."""
    plane: int
    """The sharpest one."""
    pixels: NDArray[np.uint8]
    """uint8[h, w, 3], RGB, at that level."""
    mpp: float | None
    """µm a pixel at that level; None where it is unknown."""


def slide_mpp(slide: Slide, given: float | None = None) -> tuple[float, tuple[str, ...]]:
    """µm a pixel of level 0: as given, as the slide says it, or by its objective, with a note that says so.

    Raises:
        SlideProblem: none of these is known.
    """
    known = given or slide.info.mpp
    if known is not None:
        return known, ()
    if slide.info.objective is not None:
        assumed = OBJECTIVE_MPP / slide.info.objective
        by = f"{slide.info.objective:g}×"
        return assumed, (f"The scale is unknown: {assumed:g} µm a pixel are assumed, from the objective ({by}).",)
    raise SlideProblem(f"The scale of {slide.name} is unknown: give the µm a pixel (--mpp).")


def reading_level(slide: Slide, mpp: float, finest_um: float) -> int:
    """The coarsest level of at most `finest_um` µm a pixel, or the finest one."""
    fine = [number for number, level in enumerate(slide.info.levels) if mpp * level.downsample <= finest_um * 1.05]
    return max(fine, default=0)


def read_slide_region(slide: Slide, box: tuple[int, int, int, int], *, mpp: float | None) -> SlideRegion:
    """Read a part of a slide as its fields are read, in its sharpest plane; where it is large, at a coarser level.

    Args:
        box: x, y, width, height in pixels of level 0.
        mpp: µm a pixel of level 0; None: unknown, so that level 0 is read.

    Raises:
        SlideProblem: the region is empty, not on the slide, too small or too large, or cannot be read.
    """
    x, y, width, height = box
    info = slide.info
    place = f"The region {x}, {y}, {width}, {height}"
    on_slide = f"{slide.name}, which is {info.width} × {info.height} pixels of level 0"
    if width < 1 or height < 1:
        raise SlideProblem(f"{place} is empty: its width and its height must be at least one pixel of level 0.")
    if x < 0 or y < 0 or x + width > info.width or y + height > info.height:
        raise SlideProblem(f"{place} reaches beyond {on_slide}: choose one that lies within it.")
    if mpp is not None and max(width, height) * mpp > LARGEST_UM:
        raise SlideProblem(
            f"{place} is {width * mpp:.0f} × {height * mpp:.0f} µm, and a region may be {LARGEST_UM:g} µm wide and "
            "high: choose a smaller one, or search by the whole slide."
        )
    if mpp is not None and min(width, height) * mpp < SMALLEST_UM:
        raise SlideProblem(
            f"{place} is {width * mpp:.1f} × {height * mpp:.1f} µm, which holds no cell: choose one of at least "
            f"{SMALLEST_UM:g} µm."
        )
    level = 0 if mpp is None else reading_level(slide, mpp, FieldChoice().finest_um)
    while level + 1 < len(info.levels) and width * height / info.levels[level].downsample ** 2 > LARGEST:
        level += 1
    scale = info.levels[level].downsample
    wide, high = max(1, round(width / scale)), max(1, round(height / scale))
    if wide * high > LARGEST:
        raise SlideProblem(
            f"{place} has {wide * high / 1e6:.0f} megapixels, and {LARGEST / 1e6:.0f} can be read at once: "
            "choose a smaller one."
        )
    if min(wide, high) < FEWEST_PIXELS:
        raise SlideProblem(f"{place} has {wide} × {high} pixels, which show no cell: choose a larger one.")
    um = None if mpp is None else mpp * scale
    plane, pixels = _sharpest(slide, (x, y, wide, high, level), um)
    return SlideRegion(x, y, width, height, level, plane, pixels, um)


def _sharpest(slide: Slide, at: tuple[int, int, int, int, int], um: float | None) -> tuple[int, NDArray[np.uint8]]:
    """The sharpest of the focal planes, and its pixels."""
    planes = len(slide.info.planes)
    if planes == 1:
        return 0, slide.read_region(*at)
    best, sharpest, kept = -1.0, 0, None
    for plane, pixels in enumerate(slide.regions([(*at, plane) for plane in range(planes)])):
        if pixels is None:
            continue
        sharp = sharpness(pixels, Ground.of(pixels.reshape(-1, 3)), um or FieldChoice().finest_um)
        if sharp > best:
            best, sharpest, kept = sharp, plane, pixels
    if kept is None:
        raise SlideProblem(f"{slide.name} cannot be read at {at[0]}, {at[1]}: the file is damaged there.")
    return sharpest, kept
