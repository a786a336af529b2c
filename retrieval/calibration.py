"""Calibrating comparability: what the archive's own cases find when their patient is left out, by way to ask.

Nothing is written: a calibration is made from the stored vectors, and holds until cases are added or removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.comparability import Calibration, Floats, Ints, Kind, Vectors, nearest_mean
from retrieval.errors import EvaluationError
from retrieval.fusion import mean_query
from retrieval.permitted import permitted_images

if TYPE_CHECKING:
    from index_store import Archive, Case, CaseFilter

Encode = Callable[[Sequence[str]], Vectors]
"""Report texts to unit rows: `Encoder.encode_texts`, or one that looks up what is stored."""

SAMPLE: Final = 500


def calibrate(
    archive: Archive, fingerprint: str, *, sample: int = SAMPLE, seed: int = 0, where: CaseFilter | None = None
) -> Calibration:
    """Calibrate image queries: of the kinds "case" (the mean of its images) and "image" (one of them).

    `sample` patients are drawn, and one case and image of each. `where` narrows both the sample and what they search
    in: a filtered search is judged by a calibration under its filter. Time O(sample · images · d).

    Raises EvaluationError for fewer than two patients.
    """
    own = _own_cases(archive, fingerprint, where)
    rng = np.random.default_rng(seed)
    chosen = own.sampled(sample, rng)
    single = np.array([rng.choice(own.images_of(i)) for i in chosen], dtype=np.int64)
    means = np.concatenate([mean_query(own.vectors[own.images_of(i)]) for i in chosen])
    scores: dict[Kind, tuple[float, ...]] = {
        "case": own.scores(means, chosen),
        "image": own.scores(own.vectors[single], chosen),
    }
    return Calibration(fingerprint, scores)


def calibrate_texts(
    archive: Archive,
    fingerprint: str,
    encode: Encode,
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    where: CaseFilter | None = None,
    reports: bool = True,
) -> Calibration:
    """Calibrate report text as a query: "joint" (against images) and, with `reports`, "report" (against the others).

    For "report" all reports are encoded, since it searches in them; for "joint" only the sample. Cases without a report
    take no part. "report" knows the archive's own wording only: the same findings in another laboratory's words can be
    called not comparable far more often than stated (phantoms in other wordings: 28 % instead of 5 %).
    """
    own = _own_cases(archive, fingerprint, where)
    rows = [i for i, case in enumerate(own.cases) if case.report.strip()]
    patients = own.patient_of[rows]
    if len(set(patients.tolist())) < 2:
        raise EvaluationError("Reports of at least two patients are needed to calibrate report text.")
    chosen = _one_a_patient(patients, sample, np.random.default_rng(seed))
    asking = chosen if not reports else np.arange(len(rows))
    texts = encode([own.cases[rows[i]].report for i in asking])
    asked = texts[chosen] if reports else texts
    scores: dict[Kind, tuple[float, ...]] = {"joint": own.scores(asked, np.array(rows)[chosen])}
    if reports:
        scores["report"] = _ascending(nearest_mean(asked, texts, patients, own=patients[chosen]))
    return Calibration(fingerprint, scores)


@dataclass(frozen=True, eq=False)
class _Own:
    """An archive's permitted cases with vectors, as arrays."""

    cases: tuple[Case, ...]
    patient_of: Ints
    """int[cases]"""
    case_of: Ints
    """int[images]"""
    vectors: Vectors
    """float32[images, d]"""

    def sampled(self, sample: int, rng: np.random.Generator) -> Ints:
        """One case each of so many patients, or of all."""
        return _one_a_patient(self.patient_of, sample, rng)

    def images_of(self, case: int) -> Ints:
        return np.arange(*np.searchsorted(self.case_of, [case, case + 1]))

    def scores(self, queries: Vectors, cases: Ints) -> tuple[float, ...]:
        own = self.patient_of[cases]
        return _ascending(nearest_mean(queries, self.vectors, self.patient_of[self.case_of], own=own))


def _own_cases(archive: Archive, fingerprint: str, where: CaseFilter | None) -> _Own:
    cases = permitted_images(archive.cases(where), where)
    number: dict[str, int] = {}
    for case, _ in cases:
        number.setdefault(case.patient, len(number))
    if len(number) < 2:
        raise EvaluationError(
            "Comparability is calibrated on the archive's own cases: at least two patients are needed, with images "
            "that the filter permits."
        )
    ids = [image.id for _, images in cases for image in images]
    return _Own(
        cases=tuple(case for case, _ in cases),
        patient_of=np.array([number[case.patient] for case, _ in cases], dtype=np.int64),
        case_of=np.repeat(np.arange(len(cases)), [len(images) for _, images in cases]),
        vectors=archive.vectors_of(ids, fingerprint),
    )


def _one_a_patient(patients: Ints, sample: int, rng: np.random.Generator) -> Ints:
    """Rows of one case each of `sample` patients: patients are independent of each other, their cases are not."""
    shuffled = rng.permutation(len(patients))
    _, first = np.unique(patients[shuffled], return_index=True)
    return np.sort(rng.permutation(shuffled[first])[:sample])


def _ascending(scores: Floats) -> tuple[float, ...]:
    return tuple(np.sort(scores).tolist())
