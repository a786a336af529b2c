"""`coin search --slide`: by all fields of a slide and by a part of it, as text and JSON, kept, refined and refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from index_store import Archive
from tests.small_slides import small_slide
from tests.ui.conftest import coin

SHARED = Path(__file__).parents[3] / "../shared/data/slides"
NAMES = ("alpha.svs", "beta.svs", "gamma.svs")


def write_manifest(folder: Path, slides: list[str]) -> Path:
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [
            [name, f"case {number}", f"patient {number}", f"Report {number}."] for number, name in enumerate(slides)
        ]
        csv.writer(file).writerows([["image", "case", "patient", "report"], *rows])
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in enumerate(NAMES):
        small_slide(folder / name, seed=seed, cells=20 + 20 * seed)
    return folder


@pytest.fixture(scope="module")
def archive(slides: Path, models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small slides of 6 fields each."""
    folder = tmp_path_factory.mktemp("archive") / "cases"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in models.items():
            patch.setenv(name, value)
        assert coin("init", "--archive", folder).exit_code == 0
        added = coin("add", write_manifest(slides, list(NAMES)), "--archive", folder, "--fields", "6")
        assert added.exit_code == 0, added.output
    return folder


@pytest.fixture(autouse=True)
def settings(models: dict[str, str], archive: Path, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**models, "COIN_ARCHIVE": str(archive)}.items():
        monkeypatch.setenv(name, value)


def found(*options: str | Path) -> dict[str, Any]:
    result = coin("search", *options, "--json")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


@pytest.mark.slow
def test_a_slide_finds_the_fields_that_were_cut_out_of_it(slides: Path) -> None:
    document = found("--slide", slides / "beta.svs", "--slide-fields", "6")
    first = document["cases"][0]
    assert (first["case"], first["score"]) == ("case 1", pytest.approx(1, abs=0.01))
    assert [case["score"] for case in document["cases"]] == sorted(
        (c["score"] for c in document["cases"]), reverse=True
    )
    assert len(document["slide"]["fields"]) == 6
    assert document["query"]["kind"] == "slide"
    assert document["query"]["slide"] == {"path": "beta.svs", "at": None, "fields": 6, "match": "even"}
    assert len(first["matches"]) == 3
    for match in first["matches"]:
        assert match["image"]["place"] == match["field"], "each field meets itself"
        assert match["similarity"] == pytest.approx(1, abs=0.01)
    assert any("is in the archive itself, of the case case 1" in note for note in document["notes"])
    others = found("--slide", slides / "beta.svs", "--exclude-patient", "patient 1", "--match", "best")
    assert [case["case"] for case in others["cases"]] in (["case 0", "case 2"], ["case 2", "case 0"])


def test_the_text_leads_with_the_fields_that_met(slides: Path) -> None:
    shown = coin("search", "--slide", slides / "beta.svs", "--slide-fields", "6", "-k", "2")
    assert shown.output.startswith(
        "Cases nearest to the slide beta.svs by 6 of its fields (mean, on even terms, of best matches)\n"
    )
    (place,) = {(match["field"]["x"], match["field"]["y"]) for match in found_first(slides)}
    line = f"query field at {place[0]:,}, {place[1]:,} ~ field at {place[0]:,}, {place[1]:,} of slide beta, 128 µm"
    head = shown.output.index(" 1  ")
    assert head < shown.output.index(line) < shown.output.index("Report 1.")
    assert "Not judged: Whether a whole slide has comparable cases is not calibrated" in " ".join(shown.output.split())


def found_first(slides: Path) -> list[dict[str, Any]]:
    best: list[dict[str, Any]] = found("--slide", slides / "beta.svs", "--slide-fields", "6")["cases"][0]["matches"][:1]
    return best


def test_a_part_in_pixels_and_in_micrometres_is_one_image(slides: Path, archive: Path) -> None:
    with Archive.open(archive, read_only=True) as opened:
        place = opened.case("case 2").images[3].place
    assert place is not None
    at = f"{place.x},{place.y},{place.width},{place.height}"
    in_um = ",".join(f"{side * 0.5}um" for side in (place.x, place.y, place.width, place.height))
    for area in (at, in_um):
        document = found("--slide", slides / "gamma.svs", "--at", area, "--exclude-patient", "patient 0")
        first = document["cases"][0]
        assert (first["case"], first["similarity"]) == ("case 2", pytest.approx(1, abs=0.01))
        (match,) = first["matches"]
        assert match["image"]["place"] == match["field"] == document["slide"]["fields"][0]
        assert (match["field"]["x"], match["field"]["y"]) == (place.x, place.y)
        assert "case 0" not in {case["case"] for case in document["cases"]}
    shown = coin("search", "--slide", slides / "gamma.svs", "--at", in_um)
    assert "the region " in shown.output.splitlines()[0]
    assert "µm of the slide gamma.svs" in shown.output.splitlines()[0]


@pytest.mark.slow
def test_a_query_by_a_slide_is_kept_refined_and_says_where_its_slide_is_gone(slides: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copy(slides / "alpha.svs", tmp_path / "delta.svs"))
    first = found("--slide", moved, "--slide-fields", "4", "--save", "by slide")
    assert [case["case"] for case in found("--query", "by slide")["cases"]] == [case["case"] for case in first["cases"]]
    part = found("--query", "by slide", "--at", "0,0,256,256")
    assert part["query"]["slide"]["at"]["width"] == 256
    assert part["query"]["slide"]["fields"] == 4
    assert "by slide" in coin("queries").output
    moved.unlink()
    gone = coin("search", "--query", "by slide")
    assert gone.exit_code == 1
    assert "delta.svs cannot be read" in gone.output
    by_case = found("--query", "by slide", "--case", "case 0")
    assert by_case["query"]["kind"] == "case"


def test_a_report_goes_with_a_slide(slides: Path) -> None:
    document = found("--slide", slides / "beta.svs", "--text", "Report.", "--channel", "image", "--channel", "report")
    assert document["query"]["kind"] == "report and slide"
    assert {rank["channel"] for rank in document["cases"][0]["channels"]} == {"image", "report"}
    assert any(case.get("matches") for case in document["cases"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--text", "R.", "--at", "0,0,10,10"), "go with --slide"),
        (("--slide", "{slide}", "--at", "0,0,10"), "is not x, y, width and height: four numbers in pixels"),
        (("--slide", "{slide}", "--at", "0um,0,10,10"), "or all four in µm"),
        (("--slide", "{slide}", "--at", "0,0,-10,10"), "is empty: its width and its height must be above 0"),
        (("--slide", "{slide}", "--at", "-5,0,256,256"), "begins left of the slide or above it"),
        (("--slide", "{slide}", "--at", "900,900,256,256"), "reaches beyond alpha.svs, which is 1024 × 1024 pixels"),
        (("--slide", "{slide}", "--at", "0,0,9000000,9000000"), "reaches beyond alpha.svs"),
        (("--slide", "{slide}", "--at", "0,0,4,4"), "which holds no cell"),
        (("--slide", "{slide}", "--image", "{slide}"), "give only one of --image and --slide"),
        (("--image", "{slide}"), "'alpha.svs' is a whole slide: search by it with --slide"),
        (("--slide", "{slide}.gone"), "alpha.svs.gone cannot be read"),
    ],
)
def test_what_cannot_query_is_reported_in_a_sentence(slides: Path, options: tuple[str, ...], message: str) -> None:
    named = [option.replace("{slide}", str(slides / "alpha.svs")) for option in options]
    refused = coin("search", *named)
    assert refused.exit_code != 0
    assert message in " ".join(refused.output.split())


@pytest.mark.slow
def test_a_name_that_could_be_a_patients_is_not_shown(slides: Path, tmp_path: Path) -> None:
    named = Path(shutil.copy(slides / "beta.svs", tmp_path / "Doe, Jane 1950-01-02.svs"))
    document = coin("search", "--slide", named, "--json").stdout
    text = coin("search", "--slide", named).output
    assert "Doe" not in document
    assert "Doe" not in text
    assert "the slide slide-" in text


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared slides are not here")
def test_the_shared_slides_find_themselves_and_the_series_the_slide_it_was_cut_out_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the shipped encoder: at each place of the series the slide itself, and another stain after it."""
    monkeypatch.delenv("COIN_ENCODER")
    archive = tmp_path / "archive"
    names = ["csf-mgg.svs", "csf-pap.svs", "neuroendocrine-giemsa.svs"]
    assert coin("init", "--archive", archive).exit_code == 0
    options = ("--archive", archive, "--images", SHARED, "--fields", "24")
    assert coin("add", write_manifest(tmp_path, names), *options).exit_code == 0
    for number, name in enumerate(names):
        document = found("--archive", archive, "--slide", SHARED / name, "--slide-fields", "24")
        first = document["cases"][0]
        assert (first["case"], first["score"]) == (f"case {number}", pytest.approx(1, abs=0.02))
        assert [match["similarity"] for match in first["matches"]] == pytest.approx([1, 1, 1], abs=0.02)
    by_series = found("--archive", archive, "--slide", SHARED / "csf-mgg-dicom")
    assert by_series["cases"][0]["case"] == "case 0"
    part = found("--archive", archive, "--slide", SHARED / "csf-mgg-dicom", "--at", "1000,1000,506,506")
    there = found("--archive", archive, "--slide", SHARED / "csf-mgg.svs", "--at", "4000,4000,506,506")
    assert [case["case"] for case in part["cases"]] == [case["case"] for case in there["cases"]]
    differences = [
        abs(first["similarity"] - second["similarity"])
        for first, second in zip(part["cases"], there["cases"], strict=True)
    ]
    assert max(differences) < 0.02
