"""The archive's own cases as queries, against a count in plain loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from benchmarks.text_calibration import calibrate_texts
from index_store import Archive, CaseFilter
from retrieval import EvaluationError, GenerationPlan
from retrieval.encoder.embedding_cache import EmbeddingCache
from retrieval.search.channels import generated
from retrieval.search.channels.image import image_similarities
from retrieval.search.channels.own_cases import read_own_cases
from tests.retrieval.labelled_archive import unit
from tests.retrieval.vector_archive import FINGERPRINT, archive_of

NEAREST = 5


def plain_nearest_mean(query: np.ndarray, references: np.ndarray, patients: Sequence[str], own: str) -> float:
    """The mean of the similarities of the nearest other patients, of each the nearest reference."""
    best: dict[str, float] = {}
    for vector, patient in zip(references, patients, strict=True):
        if patient != own:
            product = sum(float(a) * float(b) for a, b in zip(query, vector, strict=True))
            best[patient] = max(best.get(patient, -1.0), product)
    nearest = sorted(best.values(), reverse=True)[:NEAREST]
    return sum(nearest) / len(nearest)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """25 patients, of whom every second has two cases, every third has many images, and four have no report."""
    rows = []
    for patient in range(25):
        for case in range(1 + patient % 2):
            name = f"{patient} {case}"
            row = {"case": name, "patient": f"patient {patient}", "report": " " if patient < 4 else f"Report {name}"}
            rows += [{**row, "site": ("cervix", "urine")[patient % 2]}] * (30 if patient % 3 == 0 else 2)
    vectors = unit(np.random.default_rng(3).normal(size=(len(rows), 6)))
    with archive_of(tmp_path_factory.mktemp("own"), rows, vectors) as archive:
        yield archive


def images_of(archive: Archive, where: CaseFilter | None = None) -> tuple[np.ndarray, list[str]]:
    """The vectors and patients of the archive's images."""
    pairs = [(image.id, case) for case in archive.cases(where) for image in case.images]
    vectors = archive.vectors_of([image for image, _ in pairs], FINGERPRINT)
    return vectors, [case.patient for _, case in pairs]


@pytest.mark.slow
@pytest.mark.parametrize("where", [None, CaseFilter(sites=("urine",)), CaseFilter(exclude_patients=("patient 3",))])
def test_what_cases_and_images_find_is_what_a_plain_count_finds(archive: Archive, where: CaseFilter | None) -> None:
    own = read_own_cases(archive, FINGERPRINT, where=where)
    found = image_similarities(own, sample=7, seed=2)

    rng = np.random.default_rng(2)
    vectors, patients = images_of(archive, where)
    chosen = [archive.cases(where)[row] for row in own.sampled(7, rng)]
    assert len({case.patient for case in chosen}) == len(chosen) == 7
    by_case, by_image = [], []
    for case in chosen:
        own_vectors = archive.vectors_of([image.id for image in case.images], FINGERPRINT)
        by_case.append(plain_nearest_mean(unit(own_vectors.mean(axis=0)), vectors, patients, case.patient))
        single = own_vectors[rng.choice(len(own_vectors))]
        by_image.append(plain_nearest_mean(single, vectors, patients, case.patient))
    assert found["case"] == pytest.approx(sorted(by_case), abs=1e-6)
    assert found["image"] == pytest.approx(sorted(by_image), abs=1e-6)


def test_images_and_patients_are_those_of_the_case(archive: Archive) -> None:
    own = read_own_cases(archive, FINGERPRINT, where=None)
    cases = archive.cases()
    assert own.case_ids.tolist() == [case.id for case in cases]
    for row, case in enumerate(cases):
        assert own.images_of(row).tolist() == [image.id for image in case.images]
    ids = archive.patient_ids({case.patient for case in cases})
    assert own.patient_of.tolist() == [ids[case.patient] for case in cases]


def test_only_the_vectors_of_the_sample_are_read(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    known_vectors = archive.known_vectors
    monkeypatch.setattr(archive, "known_vectors", lambda ids, name: (read.extend(ids), known_vectors(ids, name))[1])
    monkeypatch.setattr(archive, "cases", lambda *_: pytest.fail("all records were read"))
    image_similarities(read_own_cases(archive, FINGERPRINT, where=None), sample=3)
    assert 0 < len(read) <= 3 * 30


def text_vector(text: str) -> np.ndarray:
    return unit(np.random.default_rng(list(text.encode())).normal(size=(1, 6)))[0]


def encode(texts: Sequence[str]) -> np.ndarray:
    return np.stack([text_vector(text) for text in texts])


def test_reports_find_what_a_plain_count_finds(archive: Archive) -> None:
    """What the benchmark calibrates, with every patient in the sample."""
    where = CaseFilter(sites=("urine",))  # every second patient, each with two cases
    found = calibrate_texts(archive, FINGERPRINT, encode, where=where).scores
    patient_of = {case.report: case.patient for case in archive.cases(where) if case.report.strip()}
    vectors, patients = images_of(archive, where)
    texts, owners = encode([*patient_of]), [*patient_of.values()]
    among_images = {t: plain_nearest_mean(text_vector(t), vectors, patients, p) for t, p in patient_of.items()}
    among_texts = {t: plain_nearest_mean(text_vector(t), texts, owners, p) for t, p in patient_of.items()}
    for kind, expected in (("joint", among_images), ("report", among_texts)):
        assert len(found[kind]) == len(set(patient_of.values()))
        assert all(min(abs(value - other) for other in expected.values()) < 1e-6 for value in found[kind])


@pytest.mark.parametrize(
    ("with_report", "with_images", "message"),
    [
        (20, 20, ""),
        (20, 19, "exist for 19 reports"),
        (19, 19, "the archive has 19 patients with a report, and 20"),
    ],
)
def test_twenty_patients_calibrate_generated_images(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, with_report: int, with_images: int, message: str
) -> None:
    left_out = tuple(f"patient {number}" for number in range(4 + with_report, 25))
    own = read_own_cases(archive, FINGERPRINT, where=CaseFilter(exclude_patients=left_out) if left_out else None)
    cache = EmbeddingCache(None, 6)
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
