"""The archive's reports, searchable by text: by their words (BM25) and by their meaning (the encoder's text tower)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Vectors
from retrieval.language.bm25 import ReportWords, with_meanings
from retrieval.search.fusion import FusionRule, fuse
from retrieval.search.group_by_patient import Ranking, rank_reports

if TYPE_CHECKING:
    from index_store import Archive


@dataclass(frozen=True, eq=False)
class ReportIndex:
    """n reports of one archive as it was at `revision`. Made by `read_report_index`; never changes."""

    revision: int
    case_ids: npt.NDArray[np.int64]
    """int64[n], ascending."""
    patients: tuple[str, ...]
    words: ReportWords
    vectors: Vectors | None
    """float32[n, d], unit rows; a row of zeros where a report has no vector. None where no report has one."""
    embedded: npt.NDArray[np.bool_]
    """bool[n]: the reports that have one."""

    @property
    def without_vector(self) -> int:
        """Reports that only their words find."""
        return int((~self.embedded).sum())

    def vectors_of(self, case_ids: list[int]) -> Vectors:
        """The vectors of those of the cases that have one, float32[m, d]."""
        if self.vectors is None:
            return np.empty((0, 0), dtype=np.float32)
        return self.vectors[self.embedded & np.isin(self.case_ids, case_ids)]

    def rank(
        self, text: str, vector: Vectors | None, rule: FusionRule, *, permitted: npt.NDArray[np.int64] | None
    ) -> Ranking:
        """The patients by their reports, joined by `rule` over "words" and "meaning"; `vector` is float32[1, d].

        `permitted` are the case ids that may answer, None: all. O(n d) a query.
        """
        allowed = np.ones(len(self.case_ids), dtype=bool) if permitted is None else np.isin(self.case_ids, permitted)
        words = self.words.scores(text)
        ways = {"words": np.where(allowed & (words > 0), words, -np.inf)}
        if vector is not None and self.vectors is not None:
            ways["meaning"] = np.where(allowed & self.embedded, self.vectors @ vector[0], -np.inf)
        fused = fuse(rule, {name: scores[None] for name, scores in ways.items()}, pool=max(1, len(words)))
        return rank_reports(self.case_ids.tolist(), self.patients, fused.scores[0])


def read_report_index(archive: Archive, fingerprint: str, *, glossary: bool = False) -> ReportIndex:
    """The index of the archive's reports, with the vectors that the encoder of that fingerprint gave them.

    With `glossary`, a report is also found by what its machine-translated wordings mean (`with_meanings`).

    O(total length of the reports); 10,000 of them take about a second.
    """
    revision = archive.revision  # before reading: what changes meanwhile makes the index outdated, never wrong unseen
    reports = [report for report in archive.reports() if report.text.strip()]
    ids = np.array([report.case_id for report in reports], dtype=np.int64)
    stored_ids, stored = archive.report_vectors(fingerprint)
    embedded, vectors = np.isin(ids, stored_ids), None
    if embedded.any():
        vectors = np.zeros((len(ids), stored.shape[1]), dtype=np.float32)
        vectors[embedded] = stored[np.searchsorted(stored_ids, ids[embedded])]
    return ReportIndex(
        revision=revision,
        case_ids=ids,
        patients=tuple(report.patient for report in reports),
        words=ReportWords([with_meanings(report.text) if glossary else report.text for report in reports]),
        vectors=vectors,
        embedded=embedded,
    )
