"""How a channel ranks an archive's own cases, many queries at a time: what an evaluation measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from retrieval.arrays import Bools, Ints, Vectors
from retrieval.language.words.bm25 import ReportWords
from retrieval.language.words.terms import content_words
from retrieval.search.fusion import FusionRule

if TYPE_CHECKING:
    from index_store import Archive, EncoderInfo


class Scorer(Protocol):
    """One way to compare a case with others, by their images or by their reports. It makes one run."""

    @property
    def name(self) -> str:
        """Of its run."""

    @property
    def by_case(self) -> bool:
        """Whether it compares with cases (their reports); otherwise with images."""

    def scores(self, queries: Ints) -> Vectors:
        """Scores of the queries int[b], rows of the cases: float32[b, images or cases], the more the better; -inf
        where nothing is compared, or, of words, 0 where none is in common."""

    def first(self, queries: Ints) -> Bools | None:
        """The cases whose report contains the words of the queries int[b], bool[b, cases]; None: words are not
        compared."""


@dataclass(frozen=True, eq=False)
class ByVectors:
    """Inner products of unit vectors of one space."""

    name: str
    queries: Vectors
    """float32[cases, d], the query vector of each case. Rows of cases that are no queries may hold anything."""
    references: Vectors
    """float32[images, d], or float32[cases, d] with `by_case`."""
    by_case: bool = False
    missing: Bools | None = None
    """bool[images or cases]: those that have no reference vector, such as a case without a report."""

    def scores(self, queries: Ints) -> Vectors:
        """Inner products of the cases int[b] with all references, float32[b, images or cases]; -inf for missing."""
        scores: Vectors = self.queries[queries] @ self.references.T
        if self.missing is not None:
            scores[:, self.missing] = -np.inf
        return scores

    def first(self, queries: Ints) -> None:
        """None: vectors contain no words. `queries`, int[b]."""


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
    """bool[cases]: those that have a report."""
    index: ReportWords
    """Of these."""
    by_case: bool = True

    def scores(self, queries: Ints) -> Vectors:
        """BM25 of the cases int[b], float32[b, cases]; 0 where no word is in common, -inf where there is no report."""
        scores = np.full((len(queries), len(self.reports)), -np.inf, dtype=np.float32)
        scores[:, self.written] = self.index.batch_scores([self.reports[i] for i in queries])
        return scores

    def first(self, queries: Ints) -> Bools:
        """The cases whose report contains all words of a query's report but for function words: bool[b, cases]."""
        containing = np.zeros((len(queries), len(self.reports)), dtype=bool)
        containing[:, self.written] = self.index.batch_containing([content_words(self.reports[i]) for i in queries])
        return containing


@dataclass(frozen=True)
class Fusion:
    """A run that fuses other runs."""

    name: str
    rule: FusionRule
    of: Mapping[str, str]
    """By the channel's name in the rule: the run that it stands for."""
    by_case: bool = False
    """Whether channels by case are fused report by report, before the best report represents a patient."""
    rule_name: str = ""
    """Of the rule, in the file of rules; empty: it has no place there."""


@dataclass(frozen=True, eq=False)
class ChannelRun:
    """How a channel ranks an archive's own cases."""

    scorers: tuple[Scorer, ...]
    """One run each, the plainest first."""
    fusion: Fusion | None = None
    """Joins them where they are several. None: the first is the channel's run."""
    notes: tuple[str, ...] = ()
    """What the run lacks."""

    @property
    def name(self) -> str:
        """Of the run that stands for the channel."""
        return self.scorers[0].name if self.fusion is None else self.fusion.name


@dataclass(frozen=True, eq=False)
class EvaluationMaterials:
    """What channels make runs of: an archive's own cases, and what is known of them."""

    archive: Archive
    image_ids: Ints
    """int[images], ascending."""
    images: tuple[Vectors, Vectors]
    """Query vectors float32[cases, d] (the mean of a case's images), and the images' own, float32[images, d]."""
    reports: Sequence[str]
    """One a case; blank where there is none."""
    rules: Mapping[str, FusionRule]
    """By what a query holds (`fusion.default_rules`)."""
    texts: Vectors | None = None
    """float32[cases, d], the text tower's vectors of the reports; zeros for a case that has none. None: no case has
    one."""
    query_texts: Vectors | None = None
    """As `texts`, of what a search reads of the reports; None: the same."""
    text_encoder: EncoderInfo | None = None
    """Made `texts`, where it is another than the images'; None: the images' encoder did."""
    generated: Vectors | None = None
    """float32[cases, d], query vectors of images generated from the reports; None: there are none."""
    colours: tuple[Vectors, Vectors] | None = None
    """As `images`, colour histograms, float32[cases, 512] and float32[images, 512]; None: they were not read."""


def has_report(reports: Sequence[str]) -> Bools:
    """bool[cases]: those whose report is not blank."""
    return np.array([bool(report.strip()) for report in reports], dtype=bool)


def has_vector(vectors: Vectors) -> Bools:
    """bool[n], of float32[n, d]: the rows that are not all zeros."""
    return np.asarray(vectors.any(axis=1), dtype=bool)
