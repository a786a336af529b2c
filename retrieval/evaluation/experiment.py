"""An experiment: the channels and fusions that rank, each making one run, and which cases query by what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from retrieval.arrays import Bools, Ints, Vectors
from retrieval.evaluation.dataset import LabelledCases
from retrieval.language.bm25 import ReportWords, content_words
from retrieval.search.channels.registry import CHANNELS
from retrieval.search.fusion import FusionRule

IMAGE: Final = "image"
HISTOGRAM: Final = "colour histogram"
GENERATED: Final = "generated"
JOINT: Final = "joint"
WORDS: Final = "report: words (BM25)"
MEANING: Final = "report: meaning (text tower)"
REPORT: Final = "report"
FUSED: Final = "fused"
FUSED_BOTH: Final = "fused with image"


class Channel(Protocol):
    """One way to compare a case with others, by their images or by their reports."""

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


@dataclass(frozen=True, eq=False)
class QueryType:
    """Queries of one kind, and the runs that rank for them."""

    name: str
    description: str
    queries: Ints
    """int[q], ascending, rows of the cases."""
    runs: tuple[str, ...]
    """Names of channels and fusions, in the order in which they are shown."""
    compared: tuple[tuple[str, str], ...] = ()
    """Pairs of runs whose difference is of interest: the first minus the second."""
    left_out: int = 0
    """Cases that could be no query, because they lack what the query consists of."""
    by_report: bool = False
    """Whether queries consist of reports, so that finding an identical report is of interest."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """All that ranks, and all queries."""

    channels: Sequence[Channel]
    query_types: Sequence[QueryType]
    fusions: Sequence[Fusion] = ()
    """They may fuse other fusions."""


def has_report(cases: LabelledCases) -> Bools:
    """bool[cases]: those whose report is not blank."""
    return np.array([bool(report.strip()) for report in cases.reports], dtype=bool)


def has_vector(vectors: Vectors) -> Bools:
    """bool[n], of float32[n, d]: the rows that are not all zeros."""
    return np.asarray(vectors.any(axis=1), dtype=bool)


def build_experiment(
    cases: LabelledCases,
    images: Mapping[str, tuple[Vectors, Vectors]],
    *,
    queries: Ints,
    report_queries: Ints,
    left_out: int,
    texts: Vectors | None,
    query_texts: Vectors | None,
    text_references: Vectors | None = None,
    generated: Vectors | None,
    rules: Mapping[str, FusionRule],
) -> Experiment:
    """The runs and query types that this material allows.

    Args:
        images: by run ("image", "colour histogram"): queries float32[cases, d] and references float32[images, d].
        queries, report_queries: int[q], the cases that are queries by image, and by report (none: no such queries).
        left_out: how many cases have no report to query by.
        texts: float32[cases, d], the text tower's vectors of the reports, in the space of the images (or, where
            there are any, of `text_references`); zeros for a case that has none. None: no case has one.
        query_texts: as `texts`, of what a search reads of the reports; None: the same.
        text_references: float32[images, d], the images in the space of `texts` where another encoder compares texts
            than images; zeros for an image that it has not embedded. None: those of the run "image".
        generated: float32[cases, d], query vectors of images generated from the reports; None: there are none.
        rules: by what a query holds (`fusion.default_rules`).
    """
    references = images[IMAGE][1]
    channels: list[Channel] = [ByVectors(name, *vectors) for name, vectors in images.items()]
    query_types = [
        QueryType(
            name="queries by image",
            description="Each case queries by the mean of its images' vectors.",
            queries=queries,
            runs=tuple(images),
            compared=((IMAGE, HISTOGRAM),) if HISTOGRAM in images else (),
        )
    ]
    if not len(report_queries):
        return Experiment(channels, query_types)
    by_text: dict[str, str] = {}
    if generated is not None:
        channels.append(ByVectors(GENERATED, generated, references))
        by_text["generated"] = GENERATED
    if texts is not None:
        query_vectors = texts if query_texts is None else query_texts
        if text_references is None:
            channels.append(ByVectors(JOINT, query_vectors, references))
        else:
            channels.append(ByVectors(JOINT, query_vectors, text_references, missing=~has_vector(text_references)))
        channels.append(ByVectors(MEANING, query_vectors, texts, by_case=True, missing=~has_vector(texts)))
        by_text["joint"] = JOINT
    written = has_report(cases)
    index = ReportWords([report for report, given in zip(cases.reports, written, strict=True) if given])
    channels.append(ByWords(WORDS, cases.reports, written, index))
    by_text["report"] = WORDS if texts is None else REPORT
    fusions = []
    if texts is not None:
        fusions.append(Fusion(REPORT, rules["report"], {"words": WORDS, "meaning": MEANING}, by_case=True))
    fusions.append(Fusion(FUSED, rules["text"], by_text))
    with_image = {"image": IMAGE} | by_text
    fusions.append(
        Fusion(FUSED_BOTH, rules["text and image"], {name: with_image[name] for name in CHANNELS if name in with_image})
    )
    parts = [*by_text.values(), *((WORDS, MEANING) if texts is not None else ())]
    best_of_text = FUSED if len(by_text) > 1 else WORDS  # a single channel is not fused
    pairs = [(FUSED, part) for part in parts] if best_of_text == FUSED else []
    if generated is not None:
        pairs += [(GENERATED, JOINT), (GENERATED, WORDS)] if texts is not None else [(GENERATED, WORDS)]
    query_types.append(
        QueryType(
            name="queries by report",
            description="Each case queries by the text of its report.",
            queries=report_queries,
            runs=(*parts, FUSED) if best_of_text == FUSED else tuple(parts),
            compared=tuple(pairs),
            left_out=left_out,
            by_report=True,
        )
    )
    query_types.append(
        QueryType(
            name="queries by report and image",
            description="Each case queries by its report and its images together.",
            queries=report_queries,
            runs=(IMAGE, best_of_text, FUSED_BOTH),
            compared=((FUSED_BOTH, IMAGE), (FUSED_BOTH, best_of_text)),
            left_out=left_out,
            by_report=True,
        )
    )
    return Experiment(channels, query_types, fusions)
