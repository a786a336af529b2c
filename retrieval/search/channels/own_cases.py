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

from index_store import distinct
from retrieval.arrays import Floats, Ints, Vectors
from retrieval.errors import EvaluationError

if TYPE_CHECKING:
    from index_store import Archive, CaseFilter, Hit, ImageTable, StoredReport
    from retrieval.search.channels.kept_neighbours import Neighbours

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
        return distinct(self.table.cases)

    @cached_property
    def patient_of(self) -> Ints:
        """int64[cases]: the id of each case's patient."""
        return self.table.patients_of(self.case_ids)[0]

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

    def sampled(self, sample: int, rng: np.random.Generator, known: Neighbours | None = None) -> Ints:
        """One case each of `sample` patients, or of all: int64[n], ascending rows of `case_ids`. Patients are
        independent of each other, their cases are not.

        `known`: a random sample of all patients with a random case each. Those of them that are here come first.
        """
        order = np.argsort(self.patient_of, kind="stable")
        patients = self.patient_of[order]
        starts = np.flatnonzero(np.append(True, patients[1:] != patients[:-1]))
        counts = np.diff(np.append(starts, len(patients)))
        sequence = rng.permutation(len(starts))
        rows = order[starts + (rng.random(len(starts)) * counts).astype(np.int64)]
        if known is not None:
            of_known, is_here = self.archive.image_table().patients_of(known.cases)
            positions = np.searchsorted(patients[starts], of_known)
            is_here &= positions < len(starts)
            is_here[is_here] = patients[starts[positions[is_here]]] == of_known[is_here]
            theirs, cases = positions[is_here], np.searchsorted(self.case_ids, known.cases[is_here])
            permitted = cases < len(self.case_ids)
            permitted[permitted] = self.case_ids[cases[permitted]] == known.cases[is_here][permitted]
            rows[theirs[permitted]] = cases[permitted]
            sequence = np.concatenate([rng.permutation(theirs), sequence[~np.isin(sequence, theirs)]])
        return np.sort(rows[sequence[:sample]])

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
        return tuple(np.sort(self.nearest_means(queries, patients)).tolist())

    def nearest_means(self, queries: Vectors, patients: Ints) -> Floats:
        """As `similarities`, in the order of the queries: float64[n]."""
        found = np.full(len(queries), np.nan)
        depth, pending = DEPTH, np.arange(len(queries))
        while len(pending):
            hits = self.archive.search(queries[pending], depth, where=self.where, fingerprint=self.fingerprint)
            unfinished = []
            for query, of_query in zip(pending.tolist(), hits, strict=True):
                best = self.best_by_patient(*hits_as_arrays(of_query), int(patients[query]))
                if len(best) < NEIGHBOURS and len(of_query) == depth:
                    unfinished.append(query)
                elif not len(best):
                    raise EvaluationError("There is no other patient to compare with.")
                else:
                    found[query] = best.mean()
            depth, pending = 4 * depth, np.array(unfinished, dtype=np.int64)
        return found

    def best_by_patient(self, images: Ints, scores: Floats, own: int) -> Floats:
        """The similarities of the nearest other patients, float64[<= NEIGHBOURS], each by its nearest permitted image.

        `images` int64[n] and their `scores` float64[n], best first.
        """
        rows, known = self.table.find(images)
        patients = self.table.patients[rows[known]]
        _, first = np.unique(patients, return_index=True)
        first = np.sort(first[patients[first] != own])[:NEIGHBOURS]
        return scores[known][first]


def hits_as_arrays(hits: Sequence[Hit]) -> tuple[Ints, Floats]:
    """Their images, int64[n], and scores, float64[n]."""
    each = np.array(hits, dtype=np.float64).reshape(-1, 2)  # ids are below 2 ** 53
    return each[:, 0].astype(np.int64), each[:, 1]


def read_own_cases(archive: Archive, fingerprint: str, *, where: CaseFilter | None) -> OwnCases:
    """The cases that `where` permits.

    Raises:
        EvaluationError: they are of fewer than two patients.
    """
    own = OwnCases(archive, fingerprint, where, archive.image_table(where))
    if len(distinct(own.patient_of)) < 2:
        raise EvaluationError(
            "The novelty check is calibrated on the archive's own cases: at least two patients are needed, with images "
            "that the filter permits."
        )
    return own
