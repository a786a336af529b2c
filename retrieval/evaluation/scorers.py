"""What an evaluation ranks by: channels that score, fusions that join them, and families of queries that are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from retrieval.arrays import Bools, Ints, Vectors
from retrieval.language.bm25 import ReportWords
from retrieval.search.fusion import FusionRule


class Channel(Protocol):
    """One way to compare a case with others, by their images or by their reports."""

    @property
    def name(self) -> str: ...

    @property
    def by_case(self) -> bool:
        """Whether it compares with cases (their reports); otherwise with images."""

    def scores(self, queries: Ints) -> Vectors:
        """The more the better, float32[b, images or cases], for the cases int[b]; -inf where nothing is compared."""


@dataclass(frozen=True, eq=False)
class ByVectors:
    """Inner products of unit vectors of one space."""

    name: str
    queries: Vectors
    """float32[cases, d], what each case asks by. Rows of cases that are not asked with may hold anything."""
    references: Vectors
    """float32[images, d], or float32[cases, d] with `by_case`."""
    by_case: bool = False
    missing: Bools | None = None
    """bool[images or cases], references that are none: a case without a report."""

    def scores(self, queries: Ints) -> Vectors:
        scores: Vectors = self.queries[queries] @ self.references.T
        if self.missing is not None:
            scores[:, self.missing] = -np.inf
        return scores


@dataclass(frozen=True, eq=False)
class ByWords:
    """BM25 of the case's report against all cases' reports.

    One index holds them all: how rare a word is, is counted over all reports, the query's and its patient's among
    them. Without them a weight would change by the order of one part in the number of reports.
    """

    name: str
    reports: Sequence[str]
    """One a case."""
    written: Bools
    """bool[cases]: those that have one."""
    index: ReportWords
    """Of these."""
    by_case: bool = True

    def scores(self, queries: Ints) -> Vectors:
        found = self.index.batch_scores([self.reports[i] for i in queries])
        scores = np.full((len(queries), len(self.reports)), -np.inf, dtype=np.float32)
        scores[:, self.written] = np.where(found > 0, found, -np.inf)  # no word in common: as in a search, no result
        return scores


@dataclass(frozen=True)
class Fusion:
    """A row that joins others."""

    name: str
    rule: FusionRule
    of: Mapping[str, str]
    """By the channel's name in the rule: the row it is."""
    by_case: bool = False
    """Whether it joins channels by case report by report, before the best report stands for a patient."""


@dataclass(frozen=True, eq=False)
class Family:
    """Queries of one kind."""

    name: str
    words: str
    asking: Ints
    """int[q], ascending: the cases that ask."""
    rows: tuple[str, ...]
    """Channels and fusions, in the order in which they are shown."""
    compared: tuple[tuple[str, str], ...] = ()
    """Pairs of rows whose difference is of interest: the first minus the second."""
    left_out: int = 0
    """Cases that could not ask: they lack what is asked by."""
    by_report: bool = False
    """Whether it asks by reports, so that finding the same report is of interest."""
