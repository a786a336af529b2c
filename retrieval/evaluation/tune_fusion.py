"""Tuning of fusion weights: chosen on one half of an archive's patients, measured on the other (hold-out).

Every rule of a small grid (both methods, weights 0, 0.5, 1 and 2) ranks for the queries of the tuning half; all
patients are candidates. A rule has so few weights that it hardly overfits, but the best of many is always a little
lucky: its figures come from the held-out half, which took no part in the choice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Final, get_args

import numpy as np

from retrieval.arrays import Bools, Floats, Ints
from retrieval.errors import EvaluationError
from retrieval.evaluation.batched_rankings import Block, Rankings
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.experiment import FUSED, FUSED_BOTH, REPORT, Fusion, QueryType
from retrieval.evaluation.material import ProgressFactory, gather, no_progress
from retrieval.evaluation.relevance import DEPTH, Relevance
from retrieval.evaluation.tasks import tasks_for
from retrieval.search.batch import BatchRanking, first_of, ranking_of
from retrieval.search.fusion import FusionRule, Method, fuse, rule_text
from retrieval.statistics.cluster_bootstrap import Average, MacroBootstrap
from retrieval.statistics.estimate import Estimate
from retrieval.statistics.metrics import precision

if TYPE_CHECKING:
    from pathlib import Path

    from index_store import Archive
    from retrieval.encoder.encoder import Encoder
    from retrieval.generated.batch_generation import GenerationPlan

WEIGHTS: Final = (0.0, 0.5, 1.0, 2.0)
_FUSED_BY: Final = {REPORT: "report", FUSED: "text", FUSED_BOTH: "text and image"}
"""By run: the name of its rule."""


@dataclass(frozen=True)
class Compared:
    """Another rule on the held-out half, beside the chosen one."""

    name: str
    """A channel alone, "equal weights" or "as before"."""
    precision: Estimate
    chosen_minus: Estimate
    """The chosen rule's figure minus this one, in the same resamples."""


@dataclass(frozen=True)
class FusionChoice:
    """How channels should be fused for one kind of query, and what that is worth."""

    name: str
    """As in the file of rules: "report", "text" or "text and image"."""
    rule: FusionRule
    channels: tuple[str, ...]
    tried: int
    """Rules that were compared."""
    why: str
    choosing_queries: int
    choosing_patients: int
    choosing: Estimate
    """Its P@10 of the category on the tuning half."""
    measured_queries: int
    measured_patients: int
    measured: Estimate
    """Its P@10 on the held-out half."""
    compared: tuple[Compared, ...]


def choose_fusion(
    archive: Archive,
    *,
    rules: Mapping[str, FusionRule],
    encoder: Encoder | None = None,
    text_encoder: Encoder | None = None,
    generation: GenerationPlan | None = None,
    sample: int | None = None,
    seed: int = 0,
    work: Path | None = None,
    progress: ProgressFactory = no_progress,
) -> tuple[FusionChoice, ...]:
    """Choose the rules "report", "text" and "text and image", in this order, as far as the archive has their channels.

    The criterion is P@10 of site, system and category among all cases, the mean over categories. Of the rules that the
    best does not significantly surpass (the 95 % interval of the paired difference, resampled by patient, holds 0) the
    simplest is taken: equal weights by ranks, then by scores, then other weights by ranks. Which half a patient belongs
    to follows from its first case's key and the seed. Arguments otherwise as of `evaluate_archive`.

    Raises EvaluationError where there is nothing to fuse, or where a half has no query with a relevant candidate.
    """
    material = gather(
        archive,
        encoder=encoder,
        text_encoder=text_encoder,
        generation=generation,
        sample=sample,
        seed=seed,
        histogram=False,
        rules=rules,
        work=work,
        progress=progress,
    )
    cases = material.cases
    fusions = {fusion.name: fusion for fusion in material.experiment.fusions}
    names = {run: name for run, name in _FUSED_BY.items() if run in fusions and len(fusions[run].of) > 1}
    if not names:
        raise EvaluationError(
            "There is nothing to fuse: the archive has no reports, or none with a vector that another patient shares."
        )
    by_report = material.experiment.query_types[1]
    relevance = next(Relevance(task, cases) for task in tasks_for(cases) if task.name.startswith("category"))
    queries = relevance.answerable(by_report.queries)
    tuning = _tuning_half(cases, seed)[cases.patient_of[queries]]
    if tuning.all() or not tuning.any():
        raise EvaluationError("All queries are of one half of the patients: query with more of them.")
    halves = _Halves(relevance, cases, queries, tuning, seed)
    choices = []
    with progress("Comparing", unit="rules × queries") as count:
        grids = {run: list(_grid(tuple(fusions[run].of))) for run in names}
        total, done = sum(map(len, grids.values())) * len(queries), 0
        for run, name in names.items():
            fusion, grid = fusions[run], grids[run]
            experiment = replace(material.experiment, fusions=tuple(fusions.values()))
            precisions = np.zeros((len(grid), len(queries)))
            for at, rule, values in _precisions(Rankings(cases, experiment), fusion, relevance, queries, grid):
                precisions[rule, at] = values
                done += len(at)
                count(done, total)
            choice = _chosen(name, tuple(fusion.of), grid, precisions, halves, rules[name])
            choices.append(replace(choice, rule=replace(choice.rule, encoders=material.fingerprints)))
            fusions[run] = replace(fusion, rule=choice.rule)  # later ones fuse it as chosen
    return tuple(choices)


def rules_text(choices: Sequence[FusionChoice], rules: Mapping[str, FusionRule]) -> str:
    """A file in the layout of `fusion_rules.toml`: the chosen rules, each with what it was chosen on, and the rest."""
    chosen = {choice.name: choice for choice in choices}
    lines = ["# How channels are fused, by what the query holds. Written by `coin evaluate --choose-fusion`."]
    for name in dict.fromkeys([*rules, *chosen]):
        rule = chosen[name].rule if name in chosen else rules[name]
        # A channel that is not named would weigh 1, though it was not measured.
        unmeasured = (
            [channel for channel in rules[name].weights if channel not in rule.weights] if name in rules else []
        )
        lines.append("")
        if name in chosen:
            choice = chosen[name]
            lines += [
                f"# Chosen among {choice.tried} rules on {choice.choosing_queries} queries of "
                f"{choice.choosing_patients} patients: P@10 {choice.choosing}",
                f"# ({choice.why}).",
                f"# On the {choice.measured_queries} queries of the other {choice.measured_patients} patients: P@10 "
                f"{choice.measured}.",
                *(
                    f"# `{channel}` was not measured (for `generated`: --generate N), so it has no weight."
                    for channel in unmeasured
                ),
            ]
        named = {**rule.weights, **dict.fromkeys(unmeasured, 0.0)}
        lines += rule_text(name, FusionRule(rule.method, named, rule.encoders))
    return "\n".join(lines) + "\n"


def _grid(channels: tuple[str, ...]) -> Iterator[FusionRule]:
    """Each ratio of weights once; of a single channel only by ranks, since the method makes no difference."""
    seen = set()
    for method in get_args(Method):
        # Of one ratio the weights that come first here are kept: 1 and 1, not 2 and 2.
        for weights in sorted(product(WEIGHTS, repeat=len(channels)), key=lambda weights: abs(max(weights) - 1)):
            top = max(weights)
            single = sum(weight > 0 for weight in weights) == 1
            key = ("rrf" if single else method, tuple(weight / top if top else 0.0 for weight in weights))
            if top and key not in seen:
                seen.add(key)
                yield FusionRule(method, dict(zip(channels, weights, strict=True)))


def _precisions(
    rankings: Rankings, fusion: Fusion, relevance: Relevance, queries: Ints, grid: Sequence[FusionRule]
) -> Iterator[tuple[Ints, int, Floats]]:
    """P@10 by each rule: positions in `queries` int[b], the rule's number in the grid, and float[b]."""
    task, case_of = relevance.task, rankings.cases.case_of
    query_type = QueryType(fusion.name, "", queries, tuple(fusion.of.values()))
    for block in rankings.blocks([query_type], [task.candidates_of]):
        at = np.searchsorted(queries, block.queries)
        wanted = task.class_of[block.queries][:, None]
        for number, places in _ranked(rankings, fusion, block, task.candidates_of, grid):
            yield at, number, precision(task.class_of[case_of[places.ranked_images[:, :DEPTH]]] == wanted, DEPTH)


def _ranked(
    rankings: Rankings, fusion: Fusion, block: Block, candidates_of: Ints, grid: Sequence[FusionRule]
) -> Iterator[tuple[int, BatchRanking]]:
    """The block ranked by each rule of the grid, by its number. Channels are ranked, or normalised, once a method."""
    scores = rankings.scores(block)
    own = rankings.cases.patient_of[block.queries]
    candidates = rankings.candidates(candidates_of, int(candidates_of[block.queries[0]]), by_case=True)
    places = {} if fusion.by_case else rankings.places(block, scores, candidates_of)
    channels = {name: places[run] for name, run in fusion.of.items()} if places else {}
    first = rankings.first(fusion, block) if fusion.by_case else np.zeros((0, 0), dtype=bool)
    for method in get_args(Method):
        equal = FusionRule(method, dict.fromkeys(fusion.of, 1.0))
        if fusion.by_case:
            ways = {name: scores[run] for name, run in fusion.of.items()}
            fused = candidates.fused_reports(equal, ways, own, first)
        else:
            fused = fuse(equal, {name: ranked.scores for name, ranked in channels.items()}, first=first_of(channels))
        for number, rule in enumerate(grid):
            if rule.method == method:
                shares = rule.shares(tuple(fusion.of))
                weighted = fused.reweighted(shares)
                if fusion.by_case:
                    scored = weighted.scores.astype(np.float32)
                    yield number, candidates.rank_items(scored, own, first[:, candidates.columns])
                else:
                    yield number, ranking_of(weighted, channels, shares)


class _Halves:
    """P@10 as a mean over categories, on the tuning half (0) and on the held-out half (1)."""

    def __init__(self, relevance: Relevance, cases: LabelledCases, queries: Ints, tuning: Bools, seed: int) -> None:
        self.sides = (np.flatnonzero(tuning), np.flatnonzero(~tuning))
        self.patients = [len(np.unique(cases.patient_of[queries[side]])) for side in self.sides]
        classes = [relevance.task.class_of[queries[side]] for side in self.sides]
        self._parts = [np.unique(of_side) for of_side in classes]
        self._bootstraps = [
            MacroBootstrap(cases.patient_of[queries[side]], of_side, len(relevance.task.site_of), seed=seed)
            for side, of_side in zip(self.sides, classes, strict=True)
        ]

    def tuning_means(self, precisions: Floats) -> Floats:
        """float[rules], on the tuning half, of float[rules, q]."""
        bootstrap, part = self._bootstraps[0], [self._parts[0]]
        return np.array([bootstrap.expected_mean(row[self.sides[0]], part)[0].mean for row in precisions])

    def averages(self, side: int, precisions: Mapping[str, Floats]) -> dict[str, Average]:
        """By name, of float[q]."""
        values = {name: row[self.sides[side]] for name, row in precisions.items()}
        means = self._bootstraps[side].mean(values, [self._parts[side]])
        return {name: average for name, (average,) in means.items()}


def _chosen(
    name: str,
    channels: tuple[str, ...],
    grid: Sequence[FusionRule],
    precisions: Floats,
    halves: _Halves,
    before: FusionRule,
) -> FusionChoice:
    """Choose from P@10 float[rules, q] on the tuning half, and measure on the other. `before` is the rule in use."""
    numbers = {(rule.method, tuple(rule.shares(channels).values())): i for i, rule in enumerate(grid)}
    means = halves.tuning_means(precisions)
    equal = (1 / len(channels),) * len(channels)
    by_ranks = np.array([rule.method == "rrf" for rule in grid])
    contenders = {  # the simplest first
        "equal weights, by ranks": numbers["rrf", equal],
        "equal weights, by scores": numbers["score", equal],
        "weights by ranks": int(np.where(by_ranks, means, -1).argmax()),
        "the best of all": int(means.argmax()),
    }
    averages = halves.averages(0, {label: precisions[i] for label, i in contenders.items()})
    best = averages["the best of all"]
    label = next(label for label, average in averages.items() if best.minus(average).low <= 0)
    gain = best.minus(averages[label])
    rule = grid[contenders[label]]
    why = f"{label}; the best of all is {gain} above it" if gain.mean > 0 else label
    others = {"equal weights, by ranks": precisions[numbers["rrf", equal]]}
    number = numbers.get((before.method, tuple(before.shares(channels).values())))
    if number is not None:
        others["as before"] = precisions[number]
    for i, channel in enumerate(channels):
        others[f"{channel} alone"] = precisions[numbers["rrf", tuple(float(j == i) for j in range(len(channels)))]]
    measured = halves.averages(1, {"": precisions[contenders[label]], **others})
    chosen = measured.pop("")
    return FusionChoice(
        name=name,
        rule=rule,
        channels=channels,
        tried=len(grid),
        why=why,
        choosing_queries=len(halves.sides[0]),
        choosing_patients=halves.patients[0],
        choosing=averages[label].estimate,
        measured_queries=len(halves.sides[1]),
        measured_patients=halves.patients[1],
        measured=chosen.estimate,
        compared=tuple(Compared(other, average.estimate, chosen.minus(average)) for other, average in measured.items()),
    )


def _tuning_half(cases: LabelledCases, seed: int) -> Bools:
    """bool[patients], by the key of a patient's first case: one more patient leaves the others where they are."""
    first_case = np.unique(cases.patient_of, return_index=True)[1]
    digests = (hashlib.sha256(f"{seed}\n{cases.keys[i]}".encode()).digest() for i in first_case)
    return np.array([digest[0] % 2 == 0 for digest in digests], dtype=bool)
