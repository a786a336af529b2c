"""What counts as a whole slide, by name and headers alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.pyramid import write_pyramid
from index_store import read_manifest
from index_store.files.headers.slides import LARGEST_FIELD, WHOLE_SLIDE, is_slide
from tests.index_store.archive_builders import write_manifest


def dicom(path: Path, sop_class: bytes) -> Path:
    path.write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x02\x00UI\x1e\x00" + sop_class.ljust(30, b"\0"))
    return path


@pytest.mark.parametrize("name", ["a.svs", "a.SVS", "a.mrxs", "a.ndpi"])
def test_a_scanners_own_name_is_a_slide(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"whatever it holds: its reader says what is wrong")
    assert is_slide(tmp_path / name)


def test_a_large_tiled_tiff_is_a_slide_and_a_cameras_picture_is_not(tmp_path: Path) -> None:
    wide = np.full((64, LARGEST_FIELD + 1, 3), 200, np.uint8)
    assert is_slide(write_pyramid(tmp_path / "wide.tif", wide, steps=(1, 4)))
    assert not is_slide(write_pyramid(tmp_path / "field.tif", wide[:, :-1], steps=(1, 4)))
    Image.fromarray(wide).save(tmp_path / "strips.tif")
    assert not is_slide(tmp_path / "strips.tif")
    (tmp_path / "damaged.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    assert not is_slide(tmp_path / "damaged.tif")
    (tmp_path / "wide.tif").rename(tmp_path / "wide.png")
    assert not is_slide(tmp_path / "wide.png")
    assert not is_slide(tmp_path / "gone.tif")


def test_of_dicom_only_whole_slides_are(tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "other").mkdir()
    assert is_slide(dicom(tmp_path / "series" / "1", WHOLE_SLIDE))
    assert not is_slide(dicom(tmp_path / "other" / "1", WHOLE_SLIDE[:-1] + b"2"))
    (tmp_path / "other" / "notes.txt").write_text("")
    assert is_slide(tmp_path / "series")
    assert not is_slide(tmp_path / "other")


def test_exported_media_are_looked_through_and_their_directory_is_not_read(tmp_path: Path) -> None:
    inner = tmp_path / "media" / "PT000000" / "ST000000"
    inner.mkdir(parents=True)
    file = dicom(inner / "IM000000", WHOLE_SLIDE)
    assert not is_slide(tmp_path / "media")
    directory = tmp_path / "media" / "DICOMDIR"
    directory.write_bytes(b"not read: it names patients")
    assert is_slide(tmp_path / "media")
    assert is_slide(directory)
    dicom(file, WHOLE_SLIDE[:-1] + b"2")
    assert not is_slide(directory)


def test_a_row_may_be_a_slide_or_a_folder_of_one(tmp_path: Path) -> None:
    (tmp_path / "series 7").mkdir()
    dicom(tmp_path / "series 7" / "1", WHOLE_SLIDE)
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.svs").write_bytes(b"x")
    rows = [
        {"image": "series 7", "report": "R.", "slide": ""},
        {"image": "x.svs", "report": "R.", "slide": "second"},
        {"image": "a.png", "report": "R.", "slide": ""},
        {"image": "empty", "report": "R.", "slide": ""},
    ]
    read = read_manifest(write_manifest(tmp_path / "manifest.csv", rows))
    assert [(row.is_slide, row.slide) for row in read.rows] == [(True, "series 7"), (True, "second"), (False, "")]
    (problem,) = read.problems
    assert "names a folder and no image" in problem.what
