"""A calibration under a filter, by what was kept of the one without: against searching all of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive, CaseFilter
from retrieval.assessment.novelty import Calibration
from retrieval.search.channels import image, kept_neighbours
from retrieval.search.channels.image import image_similarities
from retrieval.search.channels.kept_neighbours import Neighbours, neighbours_name, read_neighbours
from retrieval.search.channels.own_cases import read_own_cases
from tests.retrieval.labelled_archive import unit
from tests.retrieval.vector_archive import FINGERPRINT, add_rows, archive_of

PATIENTS = 240
FILTERS = [
    CaseFilter(sites=("cervix", "thyroid", "lung")),
    CaseFilter(sites=("urine",)),
    CaseFilter(stains=("pap",)),
    CaseFilter(exclude_patients=tuple(f"patient {number}" for number in range(0, 60, 2))),
]


def rows_of(patients: range) -> list[dict[str, str]]:
    """One to three cases a patient, of several sites, with one to four images of two stains."""
    rows = []
    for patient in patients:
        for case in range(1 + patient % 3):
            site = ("cervix", "urine", "thyroid", "lung")[(patient + case) % 4]
            row = {"case": f"{patient} {case}", "patient": f"patient {patient}", "site": site}
            stains = [("pap", "giemsa")[(patient + number) % 5 == 0] for number in range(1 + (patient + case) % 4)]
            rows += [{**row, "stain": stain} for stain in stains]
    return rows


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = rows_of(range(PATIENTS))
    vectors = unit(np.random.default_rng(5).normal(size=(len(rows), 6)))
    with archive_of(tmp_path_factory.mktemp("kept"), rows, vectors) as archive:
        return archive.path


@pytest.fixture
def archive(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    for module in (image, kept_neighbours):
        monkeypatch.setattr(module, "DEPTH", 30)
    monkeypatch.setattr(image, "LEAST_IMAGES", 1)
    shutil.copytree(original, tmp_path / "archive")
    with Archive.open(tmp_path / "archive") as archive:
        image_similarities(read_own_cases(archive, FINGERPRINT, where=None))
        yield archive


@pytest.mark.slow
@pytest.mark.parametrize("where", FILTERS)
def test_what_is_kept_gives_what_a_search_gives(
    archive: Archive, where: CaseFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = read_own_cases(archive, FINGERPRINT, where=where)
    searched: list[int] = []
    nearest_means = type(own).nearest_means
    with monkeypatch.context() as patch:
        patch.setattr(type(own), "nearest_means", lambda *of: (searched.append(len(of[1])), nearest_means(*of))[1])
        found = image_similarities(own)
    sizes = [len(scores) for scores in found.values()]
    assert sum(searched) < (0.9 if where.stains else 0.7) * sum(sizes), "most were kept"
    nothing = np.empty(0, dtype=np.int64), np.empty(0)
    monkeypatch.setattr(Neighbours, "hits", lambda *_: nothing)
    every = image_similarities(own)
    for kind, scores in found.items():
        assert scores == pytest.approx(every[kind], abs=1e-6)


@pytest.mark.slow
def test_images_added_since_are_compared(archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(range(PATIENTS, PATIENTS + 30))
    add_rows(archive, tmp_path, rows, unit(np.random.default_rng(6).normal(size=(len(rows), 6))), first=5_000)
    known = read_neighbours(archive, neighbours_name(FINGERPRINT, "case"))
    assert known is not None
    assert len(known.added) == len(rows)
    test_what_is_kept_gives_what_a_search_gives(archive, FILTERS[0], monkeypatch)
    monkeypatch.setattr(kept_neighbours, "MOST_ADDED", len(rows) - 1)
    assert read_neighbours(archive, neighbours_name(FINGERPRINT, "case")) is None


def test_a_removal_leaves_nothing_to_use(archive: Archive) -> None:
    archive.remove("3 0")
    assert read_neighbours(archive, neighbours_name(FINGERPRINT, "case")) is None


@pytest.mark.parametrize("where", FILTERS[:1])
def test_the_threshold_means_what_it_means_of_all_patients(archive: Archive, where: CaseFilter) -> None:
    """The stated interval of its false alarms holds their share among all permitted patients."""
    own = read_own_cases(archive, FINGERPRINT, where=where)
    sampled = Calibration(FINGERPRINT, {"case": image_similarities(own)["case"][::2]}, filtered=True)
    everybody = np.array(image_similarities(own, sample=10_000)["case"])
    judged = sampled.judge(sampled.threshold("case"), "case")
    assert judged.false_alarm_low <= (everybody < judged.threshold).mean() <= judged.false_alarm_high


def test_those_that_were_compared_are_sampled_first(archive: Archive) -> None:
    known = read_neighbours(archive, neighbours_name(FINGERPRINT, "case"))
    assert known is not None
    few = Neighbours(known.cases[:20], known.singles, known.sizes, known.images, known.scores, known.added)
    own = read_own_cases(archive, FINGERPRINT, where=FILTERS[0])
    chosen = own.sampled(40, np.random.default_rng(0), few)
    patients = own.patient_of[chosen]
    assert len(set(patients.tolist())) == 40
    of_known = archive.image_table().patients_of(few.cases)[0]
    here = np.isin(of_known, own.patient_of)
    assert 5 < here.sum() <= 20
    assert np.isin(of_known[here], patients).all()
    permitted = few.cases[np.isin(few.cases, own.case_ids)]
    assert np.isin(permitted, own.case_ids[chosen]).all(), "with the case that was compared"
