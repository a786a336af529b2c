"""An experiment: the channels and fusions that rank, each making one run, and which cases query by what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from retrieval.arrays import Ints
from retrieval.search.channels.channel import Channel, Need
from retrieval.search.channels.own_runs import ChannelRun, EvaluationMaterials, Fusion, Scorer
from retrieval.search.channels.registry import CHANNELS
from retrieval.search.fusion import FusionRule

BY_IMAGE: Final = "queries by image"
BY_REPORT: Final = "queries by report"
FUSED: Final = "fused"
FUSED_BOTH: Final = "fused with image"
BY_PICTURE: Final = "image"
"""The rule of queries that hold no text."""
TRIAL: Final = 0.5
"""The weight, beside an image's 1, by which a channel is tried that the rule gives none."""


@dataclass(frozen=True, eq=False)
class QueryType:
    """Queries of one kind, and the runs that rank for them."""

    name: str
    description: str
    queries: Ints
    """int[q], ascending, rows of the cases."""
    runs: tuple[str, ...]
    """Names of scorers and fusions, in the order in which they are shown."""
    compared: tuple[tuple[str, str], ...] = ()
    """Pairs of runs whose difference is of interest: the first minus the second."""
    left_out: int = 0
    """Cases that could be no query, because they lack what the query consists of."""
    by_report: bool = False
    """Whether queries consist of reports, so that finding an identical report is of interest."""


@dataclass(frozen=True)
class Trial:
    """Two runs that differ by one channel."""

    channel: str
    query_type: str
    joined: str
    """The run with it."""
    without: str


@dataclass(frozen=True, eq=False)
class Experiment:
    """All that ranks, and all queries."""

    scorers: Sequence[Scorer]
    query_types: Sequence[QueryType]
    fusions: Sequence[Fusion] = ()
    """They may fuse other fusions."""
    notes: tuple[str, ...] = ()
    """What runs lack."""
    trials: tuple[Trial, ...] = ()


def build_experiment(
    materials: EvaluationMaterials,
    *,
    queries: Ints,
    report_queries: Ints,
    left_out: int,
) -> Experiment:
    """The runs and query types that this material allows.

    Args:
        materials: what the channels make their runs of.
        queries, report_queries: int[q], the cases that are queries by image, and by report (none: no such queries).
        left_out: how many cases have no report to query by.
    """
    with_text = bool(len(report_queries))
    measured = _channel_runs(materials, with_text=with_text)
    runs = {channel: run for channel, run in measured.items() if not channel.opt_in}
    beside = {channel: run for channel, run in measured.items() if channel.opt_in}
    by_picture = {channel.name: run.name for channel, run in runs.items() if Need.TEXT not in channel.query_needs}
    pictures = tuple(by_picture.values())
    joined = [
        Fusion(
            joined_with(channel),
            trial_rule(materials.rules[BY_PICTURE], channel),
            by_picture | {channel.name: run.name},
            rule_name=BY_PICTURE,
        )
        for channel, run in beside.items()
    ]
    trials = [
        Trial(channel.name, BY_IMAGE, fusion.name, picture)
        for channel, fusion in zip(beside, joined, strict=True)
        for picture in pictures
    ]
    query_types = [
        QueryType(
            name=BY_IMAGE,
            description="Each case queries by the mean of its images' vectors.",
            queries=queries,
            runs=(*pictures, *(run.name for run in beside.values()), *(fusion.name for fusion in joined)),
            compared=(
                *((picture, run.name) for picture in pictures for run in beside.values()),
                *((trial.joined, trial.without) for trial in trials),
            ),
        )
    ]
    scorers = [scorer for run in measured.values() for scorer in run.scorers]
    notes = tuple(note for run in runs.values() for note in run.notes)
    if not with_text:
        return Experiment(scorers, query_types, joined, notes, tuple(trials))
    by_text = {channel: run for channel, run in runs.items() if channel.query_needs == {Need.TEXT}}
    of_text = {channel.name: run.name for channel, run in by_text.items()}
    of_all = {channel.name: run.name for channel, run in runs.items()}
    fusions = [*joined, *(run.fusion for run in runs.values() if run.fusion is not None)]
    for name, rule, of in ((FUSED, "text", of_text), (FUSED_BOTH, "text and image", of_all)):
        fusions.append(Fusion(name, materials.rules[rule], of, rule_name=rule))
    scored = (scorer.name for run in by_text.values() for scorer in run.scorers)
    parts = tuple(dict.fromkeys([*of_text.values(), *scored]))
    best_of_text = FUSED if len(of_text) > 1 else parts[0]  # a single channel is not fused
    less = _without_expensive(by_text, materials.rules["text"]) if best_of_text == FUSED else []
    fusions += [fusion for _, fusion in less]
    trials += [Trial(channel.name, BY_REPORT, FUSED, fusion.name) for channel, fusion in less]
    pairs = [(FUSED, part) for part in (*parts, *(fusion.name for _, fusion in less))] if best_of_text == FUSED else []
    query_types.append(
        QueryType(
            name=BY_REPORT,
            description="Each case queries by the text of its report.",
            queries=report_queries,
            runs=(*parts, FUSED, *(fusion.name for _, fusion in less)) if best_of_text == FUSED else parts,
            compared=(*pairs, *_expensive_against_others(by_text)),
            left_out=left_out,
            by_report=True,
        )
    )
    of_both = (run for name, run in of_all.items() if name not in by_picture and name not in of_text)
    alone = (*pictures, best_of_text, *of_both)
    query_types.append(
        QueryType(
            name="queries by report and image",
            description="Each case queries by its report and its images together.",
            queries=report_queries,
            runs=(*alone, FUSED_BOTH),
            compared=tuple((FUSED_BOTH, run) for run in alone),
            left_out=left_out,
            by_report=True,
        )
    )
    return Experiment(scorers, query_types, fusions, notes, tuple(trials))


def joined_with(channel: Channel) -> str:
    """The name of the run that joins a channel which answers only on request to the channels by image."""
    return f"image with {channel.name}"


def trial_rule(rule: FusionRule, channel: Channel) -> FusionRule:
    """The rule with the channel in it: by its weight, where it has one."""
    return rule if rule.weights.get(channel.name) else replace(rule, weights={**rule.weights, channel.name: TRIAL})


def _channel_runs(materials: EvaluationMaterials, *, with_text: bool) -> dict[Channel, ChannelRun]:
    """Of the channels that the material suffices for, in their order. Without queries by report: of those by image."""
    measured = [channel for channel in CHANNELS.values() if with_text or Need.TEXT not in channel.query_needs]
    runs = ((channel, channel.own_run(materials)) for channel in measured)
    return {channel: run for channel, run in runs if run is not None}


def _without_expensive(by_text: Mapping[Channel, ChannelRun], rule: FusionRule) -> list[tuple[Channel, Fusion]]:
    """For each channel that generates and has a weight, the fusion of the others: does it earn its time?"""
    found = []
    for channel in by_text:
        others = {other.name: run.name for other, run in by_text.items() if other is not channel}
        weighs = any(rule.weights.get(name, 1.0) for name in others) and rule.weights.get(channel.name, 1.0)
        if Need.GENERATOR in channel.needs and weighs:
            found.append((channel, Fusion(f"{FUSED} without {channel.name}", rule, others)))
    return found


def _expensive_against_others(by_text: Mapping[Channel, ChannelRun]) -> list[tuple[str, str]]:
    """What is generated takes seconds a query: is it better than the plainest run of a channel that takes none?"""
    expensive = [run.name for channel, run in by_text.items() if Need.GENERATOR in channel.needs]
    cheap = [run.scorers[0].name for channel, run in by_text.items() if Need.GENERATOR not in channel.needs]
    return [(run, other) for run in expensive for other in cheap]
