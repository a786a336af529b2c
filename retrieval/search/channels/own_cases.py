"""The archive's own cases as queries, with their patient left out: what a channel is calibrated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Floats, Ints, Vectors
from retrieval.encoder.nearest import nearest_mean
from retrieval.errors import EvaluationError

if TYPE_CHECKING:
    from index_store import Archive, Case, CaseFilter

SAMPLE: Final = 500
"""Patients that a calibration samples."""


@dataclass(frozen=True, eq=False)
class OwnCases:
    """An archive's permitted cases, and the vectors of their permitted images."""

    cases: tuple[Case, ...]
    patient_of: Ints
    """int64[cases]"""
    case_of: Ints
    """int64[images], ascending"""
    vectors: Vectors
    """float32[images, d]"""

    def sampled(self, sample: int, rng: np.random.Generator) -> Ints:
        """One case each of `sample` patients, or of all: int64[n], ascending."""
        return one_per_patient(self.patient_of, sample, rng)

    def images_of(self, case: int) -> Ints:
        """The rows of a case's images, int64[n]."""
        return np.arange(*np.searchsorted(self.case_of, [case, case + 1]))

    def similarities(self, queries: Vectors, cases: Ints) -> tuple[float, ...]:
        """The mean similarity of each query's nearest other patients, ascending.

        Args:
            queries: float32[n, d], what the cases int64[n] query by.
        """
        own = self.patient_of[cases]
        return ascending(nearest_mean(queries, self.vectors, self.patient_of[self.case_of], own=own))


def read_own_cases(
    archive: Archive, fingerprint: str, *, where: CaseFilter | None, cases: Sequence[Case] | None = None
) -> OwnCases:
    """Read the cases that `where` permits, with the images that this encoder has embedded.

    `cases`: `archive.cases()`, where the caller has read them.

    Raises:
        EvaluationError: they are of fewer than two patients.
    """
    from index_store import CaseFilter

    cases = archive.cases(where) if cases is None else cases
    permitted = (where or CaseFilter()).permitted_images(cases)
    ids, vectors = archive.known_vectors([image.id for _, images in permitted for image in images], fingerprint)
    row = {image_id: number for number, image_id in enumerate(ids.tolist())}
    rows = [(case, [row[image.id] for image in images if image.id in row]) for case, images in permitted]
    embedded = [(case, images) for case, images in rows if images]
    number: dict[str, int] = {}
    for case, _ in embedded:
        number.setdefault(case.patient, len(number))
    if len(number) < 2:
        raise EvaluationError(
            "Comparability is calibrated on the archive's own cases: at least two patients are needed, with images "
            "that the filter permits."
        )
    return OwnCases(
        cases=tuple(case for case, _ in embedded),
        patient_of=np.array([number[case.patient] for case, _ in embedded], dtype=np.int64),
        case_of=np.repeat(np.arange(len(embedded)), [len(images) for _, images in embedded]),
        vectors=vectors[[number for _, images in embedded for number in images]],
    )


def one_per_patient(patients: Ints, sample: int, rng: np.random.Generator) -> Ints:
    """Rows of one case each of `sample` patients, int64[n]: patients are independent of each other, their cases are
    not.
    """
    shuffled = rng.permutation(len(patients))
    _, first = np.unique(patients[shuffled], return_index=True)
    return np.sort(rng.permutation(shuffled[first])[:sample])


def ascending(similarities: Floats) -> tuple[float, ...]:
    """Similarities float64[n] in ascending order."""
    return tuple(np.sort(similarities).tolist())
