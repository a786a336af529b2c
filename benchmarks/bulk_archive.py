"""An archive of many vectors, made by bulk insertion, for benchmarks of search.

The rows are those that `Archive.add` writes, in one transaction and without image files.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from benchmarks.synthetic_vectors import CHUNK, IMAGES_PER_CASE, SITES, SyntheticVectors
from generation.phantom import phantom_cases
from index_store import Archive
from index_store.catalog.catalog import advance_revision
from index_store.catalog.counts.kept import following, recount
from index_store.catalog.models import ADDED, CaseRow, ChangeRow, EmbeddingRow, ImageRow, PatientRow, ReportEmbeddingRow
from index_store.catalog.report_vectors import text_hash

FINGERPRINT = "synthetic"
CASES_PER_PATIENT = 2
REPORTS = 1000
"""Cases whose report has a vector."""

SHARES = {"tenth": 10, "hundredth": 100, "thousandth": 1000}
"""Category by the number of patients among which one has it; all others have `other`."""


@dataclass(frozen=True)
class Shape:
    """How the images of an archive belong together, and what its reports say."""

    images_per_case: int
    cases_per_patient: int
    report: Callable[[int], str]
    """The report of a case."""


def build_archive(
    folder: Path,
    vectors: SyntheticVectors,
    array: np.ndarray,
    *,
    fingerprint: str = FINGERPRINT,
    reports: int = REPORTS,
    shape: Shape | None = None,
) -> None:
    """An archive of the images 1 … count, with the vectors `array`, float32[count, d], which is `vectors.array()`, as
    those of the encoder of this fingerprint. The index is made by the first search. `reports`: cases whose report has a
    vector. `shape`: by default `CASES`."""
    shape = shape or CASES
    with Archive.create(folder, name="synthetic") as archive:
        archive.use_encoder(fingerprint, name="synthetic vectors", dim=vectors.dim)
        with archive.writer(), archive._catalog.writing() as session:
            cases = -(-vectors.count // shape.images_per_case)
            patients = -(-cases // shape.cases_per_patient)
            session.execute(insert(PatientRow), [{"id": p + 1, "key": f"patient-{p}"} for p in range(patients)])
            session.execute(insert(CaseRow), [_case(c, shape) for c in range(cases)])
            _insert_images(session, array, 1, shape)
            texts = vectors.text_queries(min(reports, cases), seed=1)
            described = [
                {"encoder_id": 1, "case_id": c + 1, "report_sha256": text_hash(shape.report(c)), "vector": v.tobytes()}
                for c, v in enumerate(texts)
            ]
            session.execute(insert(ReportEmbeddingRow), described)
            recount(session)
            advance_revision(session)


def add_images(archive: Archive, array: np.ndarray, first: int, shape: Shape | None = None) -> None:
    """Add the images first, first + 1, … with these vectors, float32[n, d], and their cases where they are new."""
    shape = shape or CASES
    cases = range((first - 1) // shape.images_per_case, (first + len(array) - 2) // shape.images_per_case + 1)
    with (
        archive.writer(),
        archive._catalog.writing() as session,
        following(
            session,
            case_keys=[f"case-{case}" for case in cases],
            patient_keys=[f"patient-{case // shape.cases_per_patient}" for case in cases],
        ),
    ):
        known = session.scalars(select(CaseRow.id).order_by(CaseRow.id.desc()).limit(1)).one()
        last = (first + len(array) - 2) // shape.images_per_case + 1
        for case in range(known, last):
            if case // shape.cases_per_patient + 1 > session.scalars(select(func.max(PatientRow.id))).one():
                patient = case // shape.cases_per_patient
                session.execute(insert(PatientRow), [{"id": patient + 1, "key": f"patient-{patient}"}])
            session.execute(insert(CaseRow), [_case(case, shape)])
        _insert_images(session, array, first, shape)
        advance_revision(session)


def _insert_images(session: Session, array: np.ndarray, first: int, shape: Shape) -> None:
    for start in range(0, len(array), CHUNK):
        chunk = array[start : start + CHUNK]
        ids = range(first + start, first + start + len(chunk))
        session.execute(insert(ImageRow), [_image(i, shape) for i in ids])
        rows = [
            {"encoder_id": 1, "image_id": i, "vector": v.astype("<f4").tobytes()}
            for i, v in zip(ids, chunk, strict=True)
        ]
        session.execute(insert(EmbeddingRow), rows)
        changes = [{"encoder_id": 1, "image_id": i, "operation": ADDED, "token": secrets.randbits(62)} for i in ids]
        session.execute(insert(ChangeRow), changes)


def category_of(case: int, shape: Shape | None = None) -> str:
    """The category of a case: see `SHARES`."""
    patient = case // (shape or CASES).cases_per_patient
    return next((name for name, share in SHARES.items() if patient % share == len(name) % share), "other")


def _case(case: int, shape: Shape) -> dict[str, object]:
    return {
        "id": case + 1,
        "key": f"case-{case}",
        "patient_id": case // shape.cases_per_patient + 1,
        "report": shape.report(case),
        "site": f"site-{case % SITES}",
        "system": "",
        "category": category_of(case, shape),
        "source": "synthetic",
        "license": "",
        "phantom": False,
        "derived": "",
    }


def _report(case: int) -> str:
    return f"Smear {case} of site {case % SITES}. " + "Scattered groups of cells, some with enlarged nuclei. " * 4


def _varied_report(case: int) -> str:
    """Phantoms' sentences, two of their reports mixed: no two cases have the same report."""
    rng = np.random.default_rng(case)
    first, second = (_phantom_reports()[number] for number in rng.integers(len(_phantom_reports()), size=2))
    return f"Smear {case}. {first} {second.split('.')[0]}."


@cache
def _phantom_reports() -> list[str]:
    return [phantom.report for phantom in phantom_cases(1320)]


def _image(image_id: int, shape: Shape) -> dict[str, object]:
    digest = hashlib.sha256(str(image_id).encode()).hexdigest()
    return {
        "id": image_id,
        "case_id": (image_id - 1) // shape.images_per_case + 1,
        "sha256": digest,
        "file": f"{digest[:2]}/{digest}.jpg",
        "file_sha256": digest,
        "path": "",
        "width": 1024,
        "height": 1024,
        "slide": "",
        "kind": "field",
        "stain": "",
        "preparation": "",
        "attributes": {},
    }


CASES = Shape(IMAGES_PER_CASE, CASES_PER_PATIENT, _report)
"""Cases of four images, two a patient, whose reports differ in a number."""
PAIRS = Shape(1, 1, _varied_report)
"""Image–report pairs, each of another patient, and reports in a few hundred different words."""
