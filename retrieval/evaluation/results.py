"""What an evaluation returns: plain frozen records that are printed, drawn and written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from retrieval.statistics.estimate import Estimate


@dataclass(frozen=True)
class Row:
    """One way to rank, measured. Chance is an expectation: its interval is a point."""

    channel: str
    scores: Mapping[str, Estimate]
    """By name, those of METRICS."""


@dataclass(frozen=True)
class Part:
    """The whole archive (`site` None), or one of its sites. Every score is a mean over its categories."""

    site: str | None
    categories: int
    queries: int
    patients: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Difference:
    """How much one row is above another, over the whole archive, in the same queries and resamples."""

    channel: str
    minus: str
    scores: Mapping[str, Estimate]
    """By name, those of METRICS."""


@dataclass(frozen=True)
class TaskResult:
    """One question put to the archive."""

    name: str
    question: str
    unanswerable: int
    """Cases that were no query: no other patient has what they ask for."""
    parts: tuple[Part, ...]
    """The whole archive first, then the sites in alphabetical order."""
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class SameReport:
    """Reports as queries for cases whose report says the same. Means over queries, not over families."""

    families: int
    """Different ones among the queries."""
    queries: int
    unanswerable: int
    """Reports that were no query: no other patient's says the same."""
    rows: tuple[Row, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class SharedNuisance:
    """How many of the first 10 share what should not matter with the query, of one way to rank."""

    channel: str
    field: str
    """slide, stain, preparation or source."""
    queries: int
    """Those whose images agree on one value of it."""
    found: Estimate
    """The share of the first 10 that has the query's value: a mean over queries."""
    expected: float
    """What a random order of the cases of the sites found would bring."""
    excess: Estimate
    """`found` minus `expected`, query by query."""


@dataclass(frozen=True)
class Abstention:
    """Majority vote @5 on the query's category where only the surest queries are answered, of one way to rank."""

    channel: str
    queries: int
    aurc: float
    """Area under the risk-coverage curve, the mean error over all coverages: lower is better."""
    accuracy: Mapping[str, float]
    """By coverage in percent ("100", "95" …): the share of right votes when at least so many are answered."""
    thresholds: Mapping[str, float]
    """By coverage in percent: the least similarity (or fused score) of the first result that is answered then."""
    curve: tuple[tuple[float, float], ...]
    """Points (coverage, accuracy), coverage rising to 1."""


@dataclass(frozen=True)
class FamilyResult:
    """Queries of one kind: by image, by report, or by both."""

    name: str
    words: str
    asked: int
    left_out: int
    """Cases that could not ask: they have no report."""
    tasks: tuple[TaskResult, ...]
    same_report: SameReport | None
    """Of queries by report."""
    nuisance: tuple[SharedNuisance, ...]
    abstention: tuple[Abstention, ...]


@dataclass(frozen=True)
class Evaluation:
    """How well an archive's own cases find each other."""

    archive: str
    encoder: str
    fingerprint: str
    cases: int
    patients: int
    images: int
    phantoms: int
    """Of the cases, how many were drawn and have no patient."""
    unlabelled: int
    """Cases without a category: neither asked with nor searched in."""
    derived: int
    """Of the cases, how many have a category that was read from their report: no truth independent of it."""
    sampled: int | None
    """How many cases asked, where not all did."""
    generated: str
    """How images were generated from reports; empty where none were."""
    seed: int
    resamples: int
    metrics: tuple[str, ...]
    unreadable_images: int
    """Image files that the colour histogram could not read."""
    rules: Mapping[str, str]
    """How channels were joined, by the name of the row."""
    notes: tuple[str, ...]
    """Rows that are absent, and why."""
    families: tuple[FamilyResult, ...]
