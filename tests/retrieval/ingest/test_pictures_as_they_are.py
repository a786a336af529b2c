"""What is doubtful about a picture is in the summary and on its case; no reader shows a file that was exchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index_store import Archive, Case, ImageNotFoundError, ImageProblem
from retrieval import Encoder, Query, add_manifest
from retrieval.evaluation.colour_baseline import colour_histograms
from retrieval.generated.near_duplicate import _known
from retrieval.search.case_search import CaseSearch
from tests.index_store.files.hostile_pictures import smear, tiff, tiff_page
from tests.retrieval.conftest import speckled
from tests.retrieval.ingest.test_ingest import write_manifest
from ui.serving.pictures.archive_pictures import image_file, image_tag
from ui.text.archive import add_text
from ui.text.case import case_text

FOCAL = "of its 3 focal planes, the first was read"


@pytest.fixture
def archive(tmp_path: Path, encoder: Encoder) -> Archive:
    planes = [tiff_page(smear(seed, (96, 80))) for seed in range(3)]
    planes[0][270] = ("s", '{"shape": [3, 80, 96, 3], "axes": "ZYXS"}')
    (tmp_path / "stack.tif").write_bytes(tiff(*planes))
    speckled(1).save(tmp_path / "plain.png")
    rows = [["stack.tif", "A", "NILM.", ""], ["plain.png", "B", "NILM.", ""], ["plain.png", "C", "HSIL.", ""]]
    archive = Archive.create(tmp_path / "archive")
    archive.summary = add_manifest(archive, write_manifest(tmp_path, rows), encoder)  # type: ignore[attr-defined]
    return archive


def test_a_note_is_in_the_summary_and_on_the_case(archive: Archive) -> None:
    summary = archive.summary  # type: ignore[attr-defined]
    assert summary.added == 3
    assert f"1 picture (line 2): {FOCAL}." in summary.notes
    assert FOCAL in add_text(summary)
    (image,) = archive.case("A").images
    assert image.note == FOCAL
    assert f"Note: {FOCAL}." in case_text(archive.case("A"))
    assert "picture note" not in case_text(archive.case("A"))
    assert archive.case("B").images[0].note == ""


def test_a_note_stays_when_the_row_is_changed_and_added_again(
    archive: Archive, tmp_path: Path, encoder: Encoder
) -> None:
    changed = write_manifest(tmp_path, [["stack.tif", "A", "HSIL.", "cervix"]])
    assert add_manifest(archive, changed, encoder).updated == 1
    assert archive.case("A").images[0].note == FOCAL


def test_cases_whose_report_was_replaced_are_handed_on(archive: Archive, tmp_path: Path, encoder: Encoder) -> None:
    former: list[Case] = []
    rows = [["stack.tif", "A", "HSIL.", ""], ["plain.png", "B", "NILM.", "cervix"], ["plain.png", "C", "", "cervix"]]
    add_manifest(archive, write_manifest(tmp_path, rows), encoder, replaced=former.extend)
    assert [(case.key, case.report) for case in former] == [("A", "NILM.")]
    assert archive.case("A").report == "HSIL."


def test_one_picture_of_two_patients_is_noted(archive: Archive, tmp_path: Path, encoder: Encoder) -> None:
    (note,) = [note for note in archive.summary.notes if "patient" in note]  # type: ignore[attr-defined]
    assert note.startswith("1 picture is of more than one patient, to the byte (lines 3, 4)")
    (tmp_path / "again.png").write_bytes((tmp_path / "stack.tif").read_bytes())
    later = add_manifest(archive, write_manifest(tmp_path, [["again.png", "D", "NILM.", ""]]), encoder)
    assert any(note.startswith("1 picture is of more than one patient, to the byte (line 2)") for note in later.notes)


def test_a_query_tells_how_its_picture_was_read(archive: Archive, encoder: Encoder, tmp_path: Path) -> None:
    found = CaseSearch(archive, encoder).run(Query(image=(tmp_path / "stack.tif").read_bytes()))
    assert f"The query's picture: {FOCAL}." in found.notes
    plain = CaseSearch(archive, encoder).run(Query(image=(tmp_path / "plain.png").read_bytes()))
    assert not [note for note in plain.notes if "picture" in note]


def test_no_reader_takes_a_file_that_was_exchanged(archive: Archive, encoder: Encoder) -> None:
    (image,) = archive.case("A").images
    assert image_file(image)
    tag = image_tag(image)
    kept = image.path.read_bytes()
    image.path.write_bytes(archive.case("B").images[0].path.read_bytes())
    altered = pytest.raises(ImageProblem, match="altered since it was added")
    with altered:
        image_file(image)
    assert image_tag(image) != tag, "a browser would keep showing the former file"
    with altered:
        archive.picture(image.id)
    from retrieval import Region

    with altered:
        CaseSearch(archive, encoder).run(Query(case="A", image_id=image.id, region=Region(0, 0, 0.5, 0.5)))
    assert _known(image.path, image.file_sha256) is None
    cache = _Cache()
    _, unreadable = colour_histograms({"a": (image.path, image.file_sha256)}, ["a"], cache)  # type: ignore[arg-type]
    assert unreadable == 1
    image.path.write_bytes(kept)
    assert image_file(image)
    archive.remove("A")
    with pytest.raises(ImageProblem):
        image_file(image)
    assert image_tag(image) == ""
    with pytest.raises(ImageNotFoundError):
        archive.image(image.id)


class _Cache(dict):  # type: ignore[type-arg]
    def take(self, keys: list[str]) -> np.ndarray:
        raise AssertionError(keys)
