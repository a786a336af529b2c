"""DICOM series: a folder or a file of it, its levels and focal planes; of labels nothing but their kind is read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index_store import SlideProblem
from index_store.slides.readers.dicom_reader import ALLOWED, DicomReader, _levels_of
from index_store.slides.slide import Slide
from index_store.slides.survey import SQUARES

SHARED = Path(__file__).parents[4] / "../shared/data/slides"
SERIES = SHARED / "csf-mgg-dicom"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SERIES.is_dir(), reason="the shared slides are not here"),
    pytest.mark.filterwarnings("ignore"),  # pydicom warns of values that are not read
]


@pytest.fixture
def series(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "series"
    shutil.copytree(SERIES, folder)
    for file in folder.iterdir():
        file.chmod(0o600)
    folder.chmod(0o700)
    yield folder


def kind(file: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(file, stop_before_pixels=True).ImageType[2])


def test_levels_scale_and_pixels(series: Path) -> None:
    volumes = [file for file in series.iterdir() if kind(file) == "VOLUME"]
    with Slide(series) as slide, Slide(SHARED / "csf-mgg.svs") as whole, Slide(volumes[0]) as by_file:
        assert [(level.width, level.downsample) for level in slide.info.levels] == [(4096, 1), (1024, 4), (256, 16)]
        assert slide.info.mpp == pytest.approx(0.2528)
        assert by_file.info == slide.info
        for level, most in ((0, 2.0), (1, 6.0)):
            ours = slide.read_region(1600, 800, 200, 150, level).astype(int)
            theirs = whole.read_region(4600, 3800, 200, 150, level).astype(int)
            assert np.abs(ours - theirs).mean() < most
        assert (slide.read_region(4090, 4090, 32, 32)[16:, 16:] == 255).all()


def test_of_labels_and_overviews_the_kind_alone_is_read(series: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pydicom

    read = pydicom.dcmread
    asked: list[Any] = []

    def noted(path: Path, **options: Any) -> Any:
        asked.append(options["specific_tags"])
        assert options["stop_before_pixels"]
        return read(path, **options)

    monkeypatch.setattr(pydicom, "dcmread", noted)
    files, _, notes = _levels_of(series)
    assert len(files) == 3
    monkeypatch.setattr(pydicom, "dcmread", read)
    assert {kind(file) for file in files} == {"VOLUME"}
    assert asked == [list(ALLOWED)] * 6
    assert notes == []
    for file in series.iterdir():
        if file not in files:  # without their pixels the slide is what it was
            file.write_bytes(file.read_bytes()[:6000])
    assert len(DicomReader(series).info.levels) == 3


def test_exported_media_are_read_without_their_directory(series: Path, tmp_path: Path) -> None:
    media = tmp_path / "media"
    shutil.copytree(series, media / "PT000000" / "SE000000")
    (media / "DICOMDIR").write_bytes(b"not read: it names patients")
    names = {file.name for file in _levels_of(series)[0]}
    for named in (media, media / "DICOMDIR"):
        files, _, notes = _levels_of(named)
        assert {file.name for file in files} == names
        assert notes == []


def test_links_out_of_the_folder_are_not_followed(series: Path, tmp_path: Path) -> None:
    coarsest = min((file for file in series.iterdir() if kind(file) == "VOLUME"), key=lambda file: file.stat().st_size)
    shutil.move(coarsest, tmp_path / "outside.dcm")
    coarsest.symlink_to(tmp_path / "outside.dcm")
    with Slide(series) as slide:
        assert len(slide.info.levels) == 2
        assert slide.info.notes == ("1 links out of the slide's folder were not followed.",)


def test_two_series_in_a_folder_are_refused_unless_one_is_named(series: Path) -> None:
    import pydicom

    finest = max(series.iterdir(), key=lambda file: file.stat().st_size)
    other = pydicom.dcmread(finest)
    other.SeriesInstanceUID = "1.2.3"
    other.save_as(series / "other.dcm")
    with pytest.raises(SlideProblem, match="holds 2 DICOM series"):
        Slide(series)
    with Slide(finest) as slide:
        assert len(slide.info.levels) == 3


def test_focal_planes(series: Path) -> None:
    """Each plane is read from its own file; a coarse level of one plane serves all."""
    import pydicom
    from pydicom.encaps import encapsulate, generate_frames

    finest = max(series.iterdir(), key=lambda file: file.stat().st_size)
    other = pydicom.dcmread(finest)
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    other.TotalPixelMatrixOriginSequence[0].ZOffsetInSlideCoordinateSystem = 5.0
    tiles = list(generate_frames(other.PixelData, number_of_frames=256))
    other.PixelData = encapsulate(tiles[::-1])  # the last tile first
    other.save_as(series / "plane.dcm")
    with Slide(series) as slide:
        assert slide.info.planes == (0.0, 5.0)
        first, last = slide.read_region(0, 0, 256, 256), slide.read_region(3840, 3840, 256, 256)
        assert (slide.read_region(0, 0, 256, 256, plane=1) == last).all()
        assert (slide.read_region(3840, 3840, 256, 256, plane=1) == first).all()
        assert (first != last).any()
        coarse = [slide.read_region(512, 512, 64, 64, level=2, plane=plane) for plane in (0, 1)]
        assert (coarse[0] == coarse[1]).all()


def test_a_series_without_its_finest_level_is_read_as_far_as_it_goes(series: Path) -> None:
    max(series.iterdir(), key=lambda file: file.stat().st_size).unlink()
    with Slide(series) as slide:
        assert [level.width for level in slide.info.levels] == [1024, 256]
        assert slide.info.mpp == pytest.approx(4 * 0.2528)


def test_the_same_places_are_chosen_as_on_the_slide_that_it_was_made_from() -> None:
    """Its pixels are those from (3000, 3000) on, through JPEG once more: a place may lie one step aside."""
    from index_store import FieldChoice, choose_fields

    choice = FieldChoice(most=16)
    with Slide(SERIES) as series, Slide(SHARED / "csf-mgg.svs") as whole:
        ours = choose_fields(series, choice)
        theirs = choose_fields(whole, choice, box=(3000, 3000, 4096, 4096))
    assert len(ours.fields) == len(theirs.fields) == 16
    places = [(field.x - 3000, field.y - 3000) for field in theirs.fields]
    aside = [min(max(abs(field.x - x), abs(field.y - y)) for x, y in places) for field in ours.fields]
    step = ours.fields[0].width / SQUARES
    assert max(aside) <= step + 2
    assert sum(pixels <= 2 for pixels in aside) >= 10
