"""What an evaluation returns: plain frozen records that are printed, plotted and written as JSON (by field name)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from retrieval.search.channels.channel import Need
from retrieval.search.channels.registry import CHANNELS
from retrieval.statistics.estimate import Estimate

GAIN: Final = "P@10"
"""The metric by which a channel is seen to help."""


@dataclass(frozen=True)
class RunResult:
    """The figures of one run. Those of chance are expectations: their interval is a point."""

    channel: str
    """The run's name: a channel, a fusion, or "chance"."""
    scores: Mapping[str, Estimate]
    """By name, those of METRICS."""


@dataclass(frozen=True)
class Part:
    """The whole archive (`site` None), or one of its sites. Every score is a mean over its categories."""

    site: str | None
    categories: int
    queries: int
    patients: int
    rows: tuple[RunResult, ...]


@dataclass(frozen=True)
class Difference:
    """How much one run is above another, over the whole archive, in the same queries and resamples."""

    channel: str
    minus: str
    scores: Mapping[str, Estimate]
    """By name, those of METRICS."""


@dataclass(frozen=True)
class TaskResult:
    """One task's figures."""

    name: str
    question: str
    unanswerable: int
    """Cases that were no query: no other patient is relevant to them."""
    parts: tuple[Part, ...]
    """The whole archive first, then the sites in alphabetical order."""
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class SameReport:
    """Queries by report for cases with an identical report. Means over queries, not over groups of reports."""

    families: int
    """Groups of identical reports among the queries."""
    queries: int
    unanswerable: int
    """Reports that were no query: no other patient has an identical one."""
    rows: tuple[RunResult, ...]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class ConfounderShare:
    """How many of a run's first 10 share a property with the query that should not matter."""

    channel: str
    field: str
    """slide, stain, preparation, source or scale."""
    queries: int
    """Those whose images agree on one value of it."""
    found: Estimate
    """The share of the first 10 that has the query's value: a mean over queries."""
    expected: float
    """The share of a random order of the cases of the hits' sites."""
    excess: Estimate
    """`found` minus `expected`, query by query."""


@dataclass(frozen=True)
class Abstention:
    """Majority vote @5 on the query's category where only the surest queries are answered, of one run."""

    channel: str
    queries: int
    aurc: float
    """Area under the risk-coverage curve, the mean error over all coverages: lower is better."""
    accuracy: Mapping[str, float]
    """By coverage in percent ("100", "95" …): the share of correct votes when at least so many are answered."""
    thresholds: Mapping[str, float]
    """By coverage in percent: the lowest top score (similarity or fused score) that is answered then."""
    curve: tuple[tuple[float, float], ...]
    """Points (coverage, accuracy), coverage rising to 1."""


@dataclass(frozen=True)
class QueryTypeResult:
    """The tables of queries of one kind: by image, by report, or by both."""

    name: str
    words: str
    """What the queries consist of, in a sentence."""
    asked: int
    """Cases that were queries."""
    left_out: int
    """Cases that could be no query: they have no report."""
    tasks: tuple[TaskResult, ...]
    same_report: SameReport | None
    """Of queries by report."""
    nuisance: tuple[ConfounderShare, ...]
    abstention: tuple[Abstention, ...]


@dataclass(frozen=True)
class ChannelGain:
    """How much higher P@10 of the category is with a channel than without it."""

    channel: str
    query_type: str
    queries: int
    patients: int
    gain: Estimate
    """The 95 % interval is of the paired difference, from resampled patients."""

    @property
    def helps(self) -> bool:
        """Whether the interval lies above 0."""
        return self.gain.low > 0

    @property
    def words(self) -> str:
        """In one sentence."""
        found = f"with it {GAIN} of the category {self.gain.text(sign='+')} ({self.queries} {self.query_type})"
        return (
            f"`{self.channel}` helps on this archive: {found}."
            if self.helps
            else (f"`{self.channel}` is not seen to help on this archive: {found}.")
        )


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
    """Of the cases, how many are rendered phantoms without a patient."""
    unlabelled: int
    """Cases without a category: neither queries nor candidates."""
    derived: int
    """Of the cases, how many have a category that was extracted from their report: a label that depends on it."""
    sampled: int | None
    """How many cases were queries, where not all were."""
    generated: str
    """How images were generated from reports; empty where none were."""
    seed: int
    resamples: int
    metrics: tuple[str, ...]
    unreadable_images: int
    """Image files that the colour histogram could not read."""
    rules: Mapping[str, str]
    """How channels were fused, by the name of the run."""
    notes: tuple[str, ...]
    """Runs that are absent, and why."""
    families: tuple[QueryTypeResult, ...]
    """By query type."""
    text_encoder: str = ""
    """The encoder that compares texts, where it is another than `encoder`; empty otherwise."""
    text_fingerprint: str = ""
    """Its fingerprint."""
    gains: tuple[ChannelGain, ...] = ()
    """What channels add that cost much, or answer only on request."""

    @property
    def generation_gain(self) -> ChannelGain | None:
        """What the channel adds that generates images; None where it was not measured beside others."""
        return next((gain for gain in self.gains if Need.GENERATOR in CHANNELS[gain.channel].needs), None)
