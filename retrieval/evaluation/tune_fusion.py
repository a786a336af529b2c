"""Weights of channels, chosen on one half of an archive's patients and measured on the other.

Every rule of a small grid (both methods, weights 0, 0.5, 1 and 2) ranks for the queries of one half of the patients;
all patients are searched. A rule has so few weights that it cannot learn an archive by heart, but the best of many is
always a little lucky: its figures come from the other half, which had no say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Final, get_args

import numpy as np

from retrieval.arrays import Bools, Floats, Ints
from retrieval.errors import EvaluationError
from retrieval.evaluation.batched_rankings import Block, Rankings
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.evaluate import Watch, gather, unwatched
from retrieval.evaluation.experiment_rows import REPORT
from retrieval.evaluation.relevance import Truth
from retrieval.evaluation.scorers import Family, Fusion
from retrieval.evaluation.tasks import questions_for
from retrieval.search.batch import Places, joined_places
from retrieval.search.fusion import Fused, FusionRule, Method, fuse
from retrieval.statistics.cluster_bootstrap import Average, MacroBootstrap
from retrieval.statistics.estimate import Estimate
from retrieval.statistics.metrics import precision

if TYPE_CHECKING:
    from pathlib import Path

    from index_store import Archive
    from retrieval.encoder.encoder import Encoder
    from retrieval.generated.batch_generation import GenerationPlan

WEIGHTS: Final = (0.0, 0.5, 1.0, 2.0)
DEPTH: Final = 10


@dataclass(frozen=True)
class Compared:
    """A rule on the half that had no say, beside the chosen one."""

    name: str
    """A channel alone, "equal weights" or "as before"."""
    precision: Estimate
    chosen_minus: Estimate
    """The chosen rule's figure minus this one, in the same resamples."""


@dataclass(frozen=True)
class FusionChoice:
    """How channels should be joined for one kind of query, and what that is worth."""

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
    """Its P@10 of the category on the half that it was chosen on."""
    measured_queries: int
    measured_patients: int
    measured: Estimate
    """Its P@10 on the other half."""
    compared: tuple[Compared, ...]


def choose_fusion(
    archive: Archive,
    *,
    rules: Mapping[str, FusionRule],
    encoder: Encoder | None = None,
    generation: GenerationPlan | None = None,
    sample: int | None = None,
    seed: int = 0,
    work: Path | None = None,
    watch: Watch | None = None,
) -> tuple[FusionChoice, ...]:
    """Choose the rules "report", "text" and "text and image", in this order, as far as the archive has their channels.

    What counts is P@10 of site, system and category among all cases, the mean over categories. The simplest rule is
    taken of those that the best does not surpass beyond chance (the 95 % interval of the paired difference, resampled
    by patient): equal weights by ranks, then by scores, then other weights by ranks. Which half a patient belongs to
    follows from its first case's key and the seed. Arguments otherwise as of `evaluate_archive`.

    Raises EvaluationError where there is nothing to join, or where a half has no query that can be answered.
    """
    watch = watch or unwatched
    made = gather(
        archive,
        encoder=encoder,
        generation=generation,
        sample=sample,
        seed=seed,
        histogram=False,
        rules=rules,
        work=work,
        watch=watch,
    )
    channels = {channel.name: channel for channel in made.rows.channels}
    joined = {fusion.name: fusion for fusion in made.rows.fusions}
    kinds = {row: name for row, name in _KINDS.items() if row in joined and len(joined[row].of) > 1}
    if not kinds:
        raise EvaluationError(
            "There is nothing to join: the archive has no reports, or none with a vector that another patient shares."
        )
    asking = made.rows.families[1].asking
    truth = next(Truth(q, made.cases) for q in questions_for(made.cases) if q.name.startswith("category"))
    queries = truth.answerable(asking)
    first = _first_half(made.cases, seed)[made.cases.patient_of[queries]]
    if first.all() or not first.any():
        raise EvaluationError("All queries are of one half of the patients: ask with more of them.")
    choices = []
    with watch("Comparing", unit="rules × queries") as progress:
        grids = {row: list(_grid(tuple(joined[row].of))) for row in kinds}
        total, done = sum(map(len, grids.values())) * len(queries), 0
        for row, name in kinds.items():
            rankings = Rankings(made.cases, channels, joined)
            hits = np.zeros((len(grids[row]), len(queries)))
            family = Family(row, "", queries, tuple(joined[row].of.values()))
            for block in rankings.blocks([family], [truth.question.pool_of]):
                at = np.searchsorted(queries, block.queries)
                for number, found in _ranked(rankings, joined[row], block, truth.question.pool_of, grids[row]):
                    relevant = truth.question.class_of[made.cases.case_of[found.leads[:, :DEPTH]]]
                    hits[number, at] = precision(relevant == truth.question.class_of[block.queries][:, None], DEPTH)
                    done += len(at)
                    progress(done, total)
            halves = _Halves(truth, made.cases, queries, first, seed)
            choice = _chosen(name, tuple(joined[row].of), grids[row], hits, halves, rules[name])
            choices.append(choice)
            joined[row] = Fusion(row, choice.rule, joined[row].of, joined[row].by_case)
    return tuple(choices)


def rules_text(choices: Sequence[FusionChoice], rules: Mapping[str, FusionRule]) -> str:
    """A file in the layout of `fusion_rules.toml`: the chosen rules, each with what it was chosen on, and the rest."""
    chosen = {choice.name: choice for choice in choices}
    lines = ["# How channels are joined, by what the query holds. Written by `coin evaluate --choose-fusion`."]
    for name in dict.fromkeys([*rules, *chosen]):
        rule = chosen[name].rule if name in chosen else rules[name]
        # One that is not named would weigh 1, and nobody measured it.
        unmeasured = (
            [channel for channel in rules[name].weights if channel not in rule.weights] if name in rules else []
        )
        lines.append("")
        if name in chosen:
            one = chosen[name]
            lines += [
                f"# Chosen among {one.tried} rules on {one.choosing_queries} queries of {one.choosing_patients} "
                f"patients: P@10 {one.choosing}",
                f"# ({one.why}).",
                f"# On the {one.measured_queries} queries of the other {one.measured_patients} patients: P@10 "
                f"{one.measured}.",
                *(
                    f"# `{channel}` was not measured (for `generated`: --generate N), so it has no weight."
                    for channel in unmeasured
                ),
            ]
        named = {**rule.weights, **dict.fromkeys(unmeasured, 0.0)}
        weights = ", ".join(f"{channel} = {weight:g}" for channel, weight in named.items())
        lines += [f'["{name}"]', f'method = "{rule.method}"', f"weights = {{ {weights} }}"]
    return "\n".join(lines) + "\n"


_KINDS: Final = {REPORT: "report", "fused": "text", "fused with image": "text and image"}


def _grid(channels: tuple[str, ...]) -> Iterator[FusionRule]:
    """Each ratio of weights once; of one channel alone only by ranks, where the method changes nothing."""
    seen = set()
    for method in get_args(Method):
        # Of one ratio the weights that come first here are kept: 1 and 1, not 2 and 2.
        for weights in sorted(product(WEIGHTS, repeat=len(channels)), key=lambda weights: abs(max(weights) - 1)):
            top = max(weights)
            alone = sum(weight > 0 for weight in weights) == 1
            key = ("rrf" if alone else method, tuple(weight / top if top else 0.0 for weight in weights))
            if top and key not in seen:
                seen.add(key)
                yield FusionRule(method, dict(zip(channels, weights, strict=True)))


def _ranked(
    rankings: Rankings, fusion: Fusion, block: Block, pool_of: Ints, grid: Sequence[FusionRule]
) -> Iterator[tuple[int, Places]]:
    """The block ranked by each rule of the grid, by its number. Channels are ranked, or normalised, once a method."""
    scores = rankings.scores(block)
    own = rankings.cases.patient_of[block.queries]
    candidates = rankings.candidates(pool_of, int(pool_of[block.queries[0]]), by_case=True)
    places = {} if fusion.by_case else rankings.places(block, scores, pool_of)
    channels = {name: places[row] for name, row in fusion.of.items()} if places else {}
    for method in get_args(Method):
        equal = FusionRule(method, dict.fromkeys(fusion.of, 1.0))
        if fusion.by_case:
            fused = candidates.fused_items(equal, {name: scores[row] for name, row in fusion.of.items()}, own)
        else:
            fused = fuse(equal, {name: of.scores for name, of in channels.items()})
        for number, rule in enumerate(grid):
            if rule.method == method:
                weighed = _weighed(fused, rule.shares(tuple(fusion.of)))
                if fusion.by_case:
                    yield number, candidates.item_places(weighed.scores.astype(np.float32), own)
                else:
                    yield number, joined_places(weighed, channels)


class _Halves:
    """P@10 as a mean over categories, on the half that chooses and on the half that measures."""

    def __init__(self, truth: Truth, cases: LabelledCases, queries: Ints, first: Bools, seed: int) -> None:
        self.sides = (np.flatnonzero(first), np.flatnonzero(~first))
        self.patients = [len(np.unique(cases.patient_of[queries[side]])) for side in self.sides]
        classes = [truth.question.class_of[queries[side]] for side in self.sides]
        self._parts = [np.unique(of) for of in classes]
        self._bootstraps = [
            MacroBootstrap(cases.patient_of[queries[side]], of, len(truth.question.site_of), seed=seed)
            for side, of in zip(self.sides, classes, strict=True)
        ]

    def means(self, hits: Floats) -> Floats:
        """float[rules], on the half that chooses, of float[rules, q]."""
        bootstrap, part = self._bootstraps[0], [self._parts[0]]
        return np.array([bootstrap.expected_mean(row[self.sides[0]], part)[0].mean for row in hits])

    def averages(self, side: int, hits: Mapping[str, Floats]) -> dict[str, Average]:
        """By name, of float[q]."""
        values = {name: row[self.sides[side]] for name, row in hits.items()}
        return {name: of[0] for name, of in self._bootstraps[side].mean(values, [self._parts[side]]).items()}


def _chosen(
    name: str, channels: tuple[str, ...], grid: Sequence[FusionRule], hits: Floats, halves: _Halves, before: FusionRule
) -> FusionChoice:
    numbers = {(rule.method, tuple(rule.shares(channels).values())): i for i, rule in enumerate(grid)}
    means = halves.means(hits)
    equal = (1 / len(channels),) * len(channels)
    by_ranks = np.array([rule.method == "rrf" for rule in grid])
    contenders = {  # the simplest first
        "equal weights, by ranks": numbers["rrf", equal],
        "equal weights, by scores": numbers["score", equal],
        "weights by ranks": int(np.where(by_ranks, means, -1).argmax()),
        "the best of all": int(means.argmax()),
    }
    averages = halves.averages(0, {label: hits[i] for label, i in contenders.items()})
    best = averages["the best of all"]
    label = next(label for label, average in averages.items() if best.minus(average).low <= 0)
    gain = best.minus(averages[label])
    rule = grid[contenders[label]]
    why = f"{label}; the best of all is {gain} above it" if gain.mean > 0 else label
    others = {"equal weights, by ranks": hits[numbers["rrf", equal]]}
    place = numbers.get((before.method, tuple(before.shares(channels).values())))
    if place is not None:
        others["as before"] = hits[place]
    for i, channel in enumerate(channels):
        others[f"{channel} alone"] = hits[numbers["rrf", tuple(float(j == i) for j in range(len(channels)))]]
    measured = halves.averages(1, {"": hits[contenders[label]], **others})
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
        compared=tuple(Compared(of, average.estimate, chosen.minus(average)) for of, average in measured.items()),
    )


def _first_half(cases: LabelledCases, seed: int) -> Bools:
    """bool[patients], by the key of a patient's first case: one more patient leaves the others where they are."""
    first_case = np.unique(cases.patient_of, return_index=True)[1]
    digests = (hashlib.sha256(f"{seed}\n{cases.keys[i]}".encode()).digest() for i in first_case)
    return np.array([digest[0] % 2 == 0 for digest in digests], dtype=bool)


def _weighed(equal: Fused, shares: Mapping[str, float]) -> Fused:
    """What equal weights made, with these in their place."""
    parts = {name: part * (len(shares) * shares[name]) for name, part in equal.parts.items()}
    found = np.logical_or.reduce([np.isfinite(equal.ranks[name]) for name, share in shares.items() if share > 0])
    return Fused(np.where(found, sum(parts.values()), -np.inf), parts, equal.ranks)
