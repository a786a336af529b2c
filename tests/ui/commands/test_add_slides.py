"""`coin add` of the shared slides: what their labels say reaches nothing, and every command answers."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from index_store import Archive, decode_image
from tests.ui.conftest import coin

SHARED = Path(__file__).parents[3] / "../shared/data/slides"
SLIDES = ("csf-mgg.svs", "csf-pap.svs", "neuroendocrine-giemsa.svs")
SERIES = "csf-mgg-dicom"
CORNER = 3000
"""The series is cut out of the first slide, from this pixel on."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the shared slides are not here"),
]


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory, models: dict[str, str]) -> Path:
    """An archive of the three shared slides and the DICOM series."""
    folder = tmp_path_factory.mktemp("slides")
    rows = [[name, f"case {number}", "A report."] for number, name in enumerate((*SLIDES, SERIES))]
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "case", "report"], *rows])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in models.items():
            patch.setenv(name, value)
        assert coin("init", "--archive", folder / "archive").exit_code == 0
        options = ("--archive", folder / "archive", "--images", SHARED, "--fields", "24")
        done = coin("add", folder / "manifest.csv", *options)
        assert done.exit_code == 0, done.output
        assert "a slide, 24 fields of 128 µm of 400 places" in done.output
        again = coin("add", folder / "manifest.csv", *options)
        assert again.output.startswith("added 0 images, updated 0, unchanged 96, skipped 0")
    return folder / "archive"


def test_what_labels_say_is_nowhere_in_the_archive(added: Path) -> None:
    """Neither as text nor as a picture: what is stored of a slide is made of its levels."""
    import openslide
    import pydicom

    label_words = [b"X-0000", b"SLIDE LABEL", b"never to be read"]
    stored = {path: path.read_bytes() for path in added.rglob("*") if path.is_file()}
    for words in label_words:
        assert [
            path for path, data in stored.items() if words in data or words.decode().encode("utf-16-le") in data
        ] == []
    for file in (SHARED / SERIES).iterdir():
        header = pydicom.dcmread(file, stop_before_pixels=True)
        for uid in (header.SOPInstanceUID, header.SeriesInstanceUID, header.StudyInstanceUID):
            assert [path for path, data in stored.items() if str(uid).encode() in data] == []
    pictures = {path for path in stored if path.suffix == ".jpg"}
    with Archive.open(added, read_only=True) as archive:
        for number, name in enumerate(SLIDES):
            case = archive.case(f"case {number}")
            with openslide.OpenSlide(SHARED / name) as slide:
                for image in case.images:
                    place = image.place
                    assert place is not None
                    region = slide.read_region((place.x, place.y), place.level, (image.width, image.height))
                    assert difference(decode_image(image.path), region.convert("RGB")) < 4
                    pictures.discard(image.path)
                overview = case.slides[0].overview
                assert overview is not None
                seen = decode_image(overview)
                last = slide.level_count - 1
                whole = slide.read_region((0, 0), last, slide.level_dimensions[last]).convert("RGB")
                small = [picture.resize((32, 32), Image.Resampling.BOX) for picture in (seen, whole)]
                assert difference(*small) < 1.5
                pictures.discard(overview)
        of_series = archive.case(f"case {len(SLIDES)}")
        assert pictures == {image.path for image in of_series.images} | {of_series.slides[0].overview}


def difference(first: Image.Image, second: Image.Image) -> float:
    return float(np.abs(np.asarray(first).astype(int) - np.asarray(second)).mean())


def test_a_series_gives_the_same_places_as_the_slide_that_it_was_cut_out_of(added: Path) -> None:
    import openslide

    with Archive.open(added, read_only=True) as archive, openslide.OpenSlide(SHARED / SLIDES[0]) as slide:
        for image in archive.case(f"case {len(SLIDES)}").images:
            place = image.place
            assert place is not None
            assert (image.mpp_source, image.mpp) == ("DICOM", pytest.approx(0.2528, abs=1e-4))
            there = (place.x + CORNER, place.y + CORNER)
            region = slide.read_region(there, place.level, (image.width, image.height)).convert("RGB")
            assert difference(decode_image(image.path), region) < 4


def test_show_and_json_state_the_places(added: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = coin("show", "case 2", "--archive", added)
    assert "neuroendocrine-giemsa: Aperio, 12,192 × 12,192 px, 0.504 µm a pixel, 24 fields" in shown.output
    found = re.findall(r"field at ([\d,]+), ([\d,]+) of slide neuroendocrine-giemsa, 128 µm", shown.output)
    case = json.loads(coin("show", "case 2", "--archive", added, "--json").stdout)
    assert [(f"{i['place']['x']:,}", f"{i['place']['y']:,}") for i in case["images"]] == found
    assert len(found) == 24
    assert coin("doctor", "--archive", added).exit_code == 0
