"""The selection of one rule among many, by their P@10 on the tuning half, and its figures on the held-out half."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Final, get_args

import numpy as np

from retrieval.arrays import Bools, Floats, Ints
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.fusion_tuning.choice import Compared, Contribution, FusionChoice
from retrieval.evaluation.relevance import Relevance
from retrieval.search.channels.registry import CHANNELS
from retrieval.search.fusion import FusionRule, Method
from retrieval.statistics.cluster_bootstrap import Average, MacroBootstrap

WEIGHTS: Final = (0.0, 0.5, 1.0, 2.0)
LEAST_GAIN: Final = 1e-3
"""By how much P@10 of the tuning half must be higher without a channel for it to be left out: the last digit shown."""


def rule_grid(channels: tuple[str, ...]) -> Iterator[FusionRule]:
    """Each ratio of weights once; of a single channel only by ranks, since the method makes no difference. What answers
    only on request has no weight alone."""
    seen = set()
    always = {channel for channel in channels if not _on_request(channel)}
    for method in get_args(Method):
        # Of one ratio the weights that come first here are kept: 1 and 1, not 2 and 2.
        for weights in sorted(product(WEIGHTS, repeat=len(channels)), key=lambda weights: abs(max(weights) - 1)):
            top = max(weights)
            single = sum(weight > 0 for weight in weights) == 1
            key = ("rrf" if single else method, tuple(weight / top if top else 0.0 for weight in weights))
            rule = dict(zip(channels, weights, strict=True))
            if any(rule[channel] for channel in always) and key not in seen:
                seen.add(key)
                yield FusionRule(method, rule)


def _on_request(channel: str) -> bool:
    return channel in CHANNELS and CHANNELS[channel].opt_in  # "words" and "meaning" are none


class Halves:
    """P@10 as a mean over categories, on the tuning half (0) and on the held-out half (1)."""

    def __init__(self, relevance: Relevance, cases: LabelledCases, queries: Ints, tuning: Bools, seed: int) -> None:
        self.queries = queries
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


def chosen_rule(
    name: str,
    channels: tuple[str, ...],
    grid: Sequence[FusionRule],
    precisions: Floats,
    halves: Halves,
    before: FusionRule,
) -> FusionChoice:
    """Choose from P@10 float[rules, q] on the tuning half, and measure on the other. `before` is the rule in use."""
    numbers = {(rule.method, tuple(rule.shares(channels).values())): i for i, rule in enumerate(grid)}
    means = halves.tuning_means(precisions)
    number_of = partial(_number_of, grid, channels)
    equal = (1 / len(channels),) * len(channels)
    by_ranks = np.array([rule.method == "rrf" for rule in grid])
    on_request = [channel for channel in channels if _on_request(channel)]
    before = replace(before, weights={**dict.fromkeys(on_request, 0.0), **before.weights})
    always = FusionRule("rrf", {channel: float(channel not in on_request) for channel in channels}).shares(channels)
    contenders = {  # the simplest first
        **({f"without {', '.join(on_request)}": numbers["rrf", tuple(always.values())]} if on_request else {}),
        "equal weights, by ranks": numbers["rrf", equal],
        "equal weights, by scores": numbers["score", equal],
        "weights by ranks": int(np.where(by_ranks, means, -1).argmax()),
        "the best of all": int(means.argmax()),
    }
    averages = halves.averages(0, {label: precisions[i] for label, i in contenders.items()})
    best = averages["the best of all"]
    label = next(label for label, average in averages.items() if best.minus(average).low <= 0)
    gain = best.minus(averages[label])
    why = f"{label}; the best of all is {gain} above it" if gain.mean > 0 else label
    number, left_out = _pruned(contenders[label], grid, means, channels)
    rule = grid[number]
    if left_out:
        why += f"; better without {', '.join(left_out)}"
    others = {"equal weights, by ranks": precisions[numbers["rrf", equal]]}
    if any(before.weights.get(channel, 1.0) for channel in channels):
        used = number_of(before.method, before.weights)
        if used is not None:
            others["as before"] = precisions[used]
    for i, channel in enumerate(channels):
        alone = numbers.get(("rrf", tuple(float(j == i) for j in range(len(channels)))))
        if alone is not None:
            others[f"{channel} alone"] = precisions[alone]
    changed = _one_channel_changed(grid[contenders[label]], rule, channels)
    with_or_without = {channel: precisions[at] for channel, of in changed.items() if (at := number_of(*of)) is not None}
    measured = halves.averages(1, {"": precisions[number], **others})
    chosen = measured.pop("")
    others_of = halves.averages(1, {"": precisions[number], **with_or_without})
    mine = others_of.pop("")
    return FusionChoice(
        name=name,
        rule=rule,
        channels=channels,
        tried=len(grid),
        why=why,
        choosing_queries=len(halves.sides[0]),
        choosing_patients=halves.patients[0],
        choosing=halves.averages(0, {"": precisions[number]})[""].estimate,
        measured_queries=len(halves.sides[1]),
        measured_patients=halves.patients[1],
        measured=chosen.estimate,
        compared=tuple(Compared(other, average.estimate, chosen.minus(average)) for other, average in measured.items()),
        contributions=tuple(
            Contribution(
                channel, rule.weights[channel], mine.minus(other) if rule.weights[channel] else other.minus(mine)
            )
            for channel, other in others_of.items()
        ),
    )


def _pruned(
    number: int, grid: Sequence[FusionRule], means: Floats, channels: tuple[str, ...]
) -> tuple[int, tuple[str, ...]]:
    """The rule without the channels that it is better without on the tuning half, and these channels.

    One channel after the other, the one with the greatest loss first. A draw changes nothing: what costs nothing on the
    archive's own reports may find those in other words.
    """
    left_out: list[str] = []
    while True:
        rule = grid[number]
        weighing = [channel for channel in channels if rule.weights[channel] > 0]
        without = {}
        for channel in weighing if len(weighing) > 1 else ():
            other = _number_of(grid, channels, rule.method, {**rule.weights, channel: 0.0})
            if other is not None:
                without[channel] = other
        worst = max(without, key=lambda channel: means[without[channel]], default=None)
        if worst is None or means[without[worst]] < means[number] + LEAST_GAIN:
            return number, tuple(left_out)
        number = without[worst]
        left_out.append(worst)


def _one_channel_changed(
    start: FusionRule, rule: FusionRule, channels: tuple[str, ...]
) -> dict[str, tuple[Method, Mapping[str, float]]]:
    """By channel, method and weights: without it where the rule has it; where it has not, with its weight of `start`,
    or with the least that another channel has."""
    changed: dict[str, tuple[Method, Mapping[str, float]]] = {}
    least = min(weight for weight in rule.weights.values() if weight > 0)
    for channel in channels:
        weights = {**rule.weights, channel: 0.0 if rule.weights[channel] else start.weights[channel] or least}
        if any(weights.values()):
            changed[channel] = start.method, weights
    return changed


def _number_of(
    grid: Sequence[FusionRule], channels: tuple[str, ...], method: Method, weights: Mapping[str, float]
) -> int | None:
    """The rule's number in the grid; None where the grid lacks it. Of one channel alone, the method does not matter."""
    shares = FusionRule(method, weights).shares(channels)
    single = sum(share > 0 for share in shares.values()) == 1
    wanted = "rrf" if single else method
    for number, rule in enumerate(grid):
        if rule.method == wanted and np.allclose(list(rule.shares(channels).values()), list(shares.values())):
            return number
    return None
