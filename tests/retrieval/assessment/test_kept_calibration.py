"""What searches are judged by is kept for the next process, and says the same as what is made anew."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive, CaseFilter
from retrieval import CaseSearch, Encoder
from retrieval.assessment.diagnostics import Diagnostics, ResultDiagnostics
from retrieval.assessment.novelty import NoveltyCheck
from retrieval.search.channels.channel import CalibrationMaterials
from retrieval.search.channels.image import ImageChannel, image_similarities
from retrieval.search.channels.own_cases import (
    COMPARISONS,
    FILTERED_SAMPLE,
    LEAST_SAMPLE,
    SAMPLE,
    OwnCases,
    read_own_cases,
)
from tests.retrieval.labelled_archive import unit
from tests.retrieval.vector_archive import add_rows, archive_of

PATIENTS = 30
CERVIX = CaseFilter(sites=("cervix",))
FILTERS = [None, CERVIX, CaseFilter(sites=("cervix", "thyroid"), stains=("Giemsa",), exclude_patients=("p3",))]


def rows_of(first: int, patients: int) -> list[dict[str, str]]:
    return [
        {
            "case": f"c{patient}-{case}",
            "patient": f"p{patient}",
            "site": ("cervix", "thyroid", "urine")[patient % 3],
            "category": ("NILM", "HSIL")[patient % 2],
            "stain": ("Papanicolaou", "Giemsa")[case],
            "slide": f"s{patient % 7}",
            "source": f"laboratory {patient % 4}",
        }
        for patient in range(first, first + patients)
        for case in range(2)
        for _ in range(2)
    ]


def vectors_of(rows: list[dict[str, str]], dim: int) -> np.ndarray:
    """Of few values, so that many images are equally near."""
    return unit(np.random.default_rng(len(rows)).integers(0, 2, size=(len(rows), dim)) + np.eye(len(rows), dim))


@pytest.fixture(scope="module")
def built(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rows = tmp_path_factory.mktemp("kept"), rows_of(0, PATIENTS)
    archive_of(folder, rows, vectors_of(rows, encoder.dim), fingerprint=encoder.fingerprint).close()
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built, tmp_path / "copy")


def derived(folder: Path) -> list[Path]:
    return sorted((folder / "archive" / "index").glob("*.derived"))


def answers(folder: Path, encoder: Encoder) -> list[tuple[object, ResultDiagnostics]]:
    """What a new process answers and tells of it, to cases under several filters."""
    found: list[tuple[object, ResultDiagnostics]] = []
    with Archive.open(folder / "archive", read_only=True, keep_derived=True) as archive:
        search, diagnostics = CaseSearch(archive, encoder), Diagnostics(archive, encoder)
        for where in FILTERS:
            for key, with_own in (("c0-0", False), ("c7-1", True)):
                result = search.by_case(key, k=8, where=where, include_own_patient=with_own)
                hits: list[tuple[object, ...]] = [
                    (case.case.key, case.image.id, case.similarity) for case in result.cases
                ]
                found.append((hits, diagnostics.describe(result)))
    return found


@pytest.mark.slow
def test_answers_are_those_without_what_was_kept(folder: Path, encoder: Encoder) -> None:
    made = answers(folder, encoder)
    assert len(derived(folder)) == 1 + len(FILTERS)
    assert answers(folder, encoder) == made, "with all of it"
    with Archive.open(folder / "archive") as other:
        more = rows_of(PATIENTS, 4)
        vectors = vectors_of(more, encoder.dim)
        add_rows(other, folder / "images", more, vectors, first=200, fingerprint=encoder.fingerprint)
        assert other.remove("c1-1") == 2
        more = rows_of(PATIENTS + 4, 4)
        add_rows(other, folder / "images", more, vectors, first=300, fingerprint=encoder.fingerprint)
    followed = answers(folder, encoder)
    assert followed != made
    for path in derived(folder):
        path.unlink()
    assert answers(folder, encoder) == followed, "with none of it"


@pytest.fixture
def calibrated(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, CaseFilter | None]]]:
    """What was calibrated."""
    asked: list[tuple[str, CaseFilter | None]] = []
    own_similarities = ImageChannel.own_similarities

    def noted(self: ImageChannel, materials: CalibrationMaterials) -> object:
        asked.append((materials.query_type, materials.where))
        found = own_similarities(self, materials)
        assert list(found) == [materials.query_type], "what is not asked for is not searched"
        return found

    monkeypatch.setattr(ImageChannel, "own_similarities", noted)
    yield asked


def judged(folder: Path, encoder: Encoder, where: CaseFilter | None = None, *, image: bool = False) -> NoveltyCheck:
    """A case's novelty, as a new process judges it."""
    with Archive.open(folder / "archive", read_only=True, keep_derived=True) as archive:
        query = archive.case("c0-0")
        search = CaseSearch(archive, encoder)
        result = search.by_image(query.images[0].path, where=where) if image else search.by_case("c0-0", where=where)
        (check,) = Diagnostics(archive, encoder).describe(result).comparability
        return check


@pytest.mark.slow
def test_a_calibration_is_made_once_for_all_processes(
    folder: Path, encoder: Encoder, calibrated: list[tuple[str, CaseFilter | None]]
) -> None:
    first = judged(folder, encoder)
    assert judged(folder, encoder) == first
    assert calibrated == [("case", None)]
    judged(folder, encoder, image=True)
    both = CaseFilter(sites=("cervix", "thyroid"))
    judged(folder, encoder, both)
    judged(folder, encoder, CaseFilter(sites=("thyroid", "cervix")))
    assert calibrated[1:] == [("image", None), ("case", both)]
    for path in derived(folder):
        path.write_bytes(path.read_bytes()[:-1])
    assert judged(folder, encoder) == first, "a damaged one is made anew"
    assert calibrated[3:] == [("case", None)]


def test_why_there_is_none_is_kept_too(
    folder: Path, encoder: Encoder, calibrated: list[tuple[str, CaseFilter | None]]
) -> None:
    nobody_else = CaseFilter(sites=("cervix",), exclude_patients=tuple(f"p{n}" for n in range(3, PATIENTS)))

    def reasons() -> list[str]:
        with Archive.open(folder / "archive", read_only=True, keep_derived=True) as archive:
            result = CaseSearch(archive, encoder).by_case("c1-0", where=nobody_else)
            return [one.reason for one in Diagnostics(archive, encoder).describe(result).not_judged]

    first = reasons()
    assert "at least two patients" in first[0]
    assert reasons() == first
    assert len(calibrated) == 1


@pytest.mark.slow
def test_it_says_how_many_changes_it_lacks_and_is_made_anew_after_many(
    folder: Path, encoder: Encoder, calibrated: list[tuple[str, CaseFilter | None]]
) -> None:
    before = judged(folder, encoder)

    def add(patient: int) -> None:
        rows = rows_of(patient, 1)
        with Archive.open(folder / "archive") as archive:
            vectors = vectors_of(rows, encoder.dim)
            add_rows(archive, folder / "images", rows, vectors, first=5 * patient, fingerprint=encoder.fingerprint)

    add(100)
    after = judged(folder, encoder)
    assert (after.changes, after.n, after.threshold) == (4, before.n, before.threshold)
    assert len(calibrated) == 1
    add(101)  # 8 of 120 images
    assert (judged(folder, encoder).changes, judged(folder, encoder).n) == (0, before.n + 2)
    assert len(calibrated) == 2


def test_a_removal_takes_it_away(
    folder: Path, encoder: Encoder, calibrated: list[tuple[str, CaseFilter | None]]
) -> None:
    judged(folder, encoder)
    with Archive.open(folder / "archive") as archive:
        archive.remove("c9-0")
    assert judged(folder, encoder).changes == 0
    assert len(calibrated) == 2


def test_of_one_type_as_of_both(folder: Path, encoder: Encoder) -> None:
    with Archive.open(folder / "archive") as archive:
        own = read_own_cases(archive, encoder.fingerprint, where=CERVIX)
        both = image_similarities(own)
        for kind, scores in both.items():
            assert image_similarities(own, query_types=(kind,)) == {kind: scores}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "images", "sample"),
    [
        (None, 10 * COMPARISONS, SAMPLE),
        (CERVIX, 10, FILTERED_SAMPLE),
        (CERVIX, COMPARISONS // 150, 150),
        (CERVIX, 10 * COMPARISONS, LEAST_SAMPLE),
    ],
)
def test_a_sample_under_a_filter_is_bounded(folder: Path, where: CaseFilter | None, images: int, sample: int) -> None:
    with Archive.open(folder / "archive") as archive:
        table = archive.image_table()
        many = dataclasses.replace(table, ids=np.arange(images))
        assert OwnCases(archive, "", where, many).sample_size == sample
