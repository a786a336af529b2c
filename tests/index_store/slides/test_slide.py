"""Slides are read as they are, in a process that ends with them; what is damaged or leads elsewhere is an error."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.pyramid import write_pyramid
from index_store import SlideProblem
from index_store.slides import slide as slide_module
from index_store.slides.pictures import UNREADABLE, overview
from index_store.slides.readers.fingerprint import WHOLE, fingerprint
from index_store.slides.readers.open_reader import open_reader
from index_store.slides.readers.openslide_reader import OpenSlideReader
from index_store.slides.readers.reader import SlideRefused
from index_store.slides.readers.scale import believed_mpp
from index_store.slides.records import SlideInfo
from index_store.slides.slide import Slide
from tests.small_slides import damage

RAMP = (np.mgrid[0:700, 0:900].sum(axis=0) // 8 % 256).astype(np.uint8)
PIXELS = np.stack([RAMP, 255 - RAMP, RAMP // 2], axis=-1)


@pytest.fixture
def pyramid(tmp_path: Path) -> Path:
    return write_pyramid(tmp_path / "slide.tif", PIXELS, mpp=0.5)


def test_an_overview_is_made_of_the_coarsest_level_that_is_large_enough(tmp_path: Path) -> None:
    """A strip of glass: its longer edge decides. The finest level is not read, and so may be damaged."""
    path = write_pyramid(tmp_path / "strip.tif", PIXELS[:100], steps=(1, 4))
    damage(path, level=0, tiles=range(4))
    with Slide(path) as slide:
        whole = overview(slide, edge=225)
        assert whole.size == (225, 25)
        assert np.array_equal(whole, slide.read_region(0, 0, 225, 25, 1))
        assert overview(slide, edge=226).getcolors() == [(226 * 25, UNREADABLE)]


def test_regions_of_every_level(pyramid: Path) -> None:
    with Slide(pyramid) as slide:
        assert [(level.width, level.height) for level in slide.info.levels] == [(900, 700), (225, 175), (57, 44)]
        assert (slide.info.mpp, slide.info.planes, slide.info.format) == (0.5, (None,), "generic-tiff")
        part = slide.read_region(100, 50, 300, 200)
        assert part.shape == (200, 300, 3)
        assert np.abs(part.astype(int) - PIXELS[50:250, 100:400]).max() < 12  # JPEG
        coarse = slide.read_region(400, 200, 50, 40, level=1)
        whole = np.asarray(Image.fromarray(PIXELS).reduce(4)).astype(int)
        assert np.abs(coarse.astype(int) - whole[50:90, 100:150]).max() < 20
        with pytest.raises(ValueError, match="no level 3"):
            slide.read_region(0, 0, 8, 8, level=3)
        with pytest.raises(ValueError, match="a region of 9000 × 9000"):
            slide.read_region(0, 0, 9000, 9000)
        assert SlideInfo.from_dict(slide.info.as_dict()) == slide.info


def test_what_lies_beyond_the_edge_is_background(pyramid: Path) -> None:
    with Slide(pyramid) as slide:
        assert (slide.read_region(880, 690, 64, 64)[32:, 32:] == 255).all()


def test_the_fingerprint_is_of_the_content(pyramid: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    copy = Path(shutil.copy(pyramid, tmp_path / "elsewhere" / "other name.svs"))
    other = write_pyramid(tmp_path / "other.tif", 255 - PIXELS, mpp=0.5)
    assert fingerprint([copy]) == fingerprint([pyramid]) != fingerprint([other])
    assert fingerprint([copy, other]) == fingerprint([other, copy])
    large = tmp_path / "large"
    with large.open("wb") as handle:
        handle.truncate(2 * WHOLE)
    before = fingerprint([large])
    with large.open("r+b") as handle:
        handle.seek(-1, 2)
        handle.write(b"x")
    assert fingerprint([large]) != before


@pytest.mark.parametrize(
    ("x", "y", "mpp", "note"),
    [
        (0.25, 0.25, 0.25, ""),
        (0.25, 0.252, 0.251, ""),
        (None, None, None, ""),
        (0.25, 0.5, None, "not square"),
        (352.8, 352.8, None, "implausible"),
        (0.25, None, None, "one direction"),
    ],
)
def test_a_scale_that_cannot_be_is_not_used(x: float | None, y: float | None, mpp: float | None, note: str) -> None:
    found, said = believed_mpp(x, y)
    assert found == (None if mpp is None else pytest.approx(mpp))
    assert note in said
    assert bool(said) == bool(note)


def test_a_damaged_tile_harms_only_its_place(pyramid: Path) -> None:
    import openslide

    with openslide.OpenSlide(str(pyramid)) as whole:
        assert whole.properties["openslide.level[0].tile-width"] == "256"
    data = bytearray(pyramid.read_bytes())
    data[8:400] = bytes(392)  # the first tile is written first
    pyramid.write_bytes(data)
    with Slide(pyramid) as slide:
        with pytest.raises(SlideProblem, match="damaged there"):
            slide.read_region(0, 0, 64, 64)
        assert np.abs(slide.read_region(300, 300, 64, 64).astype(int) - PIXELS[300:364, 300:364]).max() < 12


def test_a_truncated_slide_is_an_error(pyramid: Path) -> None:
    pyramid.write_bytes(pyramid.read_bytes()[:-2000])
    with pytest.raises(SlideProblem, match=r"^slide\.tif .*damaged or cut short"):
        Slide(pyramid)


@pytest.mark.slow
def test_what_is_no_slide(tmp_path: Path) -> None:
    picture = tmp_path / "field.png"
    Image.new("RGB", (64, 64)).save(picture)
    with pytest.raises(SlideProblem, match=r"^field\.png is not a slide"):
        Slide(picture)
    with pytest.raises(SlideProblem, match="cannot be read"):
        Slide(tmp_path / "nothing.svs")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SlideProblem, match="holds no DICOM whole slide image"):
        Slide(tmp_path / "folder")


def test_files_that_name_others_lead_nowhere(tmp_path: Path) -> None:
    """Hamamatsu's VMS names its pictures by any path; MIRAX by names within its folder."""
    vms = tmp_path / "slide.vms"
    vms.write_text("[Virtual Microscope Specimen]\nNoLayers=1\nNoJpegColumns=1\nNoJpegRows=1\nImageFile=/etc/passwd\n")
    with pytest.raises(SlideProblem, match=r"of a format that is not read here|not a slide"):
        Slide(vms)
    (tmp_path / "m.mrxs").write_bytes(b"")
    (tmp_path / "m").mkdir()
    (tmp_path / "secret.dat").write_bytes(b"x")
    (tmp_path / "m" / "Slidedat.ini").write_text("[GENERAL]\n[DATAFILE]\nFILE_COUNT = 1\nFILE_0 = ../secret.dat\n")
    with pytest.raises(SlideProblem, match="names files outside of its own folder"):
        Slide(tmp_path / "m.mrxs")
    (tmp_path / "m" / "Slidedat.ini").write_text("[DATAFILE]\nFILE_0 = inside.dat\n")
    (tmp_path / "m" / "inside.dat").symlink_to(tmp_path / "secret.dat")
    with pytest.raises(SlideProblem, match="names files outside of its own folder"):
        Slide(tmp_path / "m.mrxs")


def test_pages_of_one_size_are_focal_planes(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (120, 80), (level, 0, 0)) for level in (10, 120, 230)]
    scale = {"resolution_unit": 3, "x_resolution": 20_000, "y_resolution": 20_000}
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:], **scale)
    with Slide(tmp_path / "stack.tif") as slide:
        assert (slide.info.planes, slide.info.mpp) == ((None, None, None), 0.5)
        assert [int(slide.read_region(5, 5, 8, 8, plane=plane)[0, 0, 0]) for plane in (2, 0, 1)] == [230, 10, 120]


def test_pages_that_are_not_read_are_counted(tmp_path: Path) -> None:
    with Slide(write_pyramid(tmp_path / "planes.tif", PIXELS[:300, :300], mpp=0.5, steps=(1, 1, 1, 4))) as slide:
        assert slide.info.notes == ("2 further pages of its full size (focal planes or channels) are not read.",)
        assert [level.width for level in slide.info.levels] == [300, 75]


def test_a_process_that_ends_is_started_again_but_not_for_ever(
    pyramid: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    with Slide(pyramid) as slide:
        for _ in range(slide_module.ENDED):
            assert slide.read_region(0, 0, 8, 8).shape == (8, 8, 3)
            started[-1].kill()
            started[-1].wait()
            with pytest.raises(SlideProblem, match="its process was ended by the system or by somebody"):
                slide.read_region(0, 0, 8, 8)
        with pytest.raises(SlideProblem, match="not started again"):
            slide.read_region(0, 0, 8, 8)


def test_a_process_that_is_too_slow_is_ended(pyramid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slide_module, "SECONDS", 0.0)
    with pytest.raises(SlideProblem, match="would take more than 0 s to decode"):
        Slide(pyramid)


def test_a_process_that_cannot_start_is_not_blamed_on_the_slide(pyramid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SlideProblem, match=r"could be started for it \(No such file or directory\)"):
        Slide(pyramid)


def test_a_slide_that_changes_under_the_reader_is_not_mixed(pyramid: Path) -> None:
    with Slide(pyramid) as slide:
        slide.close()
        slide.info = replace(slide.info, fingerprint="another")
        with pytest.raises(SlideProblem, match="changed while it was read"):
            slide.read_region(0, 0, 8, 8)


def test_label_and_overview_are_never_asked_for(pyramid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import openslide

    def opened(self: openslide.OpenSlide) -> None:
        raise AssertionError("a picture of the label was asked for")

    monkeypatch.setattr(openslide.OpenSlide, "associated_images", property(opened))
    monkeypatch.setattr(openslide.OpenSlide, "get_thumbnail", opened)
    reader = open_reader(pyramid)
    assert isinstance(reader, OpenSlideReader)
    assert reader.read(0, 0, 64, 64, 0, 0).size == (64, 64)


def test_messages_of_openslide_name_no_path(tmp_path: Path) -> None:
    bad = write_pyramid(tmp_path / "Doe Jane.tif", PIXELS)
    data = bad.read_bytes()
    bad.write_bytes(data[: len(data) // 2])
    with pytest.raises(SlideRefused) as refused:
        open_reader(bad)
    assert str(tmp_path) not in refused.value.what
