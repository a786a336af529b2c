"""The archive's own cases as queries, against a count in plain loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retrieval import EvaluationError, GenerationPlan
from retrieval.encoder.embedding_cache import EmbeddingCache
from retrieval.search.channels import generated
from retrieval.search.channels.joint import text_similarities
from retrieval.search.channels.own_cases import OwnCases, read_own_cases
from tests.retrieval.labelled_archive import unit
from tests.retrieval.vector_archive import FINGERPRINT, archive_of

NEAREST = 5


def own_cases(seed: int) -> OwnCases:
    """Nine patients with one to three cases of one to three images each."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(9), rng.integers(1, 4, 9))
    case_of = np.repeat(np.arange(len(patients)), rng.integers(1, 4, len(patients)))
    vectors = rng.normal(size=(len(case_of), 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return OwnCases((), patients.astype(np.int64), case_of.astype(np.int64), vectors)


def plain_nearest_mean(query: np.ndarray, references: np.ndarray, patients: Sequence[int], own: int) -> float:
    """The mean of the similarities of the nearest other patients, of each the nearest reference."""
    best: dict[int, float] = {}
    for vector, patient in zip(references, patients, strict=True):
        if patient != own:
            product = sum(float(a) * float(b) for a, b in zip(query, vector, strict=True))
            best[patient] = max(best.get(patient, -1.0), product)
    nearest = sorted(best.values(), reverse=True)[:NEAREST]
    return sum(nearest) / len(nearest)


@pytest.mark.parametrize("seed", range(4))
def test_a_query_leaves_its_own_patient_out(seed: int) -> None:
    own = own_cases(seed)
    cases = own.sampled(6, np.random.default_rng(seed))
    assert len(set(own.patient_of[cases])) == len(cases) == 6
    queries = np.stack([own.vectors[own.images_of(case)[0]] for case in cases])

    patients = own.patient_of[own.case_of]
    expected = [
        plain_nearest_mean(query, own.vectors, patients, own.patient_of[case])
        for query, case in zip(queries, cases, strict=True)
    ]
    assert own.similarities(queries, cases) == pytest.approx(sorted(expected), abs=1e-6)


def test_images_of_a_case_are_its_rows() -> None:
    own = own_cases(0)
    for case in range(len(own.patient_of)):
        assert own.images_of(case).tolist() == [row for row, of in enumerate(own.case_of) if of == case]


@pytest.fixture
def reported(tmp_path: Path) -> OwnCases:
    """25 patients, of whom every second has two cases, and four have no report."""
    rows = []
    for patient in range(25):
        for case in range(1 + patient % 2):
            name = f"{patient} {case}"
            rows.append(
                {"case": name, "patient": f"patient {patient}", "report": " " if patient < 4 else f"Report {name}"}
            )
    with archive_of(tmp_path, rows, unit(np.random.default_rng(3).normal(size=(len(rows), 6)))) as archive:
        return read_own_cases(archive, FINGERPRINT, where=None)


def text_vector(text: str) -> np.ndarray:
    return unit(np.random.default_rng(list(text.encode())).normal(size=(1, 6)))[0]


@pytest.mark.parametrize("reports", [False, True])
def test_sampled_reports_find_what_a_plain_count_finds(reported: OwnCases, reports: bool) -> None:
    encoded: list[str] = []

    def encode(texts: Sequence[str]) -> np.ndarray:
        encoded.extend(texts)
        return np.stack([text_vector(text) for text in texts])

    text_similarities(reported, encode, sample=8, reports=False)
    asked = list(encoded)
    encoded.clear()
    found = text_similarities(reported, encode, sample=8, reports=reports)
    case_of = {case.report: row for row, case in enumerate(reported.cases) if case.report.strip()}
    patient_of = {report: int(reported.patient_of[row]) for report, row in case_of.items()}
    assert len({patient_of[report] for report in asked}) == len(asked) == 8
    assert sorted(encoded) == sorted(case_of if reports else asked), "what is not asked is not encoded"

    of_images = reported.patient_of[reported.case_of]
    among_images = [plain_nearest_mean(text_vector(t), reported.vectors, of_images, patient_of[t]) for t in asked]
    assert found["joint"] == pytest.approx(sorted(among_images), abs=1e-6)
    if reports:
        texts = np.stack([text_vector(text) for text in case_of])
        among_texts = [plain_nearest_mean(text_vector(t), texts, [*patient_of.values()], patient_of[t]) for t in asked]
        assert found["report"] == pytest.approx(sorted(among_texts), abs=1e-6)
    assert set(found) == ({"joint", "report"} if reports else {"joint"})


def test_two_patients_with_reports_calibrate_and_one_does_not(reported: OwnCases) -> None:
    def with_reports_of(*patients: str) -> OwnCases:
        cases = [replace(case, report=case.report if case.patient in patients else "") for case in reported.cases]
        return replace(reported, cases=tuple(cases))

    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.stack([text_vector(text) for text in texts])

    found = text_similarities(with_reports_of("patient 5", "patient 7"), encode, sample=8, reports=True)
    assert [len(similarities) for similarities in found.values()] == [2, 2]
    with pytest.raises(EvaluationError, match="at least two patients"):
        text_similarities(with_reports_of("patient 5"), encode, sample=8, reports=True)


@pytest.mark.parametrize(
    ("with_report", "with_images", "message"),
    [
        (20, 20, ""),
        (20, 19, "exist for 19 reports"),
        (19, 19, "the archive has 19 patients with a report, and 20"),
    ],
)
def test_twenty_patients_calibrate_generated_images(
    reported: OwnCases, monkeypatch: pytest.MonkeyPatch, with_report: int, with_images: int, message: str
) -> None:
    cases = tuple(
        replace(case, report=case.report if patient < 4 + with_report else "")
        for case, patient in zip(reported.cases, reported.patient_of, strict=True)
    )
    own, cache = replace(reported, cases=cases), EmbeddingCache(None, 6)
    cache.put(["an image"], unit(np.ones((1, 6))))

    def cached(reports: Sequence[generated.OwnReport], *_: object) -> tuple[list[int], np.ndarray]:
        assert len({report.patient for report in reports}) == len(reports) == with_report
        return list(range(with_images)), np.stack([text_vector(report.text) for report in reports[:with_images]])

    monkeypatch.setattr(generated, "cached_queries", cached)
    plan = GenerationPlan(None, images=1)  # type: ignore[arg-type]
    if message:
        with pytest.raises(EvaluationError, match=message) as raised:
            generated.generated_similarities(own, None, plan, None, cache)  # type: ignore[arg-type]
        assert "filter" not in str(raised.value)
        with pytest.raises(EvaluationError, match="that the filter lets through"):
            generated.generated_similarities(own, None, plan, None, cache, filtered=True)  # type: ignore[arg-type]
        return
    found = generated.generated_similarities(own, None, plan, None, cache)  # type: ignore[arg-type]
    assert list(found) == ["generated"]
    assert len(found["generated"]) == with_images
