"""The tables of an evaluation counted a second time, in loops over plain lists and with none of the product's code.

Slow and obvious on purpose: every definition is written out once more, from the literature and the docstrings.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

VOTE_DEPTHS, PRECISION_DEPTHS, DEPTH = (1, 3, 5), (1, 5, 10), 10
RESAMPLES = 2000
Label = tuple[str, ...]
Scores = Sequence[Sequence[float]]
Hit = tuple[int, float]
"""An image, and the score of the patient that it stands for."""


@dataclass(frozen=True)
class PlainCase:
    """A case, whose images are known by their place in the order of ids."""

    patient: str
    site: str
    system: str
    category: str
    family: int
    """Which reports say the same; -1: the case has none."""
    images: list[int]
    values: dict[str, list[object]] = field(default_factory=dict)
    """By confounder: the value of each image; None where it is not given."""


@dataclass(frozen=True)
class PlainTask:
    """What makes one case relevant to another, and which cases compete."""

    name: str
    label: Callable[[PlainCase], Label]
    competes: Callable[[PlainCase, PlainCase], bool]
    gain: Callable[[Label, Label], float]
    """Of the query's label and the result's."""


def tasks_of(cases: Sequence[PlainCase], gain: Callable[[str, str], float]) -> list[PlainTask]:
    """`gain` is that of two categories of one site and system."""

    def label(case: PlainCase) -> Label:
        return (case.site, case.system, case.category)

    def graded(query: Label, result: Label) -> float:
        return gain(query[2], result[2]) if query[:2] == result[:2] else 0.0

    def everybody(query: PlainCase, case: PlainCase) -> bool:
        return True

    def same_system(query: PlainCase, case: PlainCase) -> bool:
        return (query.site, query.system) == (case.site, case.system)

    within = PlainTask("category within the site", label, same_system, graded)
    if len({(case.site, case.system) for case in cases}) == 1:
        return [within]
    site = PlainTask("site", lambda case: (case.site,), everybody, lambda query, result: float(query == result))
    return [site, PlainTask("category", label, everybody, graded), within]


def rank(cases: Sequence[PlainCase], scores: Scores, query: int, task: PlainTask, *, by_case: bool) -> list[Hit]:
    """The other patients of the query's pool, best first, each by its best image (or report, shown by the first
    image of its case). Equal scores: the lower image first."""
    best: dict[str, tuple[float, int]] = {}
    for number, case in enumerate(cases):
        if case.patient == cases[query].patient or not task.competes(cases[query], case):
            continue
        if by_case:
            entries = [(-scores[query][number], min(case.images))]
        else:
            entries = [(-scores[query][image], image) for image in case.images]
        for entry in entries:
            if case.patient not in best or entry < best[case.patient]:
                best[case.patient] = entry
    return [(image, -negative) for negative, image in sorted(best.values())]


def cases_of_images(cases: Sequence[PlainCase]) -> dict[int, PlainCase]:
    return {image: case for case in cases for image in case.images}


def rivals(cases: Sequence[PlainCase], query: int, task: PlainTask) -> dict[str, list[PlainCase]]:
    """By other patient of the pool: its cases there."""
    found: dict[str, list[PlainCase]] = {}
    for case in cases:
        if case.patient != cases[query].patient and task.competes(cases[query], case):
            found.setdefault(case.patient, []).append(case)
    return found


def relevant_patients(cases: Sequence[PlainCase], query: int, task: PlainTask) -> int:
    wanted = task.label(cases[query])
    return sum(any(task.label(case) == wanted for case in own) for own in rivals(cases, query, task).values())


def ideal_gains(cases: Sequence[PlainCase], query: int, task: PlainTask) -> list[float]:
    """The most that each other patient can be worth, the largest first."""
    wanted = task.label(cases[query])
    return sorted(
        (max(task.gain(wanted, task.label(case)) for case in own) for own in rivals(cases, query, task).values()),
        reverse=True,
    )


def ranked_figures(relevant: Sequence[bool], total: int) -> dict[str, float]:
    """P@k, mAP, MRR and R@10 of one ranking."""
    figures = {}
    for k in PRECISION_DEPTHS:
        figures[f"P@{k}"] = sum(relevant[:k]) / k
    hits, summed, first = 0, 0.0, 0.0
    for position, hit in enumerate(relevant, start=1):
        if hit:
            hits += 1
            summed += hits / position
            first = first or 1 / position
    figures["mAP"] = summed / total
    figures["MRR"] = first
    figures["R@10"] = sum(relevant[:DEPTH]) / total
    return figures


def dcg(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(position + 1) for position, gain in enumerate(gains[:DEPTH], start=1))


def query_figures(labels: Sequence[Label], cases: Sequence[PlainCase], query: int, task: PlainTask) -> dict[str, float]:
    """All figures of one query but its votes, from the labels of its ranking."""
    wanted = task.label(cases[query])
    figures = ranked_figures([label == wanted for label in labels], relevant_patients(cases, query, task))
    figures["nDCG@10"] = dcg([task.gain(wanted, label) for label in labels]) / dcg(ideal_gains(cases, query, task))
    return figures


def vote(labels: Sequence[Label], k: int) -> Label:
    """The most frequent of the first k; of equally frequent ones the nearest."""
    counts = Counter(labels[:k])
    return next(label for label in labels[:k] if counts[label] == max(counts.values()))


def macro_mean(
    values: Sequence[float], classes: Sequence[Label], part: Iterable[Label], weights: Sequence[int]
) -> float:
    """The mean over the classes of the mean of each one's queries, which count as often as `weights` says."""
    means = []
    for wanted in part:
        summed = sum(w * v for v, c, w in zip(values, classes, weights, strict=True) if c == wanted)
        times = sum(w for c, w in zip(classes, weights, strict=True) if c == wanted)
        if times:
            means.append(summed / times)
    return sum(means) / len(means) if means else math.nan


def macro_f1(votes: Sequence[Label], classes: Sequence[Label], part: Iterable[Label], weights: Sequence[int]) -> float:
    scores = []
    for wanted in part:
        both = sum(w for v, c, w in zip(votes, classes, weights, strict=True) if v == c == wanted)
        given = sum(w for v, w in zip(votes, weights, strict=True) if v == wanted)
        real = sum(w for c, w in zip(classes, weights, strict=True) if c == wanted)
        if real:
            scores.append(2 * both / (given + real))
    return sum(scores) / len(scores) if scores else math.nan


def resampled_weights(patients: Sequence[str], seed: int) -> list[list[int]]:
    """For each resample of whole patients: how often each query counts."""
    known = sorted(set(patients))
    rng = np.random.default_rng(seed)
    resamples = []
    for _ in range(RESAMPLES):
        times = Counter(known[i] for i in rng.integers(len(known), size=len(known)))
        resamples.append([times[patient] for patient in patients])
    return resamples


def interval(statistic: Callable[[Sequence[int]], float], resamples: Sequence[Sequence[int]]) -> tuple[float, float]:
    """The percentile interval; a resample that has none of the classes does not count."""
    values = sorted(value for value in map(statistic, resamples) if not math.isnan(value))

    def percentile(share: float) -> float:
        position = share * (len(values) - 1)
        low = math.floor(position)
        high = min(low + 1, len(values) - 1)
        return values[low] + (position - low) * (values[high] - values[low])

    return percentile(0.025), percentile(0.975)


def expected_in_random_order(
    cases: Sequence[PlainCase], query: int, task: PlainTask, kind: Callable[[PlainCase], object], measure: Callable
) -> dict[str, float]:
    """The mean of `measure(kinds of the ranking)` over all orders of the other patients, each led by any image."""
    shares: list[dict[object, Fraction]] = []
    for own in rivals(cases, query, task).values():
        images = Counter()
        for case in own:
            images[kind(case)] += len(case.images)
        shares.append({what: Fraction(n, sum(images.values())) for what, n in images.items()})
    summed: dict[str, float] = {}
    orders = list(itertools.permutations(shares))
    rankings: Counter[tuple] = Counter()
    for order in orders:
        for kinds in itertools.product(*order):
            rankings[kinds] += math.prod(of[what] for of, what in zip(order, kinds, strict=True)) / len(orders)
    for kinds, probability in rankings.items():
        for name, value in measure(kinds).items():
            summed[name] = summed.get(name, 0.0) + float(probability) * value
    return summed


def confounder_shares(
    cases: Sequence[PlainCase], name: str, query: int, images: Sequence[int]
) -> tuple[float, float] | None:
    """Of the first 10 hits the share that has the query's value, and the share that chance would bring: for each hit,
    that any other patient with images of the hit's site, led by any of these, has the value. None: no single value."""
    values = set(cases[query].values[name])
    if len(values) != 1 or None in values:
        return None
    (wanted,) = values
    whose = cases_of_images(cases)
    shared, expected = 0.0, 0.0
    for image in images:
        case = whose[image]
        shared += case.values[name][case.images.index(image)] == wanted
        of_patients: dict[str, list[bool]] = {}
        for other in cases:
            if other.site == case.site and other.patient != cases[query].patient:
                of_patients.setdefault(other.patient, []).extend(value == wanted for value in other.values[name])
        expected += sum(sum(has) / len(has) for has in of_patients.values()) / len(of_patients)
    return shared / len(images), expected / len(images)


@dataclass(frozen=True)
class RiskCurve:
    """Accuracy over coverage, and what the command shows of it."""

    aurc: float
    points: list[tuple[float, float]]
    """Coverage and accuracy at each threshold."""
    thresholds: list[float]


def risk_curve(tops: Sequence[float], right: Sequence[bool]) -> RiskCurve:
    """Answer the surest queries first, equally sure ones together."""
    points, thresholds, risks = [], [], []
    for threshold in sorted(set(tops), reverse=True):
        answered = [ok for top, ok in zip(tops, right, strict=True) if top >= threshold]
        before = [ok for top, ok in zip(tops, right, strict=True) if top > threshold]
        together = [ok for top, ok in zip(tops, right, strict=True) if top == threshold]
        points.append((len(answered) / len(tops), sum(answered) / len(answered)))
        thresholds.append(threshold)
        wrong = len(before) - sum(before)
        for extra in range(1, len(together) + 1):  # as if the wrong ones were spread evenly among equals
            share = (len(together) - sum(together)) / len(together)
            risks.append((wrong + extra * share) / (len(before) + extra))
    return RiskCurve(sum(risks) / len(risks), points, thresholds)
