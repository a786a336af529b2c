"""The archive's own cases as queries, with their patient left out: what a channel is calibrated on.

Cases are sampled from the columns of the archive's images, and what they find is searched in the archive's index: only
the vectors of the sample are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Floats, Ints, Vectors
from retrieval.errors import EvaluationError

if TYPE_CHECKING:
    from index_store import Archive, CaseFilter, ImageTable, StoredReport

NEIGHBOURS: Final = 5
"""Nearest patients whose similarities are averaged. Ten did as well on phantoms with 30 cases a category (AUROC .988,
five .987) and worse with 4 (.963, five .980): few queries have ten comparable patients."""
SAMPLE: Final = 500
"""Patients that a calibration samples."""
FILTERED_SAMPLE: Final = 200
"""... under a filter: filters are many, and the first search under each waits for its calibration. A false-alarm rate
of 5 % is then known to -3 and +4 %, and to -3 and +6 % by `LEAST_SAMPLE`."""
LEAST_SAMPLE: Final = 100
COMPARISONS: Final = 4_000_000
"""Pairs of a query and an image beyond which a calibration under a filter samples fewer than `FILTERED_SAMPLE`."""
DEPTH: Final = 40
"""Images that are searched for a query's nearest patients, at first."""


@dataclass(frozen=True, eq=False)
class OwnCases:
    """The cases of an archive that a filter permits."""

    archive: Archive
    fingerprint: str
    """Of the encoder that compares them."""
    where: CaseFilter | None
    table: ImageTable
    """Their permitted images."""

    @cached_property
    def case_ids(self) -> Ints:
        """int64[cases], ascending"""
        return np.unique(self.table.cases)

    @cached_property
    def patient_of(self) -> Ints:
        """int64[cases]: the id of each case's patient."""
        _, first = np.unique(self.table.cases, return_index=True)
        return self.table.patients[first]

    def reports(self) -> list[StoredReport]:
        """The reports of these cases, blank ones left out, in order of case id."""
        stored = [report for report in self.archive.reports(self.where) if report.text.strip()]
        known = np.isin([report.case_id for report in stored], self.case_ids)
        return [report for report, is_known in zip(stored, known, strict=True) if is_known]

    def patients_of(self, case_ids: Sequence[int]) -> Ints:
        """The ids of the patients of these cases, int64[n]."""
        return self.patient_of[np.searchsorted(self.case_ids, case_ids)]

    @property
    def sample_size(self) -> int:
        """How many patients to sample: `SAMPLE`, and fewer under a filter, the more images it permits."""
        if self.where is None:
            return SAMPLE
        return min(FILTERED_SAMPLE, max(LEAST_SAMPLE, COMPARISONS // max(1, len(self.table))))

    def sampled(self, sample: int, rng: np.random.Generator) -> Ints:
        """One case each of `sample` patients, or of all: int64[n], ascending rows of `case_ids`. Patients are
        independent of each other, their cases are not."""
        shuffled = rng.permutation(len(self.case_ids))
        _, first = np.unique(self.patient_of[shuffled], return_index=True)
        return np.sort(rng.permutation(shuffled[first])[:sample])

    def images_of(self, case: int) -> Ints:
        """The ids of the images of the case in this row, int64[n], ascending."""
        return self.table.images_of(self.case_ids[case])

    def similarities(self, queries: Vectors, patients: Ints) -> tuple[float, ...]:
        """The mean similarity of each query's nearest other patients, ascending; of fewer than `NEIGHBOURS` where there
        are fewer.

        Args:
            queries: float32[n, d], unit rows.
            patients: int64[n], the id of the patient that each leaves out.

        Raises:
            EvaluationError: there is no other patient.
        """
        found = np.full(len(queries), np.nan)
        depth, pending = DEPTH, np.arange(len(queries))
        while len(pending):
            hits = self.archive.search(queries[pending], depth, where=self.where, fingerprint=self.fingerprint)
            unfinished = []
            for query, of_query in zip(pending.tolist(), hits, strict=True):
                scores = {hit.image_id: hit.score for hit in of_query}
                best = self._best_by_patient(scores, int(patients[query]))
                if len(best) < NEIGHBOURS and len(of_query) == depth:
                    unfinished.append(query)
                elif not len(best):
                    raise EvaluationError("There is no other patient to compare with.")
                else:
                    found[query] = best.mean()
            depth, pending = 4 * depth, np.array(unfinished, dtype=np.int64)
        return tuple(np.sort(found).tolist())

    def _best_by_patient(self, scores: dict[int, float], own: int) -> Floats:
        """The similarities of the nearest patients, each by its nearest image; `scores` by image, best first."""
        known = self.table.known(scores)
        patients = self.table.patients[self.table.rows_of(known)]
        _, first = np.unique(patients, return_index=True)
        first = np.sort(first[patients[first] != own])[:NEIGHBOURS]
        return np.array([scores[known[row]] for row in first], dtype=np.float64)


def read_own_cases(archive: Archive, fingerprint: str, *, where: CaseFilter | None) -> OwnCases:
    """The cases that `where` permits.

    Raises:
        EvaluationError: they are of fewer than two patients.
    """
    own = OwnCases(archive, fingerprint, where, archive.image_table(where))
    if len(np.unique(own.patient_of)) < 2:
        raise EvaluationError(
            "Comparability is calibrated on the archive's own cases: at least two patients are needed, with images "
            "that the filter permits."
        )
    return own
