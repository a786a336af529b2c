"""Agreement of readers beyond chance: Krippendorff's alpha, Fleiss' and Cohen's kappa, with jackknife intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from generation.cluster_interval import cluster_interval
from retrieval.arrays import Ints
from retrieval.statistics.estimate import Estimate

MISSING: Final = -1
ALPHA: Final = "Krippendorff's alpha, ordinal"
FLEISS: Final = "Fleiss' kappa"
FEWEST: Final = 40
"""Patients and reports, for an interval: of 20, alpha's excluded 0 in 12 % of studies in which readers rated at random,
of 40 in 5 % (`python -m benchmarks.no_effect`)."""
Statistic = Callable[[Ints], float]


@dataclass(frozen=True)
class Agreement:
    """Agreement of some readers on one question."""

    question: str
    statistic: str
    """Which coefficient, in words."""
    readers: tuple[str, ...]
    images: int
    """Images that all of them answered for, or two of them for alpha; the others have no part in it."""
    observed: float | None
    """Share of pairs of answers to one image that are equal; None without an image."""
    kappa: Estimate | None
    """The coefficient; None where it is undefined."""
    undefined: str
    """Why it is undefined; empty where it is not."""


def agreements(
    question: str, readers: Sequence[str], answers: Ints, *, clusters: Ints, categories: int, ordinal: bool
) -> tuple[Agreement, ...]:
    """Cohen's kappa of each two readers, and where there are three or more, coefficients of all first.

    Args:
        answers: int[readers, images] from 0 to `categories` - 1, or MISSING.
        clusters: int[images]: images of one patient or report are no independent evidence. Each cluster is left out in
            turn for the interval (the jackknife, of kappas: Fleiss and Davies 1982); of few there is none.
        ordinal: the order of the answers counts: alpha is of ordinal data (Krippendorff 2011), and Cohen's kappa
            weighs disagreement by its square (Cohen 1968). Fleiss' kappa (1971) knows no order.
    """
    found = []
    everybody = tuple(readers)
    if len(readers) > 2:
        if ordinal:
            compared = (answers != MISSING).sum(axis=0) > 1
            found.append(_agreement(question, ALPHA, everybody, answers[:, compared], clusters[compared], _alpha))
        common = (answers != MISSING).all(axis=0)
        fleiss = _fleiss(categories)
        found.append(_agreement(question, FLEISS, everybody, answers[:, common], clusters[common], fleiss))
    weighted = "Cohen's kappa, quadratic weights" if ordinal else "Cohen's kappa"
    for first, second in combinations(range(len(readers)), 2):
        pair = answers[[first, second]]
        common = (pair != MISSING).all(axis=0)
        names = (readers[first], readers[second])
        cohen = _cohen(categories, ordinal)
        found.append(_agreement(question, weighted, names, pair[:, common], clusters[common], cohen))
    return tuple(found)


def _agreement(
    question: str, name: str, readers: tuple[str, ...], answers: Ints, clusters: Ints, statistic: Statistic
) -> Agreement:
    images, why, kappa = answers.shape[1], "", None
    if images < 2:
        why = f"{images} images were answered by all of these readers, and two are the least"
    elif _is_constant(answers):
        why = "every answer is the same, so that chance alone would agree as much"
    else:
        kappa = _jackknife(answers, clusters, statistic)
    return Agreement(question, name, readers, images, _observed(answers), kappa, why)


def _jackknife(answers: Ints, clusters: Ints, statistic: Statistic) -> Estimate:
    """With the interval of its pseudo-values (Tukey 1958); without one for few clusters, or where it is undefined for
    all but one."""
    whole, known = statistic(answers), np.unique(clusters)
    left = [answers[:, clusters != cluster] for cluster in known]
    if len(known) < FEWEST or any(some.shape[1] < 2 or _is_constant(some) for some in left):
        return Estimate(whole, -np.inf, np.inf)
    n = len(known)
    pseudo_values = np.array([n * whole - (n - 1) * statistic(some) for some in left])
    low, high = cluster_interval(pseudo_values, np.ones(n))
    return Estimate(whole, float(low), float(high))


def _is_constant(answers: Ints) -> bool:
    """Whether all answers are the same. Only then is agreement by chance complete and every kappa here undefined."""
    given = answers[answers != MISSING]
    return bool((given == given[0]).all())


def _observed(answers: Ints) -> float | None:
    pairs = [(one == other)[(one != MISSING) & (other != MISSING)] for one, other in combinations(answers, 2)]
    return float(np.mean(np.concatenate(pairs))) if answers.size else None


def _cohen(categories: int, ordinal: bool) -> Statistic:
    from statsmodels.stats.inter_rater import cohens_kappa

    def kappa(answers: Ints) -> float:
        table = np.bincount(answers[0] * categories + answers[1], minlength=categories**2)
        square: npt.NDArray[np.int64] = table.reshape(categories, categories)
        return float(cohens_kappa(square, wt="quadratic" if ordinal else None, return_results=False))

    return kappa


def _fleiss(categories: int) -> Statistic:
    from statsmodels.stats.inter_rater import fleiss_kappa

    def kappa(answers: Ints) -> float:
        counts = np.stack([(answers == category).sum(axis=0) for category in range(categories)], axis=1)
        return float(fleiss_kappa(counts, method="fleiss"))

    return kappa


def _alpha(answers: Ints) -> float:
    """Krippendorff's alpha for ordinal data, of answers int[readers, images] with at least two an image.

    His ordinal difference of two answers is that of their mean ranks among all answers, so that alpha is one minus the
    variance of the ranks within images over that of all: too little for a dependency of its own (a test compares it
    with his published example).
    """
    from scipy.stats import rankdata

    given = answers != MISSING
    ranks = np.full(answers.shape, np.nan)
    ranks[given] = rankdata(answers[given])
    within = np.nanvar(ranks, axis=0, ddof=1) * given.sum(axis=0)
    return float(1 - within.sum() / given.sum() / np.nanvar(ranks, ddof=1))
