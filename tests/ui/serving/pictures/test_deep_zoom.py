"""Tiles and parts of a slide: which pixels of which level are read for them, and where there are none."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from index_store import SlideProblem
from ui.serving.pictures import deep_zoom as module
from ui.serving.pictures.deep_zoom import read_part, read_tile, zoom_levels


class Pixels:
    """A slide that notes what is read of it."""

    name = "slide"

    def __init__(self, width: int, height: int, downsamples: tuple[float, ...] = (1.0,), planes: int = 1) -> None:
        levels = tuple(SimpleNamespace(downsample=downsample) for downsample in downsamples)
        self.info = SimpleNamespace(width=width, height=height, levels=levels, planes=(0,) * planes)
        self.read: list[tuple[int, ...]] = []

    def read_region(self, x: int, y: int, width: int, height: int, level: int, plane: int) -> np.ndarray[Any, Any]:
        self.read.append((x, y, width, height, level, plane))
        return np.full((height, width, 3), 90, np.uint8)


def size_of(jpeg: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(jpeg)) as opened:
        assert opened.format == "JPEG"
        return opened.size


@pytest.mark.parametrize(
    ("slide", "levels"),
    [
        (Pixels(1024, 700), (8, 10)),  # a level at most four times finer than the tile's
        (Pixels(1025, 700), (9, 11)),
        (Pixels(700, 1024), (8, 10)),
        (Pixels(100_000, 80_000, (1.0, 4.0, 16.0)), (11, 17)),
        (Pixels(100_000, 80_000, (1.0, 31.9)), (11, 17)),
        (Pixels(100_000, 80_000, (1.0, 32.0)), (10, 17)),
        (Pixels(2, 2), (0, 1)),
    ],
)
def test_levels_halve_the_slide(slide: Any, levels: tuple[int, int]) -> None:
    assert zoom_levels(slide.info) == levels
    coarsest, finest = levels
    for level in (coarsest - 1, finest + 1):
        with pytest.raises(SlideProblem, match=f"no level {level} of tiles"):
            read_tile(slide, level, 0, 0)
    read_tile(slide, coarsest, 0, 0)
    read_tile(slide, finest, 0, 0)


@pytest.mark.parametrize(
    ("tile", "read", "size"),
    [
        ((12, 0, 0), (0, 0, 512, 512, 0, 0), (512, 512)),
        ((12, 1, 2), (512, 1024, 512, 512, 0, 0), (512, 512)),
        ((12, 5, 5), (2560, 2560, 440, 240, 0, 0), (440, 240)),  # at the corner
        ((11, 2, 2), (2048, 2048, 952, 752, 0, 0), (476, 376)),  # one pixel for two
        ((11, 0, 0), (0, 0, 1024, 1024, 0, 0), (512, 512)),
        ((10, 1, 1), (2048, 2048, 238, 188, 1, 0), (238, 188)),  # 952 × 752 at a quarter
        ((9, 0, 0), (0, 0, 750, 700, 1, 0), (375, 350)),
    ],
)
def test_a_tile_is_read_at_the_coarsest_level_that_is_fine_enough(
    tile: tuple[int, int, int], read: tuple[int, ...], size: tuple[int, int]
) -> None:
    slide: Any = Pixels(3000, 2800, (1.0, 4.0))
    assert size_of(read_tile(slide, *tile)) == size
    assert slide.read == [read]


@pytest.mark.parametrize(("downsample", "level"), [(3.9, 1), (4.0, 1), (4.04, 1), (4.05, 0)])
def test_a_level_may_be_one_in_a_hundred_coarser(downsample: float, level: int) -> None:
    slide: Any = Pixels(3000, 2800, (1.0, downsample))
    read_tile(slide, 10, 0, 0)
    assert slide.read[0][4] == level


@pytest.mark.parametrize(
    ("box", "read", "size"),
    [
        ((10, 20, 512, 100), (10, 20, 512, 100, 0, 1), (512, 100)),
        ((10, 20, 100, 1024), (10, 20, 100, 1024, 0, 1), (50, 512)),
        ((0, 0, 513, 1), (0, 0, 513, 1, 0, 1), (512, 1)),
        ((2999, 2799, 1, 1), (2999, 2799, 1, 1, 0, 1), (1, 1)),
        ((0, 0, 3000, 2), (0, 0, 750, 1, 1, 1), (512, 1)),  # two rows are half a row of that level
    ],
)
def test_a_part_has_at_most_512_pixels_a_side(
    box: tuple[int, int, int, int], read: tuple[int, ...], size: tuple[int, int]
) -> None:
    slide: Any = Pixels(3000, 2800, (1.0, 4.0), planes=2)
    assert size_of(read_part(slide, box, plane=1)) == size
    assert slide.read == [read]


@pytest.mark.parametrize("box", [(0, 0, 0, 1), (0, 0, 1, 0), (2999, 0, 2, 1), (0, 2799, 1, 2), (5, 5, -1, 5)])
def test_beyond_the_slide_there_is_nothing(box: tuple[int, int, int, int]) -> None:
    slide: Any = Pixels(3000, 2800)
    with pytest.raises(SlideProblem, match=r"nothing at .*: it is 3000 × 2800 pixels"):
        read_part(slide, box)
    with pytest.raises(SlideProblem, match="nothing at 0, 0"):
        read_part(slide, (0, 0, 1, 1), plane=1)
    assert size_of(read_part(slide, (0, 0, 1, 1), plane=0)) == (1, 1)


def test_at_most_eight_megapixels_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_jpeg", lambda picture: b"")
    slide: Any = Pixels(100_000, 4096, (1.0, 2.0))
    monkeypatch.setattr(slide, "read_region", lambda *asked: np.zeros((1, 1, 3), np.uint8))
    read_part(slide, (0, 0, 8192, 4096))  # 2 · 2048² pixels of the level that is half as large
    with pytest.raises(SlideProblem, match="no level small enough to show 8194 × 4096 pixels at once"):
        read_part(slide, (0, 0, 8194, 4096))


def test_a_tile_keeps_fine_colours() -> None:
    slide: Any = Pixels(64, 64)
    with Image.open(io.BytesIO(read_part(slide, (0, 0, 64, 64)))) as opened:
        assert {layer[1:3] for layer in opened.layer} == {(1, 1)}  # type: ignore[attr-defined]
        expected = io.BytesIO()
        Image.new("RGB", (64, 64), (90, 90, 90)).save(expected, "JPEG", quality=90, subsampling=0)
        assert opened.quantization == Image.open(expected).quantization  # type: ignore[attr-defined]
