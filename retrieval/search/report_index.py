"""The archive's reports, searchable by text: by their words (BM25) and by their meaning (the encoder's text tower)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Bools, Vectors
from retrieval.language.bm25 import ReportWords, with_meanings
from retrieval.search.fusion import Fused, FusionRule, Scores, fuse
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
        self,
        text: str,
        vector: Vectors | None,
        rule: FusionRule,
        *,
        permitted: npt.NDArray[np.int64] | None,
        contained: Sequence[str] = (),
    ) -> Ranking:
        """The patients by their reports, joined by `rule` over "words" and "meaning"; `vector` is float32[1, d].

        Reports that hold all words of `contained` come before the others, whatever the rule. `permitted` are the case
        ids that may answer, None: all. O(n d) a query.
        """
        allowed = np.ones(len(self.case_ids), dtype=bool) if permitted is None else np.isin(self.case_ids, permitted)
        first = allowed & self.words.containing(contained)
        ways = {"words": np.where(allowed, self.words.scores(text), -np.inf)}
        if vector is not None and self.vectors is not None:
            ways["meaning"] = np.where(allowed & self.embedded, self.vectors @ vector[0], -np.inf)
        fused = fuse_reports(rule, {name: scores[None] for name, scores in ways.items()}, first[None])
        return rank_reports(self.case_ids.tolist(), self.patients, fused.scores[0], first)


def fuse_reports(rule: FusionRule, ways: Mapping[str, Scores], first: Bools) -> Fused:
    """Join the ways to compare a text with n reports, for b queries.

    A report without a word in common with the query counts 0 among the words' scores, so that a word which all reports
    that have it hold alike still tells them from the others.

    Args:
        ways: "words", "meaning" or both, float[b, n]; -inf where a report does not compete, or has no vector.
        first: bool[b, n], reports that contain the query's words: they come before the others.
    """
    return fuse(
        rule,
        ways,
        pool=max(1, first.shape[1]),
        first=dict.fromkeys(ways, first),
        zero_is_none=("words",),
    )


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
