"""A part of a slide that somebody points at: read as a field is, or refused in a whole sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from benchmarks.pyramid import write_pyramid
from index_store import Slide, SlideProblem, read_slide_region, slide_mpp
from index_store.slides import region as module
from tests.index_store.slides.smear import smear

BOX = (200, 120, 256, 128)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return smear()[:1024, :1024]


@pytest.fixture(scope="module")
def pyramid(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.25 µm a pixel, with a level of 0.5."""
    return write_pyramid(tmp_path_factory.mktemp("region") / "slide.tif", pixels, mpp=0.25, steps=(1, 2, 8))


def test_a_part_is_read_at_the_level_of_fields(pyramid: Path, pixels: np.ndarray) -> None:
    with Slide(pyramid) as slide:
        read = read_slide_region(slide, BOX, mpp=0.25)
        assert (read.x, read.y, read.width, read.height) == BOX
        assert (read.level, read.mpp, read.plane, read.pixels.shape) == (1, 0.5, 0, (64, 128, 3))
        there = Image.fromarray(pixels[120:248, 200:456]).reduce(2)
        assert np.abs(read.pixels.astype(int) - np.asarray(there)).mean() < 4
        unknown = read_slide_region(slide, BOX, mpp=None)
        assert (unknown.level, unknown.mpp, unknown.pixels.shape) == (0, None, (128, 256, 3))


def test_a_large_part_is_read_at_a_coarser_level(pyramid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 300 * 300)
    with Slide(pyramid) as slide:
        read = read_slide_region(slide, (0, 0, 1024, 1024), mpp=0.25)
        assert (read.level, read.mpp, read.pixels.shape) == (2, 2.0, (128, 128, 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((10, 10, 0, 20), "is empty"),
        ((10, 10, 20, -3), "is empty"),
        ((-1, 10, 200, 200), r"reaches beyond slide.tif, which is 1024 × 1024 pixels"),
        ((900, 0, 200, 200), "reaches beyond"),
        ((0, 5000, 200, 200), "reaches beyond"),
        ((10, 10, 20, 20), "5.0 × 5.0 µm, which holds no cell"),
    ],
)
def test_what_does_not_lie_on_the_slide_is_refused(pyramid: Path, box: tuple[int, int, int, int], message: str) -> None:
    with Slide(pyramid) as slide, pytest.raises(SlideProblem, match=message):
        read_slide_region(slide, box, mpp=0.25)


def test_what_is_too_large_or_too_few_pixels_is_refused(pyramid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Slide(pyramid) as slide:
        with pytest.raises(SlideProblem, match="4096 × 4096 µm, and a region may be 2000 µm wide"):
            read_slide_region(slide, (0, 0, 1024, 1024), mpp=4.0)
        with pytest.raises(SlideProblem, match="10 × 10 pixels, which show no cell"):
            read_slide_region(slide, (0, 0, 10, 10), mpp=2.0)
        monkeypatch.setattr(module, "LARGEST", 100)
        with pytest.raises(SlideProblem, match="can be read at once"):
            read_slide_region(slide, (0, 0, 1024, 1024), mpp=0.25)


def test_of_focal_planes_the_sharpest_is_read(pixels: np.ndarray, tmp_path: Path) -> None:
    sharp = pixels[:512, :512]
    planes = [ndimage.gaussian_filter(sharp, (blur, blur, 0)) if blur else sharp for blur in (6, 0, 3)]
    first, *others = [Image.fromarray(plane) for plane in planes]
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    with Slide(tmp_path / "stack.tif") as slide:
        read = read_slide_region(slide, (100, 100, 256, 256), mpp=0.5)
        assert read.plane == 1
        assert (read.pixels == sharp[100:356, 100:356]).all()


def test_an_unknown_scale_is_asked_for(pixels: np.ndarray, tmp_path: Path) -> None:
    with Slide(write_pyramid(tmp_path / "slide.tif", pixels, mpp=None)) as slide:
        with pytest.raises(SlideProblem, match=r"scale of slide.tif is unknown: give the µm a pixel \(--mpp\)"):
            slide_mpp(slide)
        assert slide_mpp(slide, 0.3) == (0.3, ())
