"""Relevance feedback: a query vector is moved by the cases that a reader marked as more or less like what is sought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Vectors
from retrieval.encoder.vectors import mean_query

if TYPE_CHECKING:
    from index_store import Archive, Case
    from retrieval.search.reports.report_index import ReportIndex

MORE: Final = 0.75
LESS: Final = 0.15
"""Rocchio (1971) with the weights found best for text by Buckley, Salton and Allan (SIGIR 1994) and Manning et al.,
Introduction to Information Retrieval, 9.1.1: relevant cases weigh more than non-relevant ones."""


@dataclass(frozen=True)
class RelevanceFeedback:
    """The cases of the archive that a reader marked: "more like this", "less like this"."""

    more: tuple[Case, ...] = ()
    less: tuple[Case, ...] = ()

    def move(self, query: Vectors, archive: Archive, fingerprint: str) -> Vectors:
        """Move a query for images, float32[n, d], by the mean image vectors of the marked cases."""
        if not (self.more or self.less):
            return query
        more, less = (_case_vectors(archive, cases, fingerprint) for cases in (self.more, self.less))
        return rocchio(query, more, less)

    def move_text(self, query: Vectors, reports: ReportIndex) -> Vectors:
        """Move a query for reports, float32[1, d], by the report vectors of the marked cases."""
        if not (self.more or self.less):
            return query
        more, less = (reports.vectors_of([case.id for case in cases]) for cases in (self.more, self.less))
        return rocchio(query, more, less)


def rocchio(query: Vectors, more: Vectors, less: Vectors) -> Vectors:
    """Move a query towards the mean of relevant vectors and away from that of non-relevant ones.

    Args:
        query: float32[n, d], rows of unit length, of which each is moved.
        more, less: float32[n, d] each; either may be empty.

    Returns:
        float32[n, d], rows of unit length.

    Raises:
        EncodingError: the feedback cancels the query out.
    """
    moved = query.astype(np.float64)
    if len(more):
        moved = moved + MORE * more.mean(axis=0, keepdims=True)
    if len(less):
        moved = moved - LESS * less.mean(axis=0, keepdims=True)
    return np.concatenate([mean_query(row) for row in np.split(moved.astype(np.float32), len(moved))])


def _case_vectors(archive: Archive, cases: tuple[Case, ...], fingerprint: str) -> Vectors:
    """One row a case, the mean of its images: a case with many images must not outvote the others. A case without an
    image that this encoder has embedded has none."""
    stored = [archive.known_vectors([image.id for image in case.images], fingerprint)[1] for case in cases]
    rows = [mean_query(vectors) for vectors in stored if len(vectors)]
    return np.concatenate(rows) if rows else np.empty((0, 0), dtype=np.float32)
