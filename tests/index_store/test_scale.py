"""The scale of images: how it is written, which source wins, and what becomes of it in the records."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from sqlalchemy import text

from index_store import Archive, CaseFilter, ManifestRow, read_manifest
from index_store.scale import bin_name, bin_of, disagree, mpp_of_objective, mpp_of_text, replaces
from tests.index_store.archive_builders import add_manifest, records, write_manifest


@pytest.mark.parametrize(
    ("text", "mpp"),
    [
        *(("0.25", 0.25), (" 0,2527 ", 0.2527), (".5", 0.5), ("0.5 µm/px", 0.5), ("0.23um per pixel", 0.23)),
        *(("1 micron", 1.0), ("0.049", None), ("20", 20.0), ("20.1", None), ("-0.25", None), ("1e9", None)),
        *(("nan", None), ("", None), ("250 nm", None), ("0.25 mm", None), ("0.25 x", None)),
    ],
)
def test_micrometres_a_pixel_as_people_write_them(text: str, mpp: float | None) -> None:
    assert mpp_of_text(text) == mpp


@pytest.mark.parametrize(
    ("text", "mpp"),
    [
        *(("40x", 0.25), ("40", 0.25), ("20X", 0.5), ("x10", 1.0), ("40×", 0.25), ("100x oil", 0.1), ("1.25x", 8.0)),
        *(("40x/0.95", 0.25), ("400x", None), ("0", None), ("high power", None), ("", None)),
    ],
)
def test_the_nominal_scale_of_an_objective(text: str, mpp: float | None) -> None:
    assert mpp_of_objective(text) == mpp


def test_what_is_said_of_one_image_wins_over_its_file_and_that_over_what_is_said_of_all() -> None:
    order = [("", "option"), ("option", "resolution tag"), ("DICOM", "objective"), ("slide", "manifest")]
    for weaker, stronger in order:
        assert replaces(stronger, weaker)
        assert not replaces(weaker, stronger)
    assert replaces("manifest", "manifest")  # a correction
    assert not replaces("", "")


def test_scales_that_differ_by_more_than_a_tenth_disagree() -> None:
    assert disagree(0.25, 0.28)
    assert not disagree(0.25, 0.27)


def test_the_usual_objectives_lie_in_three_bins() -> None:
    assert [bin_of(mpp) for mpp in (0.25, 0.23, 0.2527, 0.5, 1.0)] == [0, 0, 0, 2, 3]
    assert bin_name(0) == "about 0.25 µm a pixel"


def row(path: Path, **values: str) -> ManifestRow:
    """The one usable row of a manifest with these further columns."""
    manifest = read_manifest(write_manifest(path / "manifest.csv", [{"image": "a.png", "report": "R.", **values}]))
    assert manifest.problems == ()
    return manifest.rows[0]


@pytest.mark.parametrize(
    "column", ["mpp", "MPP", "um_per_pixel", "µm/px", "microns per pixel", "Pixel size (µm)", "micrometres_per_pixel"]
)
def test_a_column_of_micrometres_a_pixel(tmp_path: Path, column: str) -> None:
    read = row(tmp_path, **{column: "0.2527", "objective": "20x"})
    assert (read.mpp, read.mpp_source) == (0.2527, "manifest")
    assert dict(read.attributes) == {"objective": "20x"}


@pytest.mark.parametrize("column", ["objective", "Magnification", "objective_power", "Nominal magnification"])
def test_a_column_of_objectives(tmp_path: Path, column: str) -> None:
    read = row(tmp_path, **{column: "40x", "mpp": ""})
    assert (read.mpp, read.mpp_source) == (0.25, "objective")
    assert dict(read.attributes) == {column: "40x"}


@pytest.mark.parametrize("values", [{"mpp": ""}, {"mpp": "n/a", "objective": "unknown"}, {"pixels": "0.25"}])
def test_a_scale_that_is_not_given_is_not_known(tmp_path: Path, values: dict[str, str]) -> None:
    read = row(tmp_path, **values)
    assert (read.mpp, read.mpp_source) == (None, "")


def test_a_scale_that_no_microscope_has_is_a_problem_of_its_line(tmp_path: Path) -> None:
    rows = [{"image": f"{i}.png", "report": "R.", "mpp": mpp} for i, mpp in enumerate(("0.25", "250", "a"))]
    manifest = read_manifest(write_manifest(tmp_path / "manifest.csv", rows))
    assert [read.line for read in manifest.rows] == [2]
    assert [problem.where for problem in manifest.problems] == ["manifest.csv, line 3", "manifest.csv, line 4"]
    assert "column mpp (µm a pixel, 0.05 to 20)" in manifest.problems[0].what


def test_an_objective_that_cannot_be_read_is_noted_and_its_row_kept(tmp_path: Path) -> None:
    rows = [{"image": "a.png", "report": "R.", "magnification": "400x"}]
    manifest = read_manifest(write_manifest(tmp_path / "manifest.csv", rows))
    (read,), (note,) = manifest.rows, manifest.notes
    assert read.mpp is None
    assert "line 2" in note


def scales(archive: Archive) -> list[tuple[float | None, str]]:
    return [(image.mpp, image.mpp_source) for case in archive.cases() for image in case.images]


def test_the_records_keep_a_scale_and_take_another(archive: Archive, tmp_path: Path) -> None:
    rows = [{"image": f"{i}.png", "case": "c", "report": "R.", "mpp": mpp} for i, mpp in enumerate(("0.25", "", "1"))]
    manifest = write_manifest(tmp_path / "manifest.csv", rows)
    add_manifest(archive, manifest)
    assert scales(archive) == [(0.25, "manifest"), (None, ""), (1.0, "manifest")]
    image = archive.case("c").images[0]
    assert archive.image(image.id) == image
    assert dict(archive.status().scales) == {"0.25": 1, "1": 1, "unknown": 1}
    before, revision = archive.image_table(), archive.revision
    assert len(add_manifest(archive, manifest).unchanged) == 3
    assert archive.revision == revision
    rows[0]["mpp"], rows[1]["objective"], rows[2]["mpp"] = "0.5", "40x", ""
    assert len(add_manifest(archive, write_manifest(manifest, rows)).changed) == 2
    assert scales(archive) == [(0.5, "manifest"), (0.25, "objective"), (1.0, "manifest")]
    assert archive.image_table().position.sequence > before.position.sequence  # an index that filters has to know
    assert archive.image_table().scalars["mpp"].tolist() == [0.5, 0.25, 1.0]
    assert [case.key for case in archive.cases(CaseFilter(mpp=(0.4, 0.6)))] == ["c"]
    assert [case.key for case in archive.cases(CaseFilter(mpp=(2, 3)))] == []


def test_what_is_said_of_all_images_does_not_replace_what_is_known_of_one(archive: Archive, tmp_path: Path) -> None:
    rows = [{"image": f"{i}.png", "case": "c", "report": "R.", "mpp": mpp} for i, mpp in enumerate(("0.25", ""))]
    add_manifest(archive, manifest := write_manifest(tmp_path / "manifest.csv", rows))
    plan = archive.pending([dataclasses.replace(r, mpp=0.5, mpp_source="option") for r in read_manifest(manifest).rows])
    assert len(plan.unchanged) == 1
    assert archive.update(plan.changed) == 1
    assert scales(archive) == [(0.25, "manifest"), (0.5, "option")]


@pytest.mark.slow
def test_the_doctor_finds_a_scale_that_none_can_have(archive: Archive, tmp_path: Path) -> None:
    given = {"a": "0.25", "b": "", "c": "1"}
    rows = [{"image": f"{name}.png", "case": name, "report": "R.", "mpp": mpp} for name, mpp in given.items()]
    add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows))
    assert archive.examine().healthy
    with records(archive.path, writing=True) as session:
        session.execute(text("UPDATE images SET mpp = 250 WHERE id = 1"))
        session.execute(text("UPDATE images SET mpp_source = 'slide' WHERE id = 2"))
    found = [finding for finding in archive.examine().findings if "have a scale that none can have" in finding.what]
    assert len(found) == 1
    assert set(found[0].examples) == {"case a, image 1", "case b, image 2"}
