"""Agreement of readers beyond chance: Cohen's kappa of two, Fleiss' kappa of more, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Ints
from retrieval.statistics.cluster_bootstrap import Average
from retrieval.statistics.estimate import RESAMPLES, Estimate

MISSING: Final = -1
Statistic = Callable[[Ints], float]


@dataclass(frozen=True)
class Agreement:
    """Agreement of some readers on one question."""

    question: str
    statistic: str
    """Which kappa, in words."""
    readers: tuple[str, ...]
    images: int
    """Images that all of them answered for; the others have no part in it."""
    observed: float | None
    """Share of pairs of answers to one image that are equal; None without an image."""
    kappa: Estimate | None
    """None where it is undefined."""
    undefined: str
    """Why kappa is undefined; empty where it is not."""
    resamples_left_out: int
    """Resamples that kappa is undefined for, which have no part in its interval."""


def agreements(
    question: str, readers: Sequence[str], answers: Ints, *, categories: int, ordinal: bool, seed: int = 0
) -> tuple[Agreement, ...]:
    """Cohen's kappa of each two readers, and where there are three or more, Fleiss' of all first.

    Args:
        answers: int[readers, images] from 0 to `categories` - 1, or MISSING.
        ordinal: weight disagreement by its square (Cohen 1968; Fleiss and Cohen 1973). Fleiss' kappa (1971) takes
            every disagreement for the same.
    """
    weighted = "Cohen's kappa, quadratic weights" if ordinal else "Cohen's kappa"
    found = []
    if len(readers) > 2:
        statistic = _fleiss(categories)
        found.append(_agreement(question, "Fleiss' kappa", tuple(readers), answers, statistic, seed))
    for first, second in combinations(range(len(readers)), 2):
        pair = answers[[first, second]]
        names = (readers[first], readers[second])
        found.append(_agreement(question, weighted, names, pair, _cohen(categories, ordinal), seed))
    return tuple(found)


def _agreement(
    question: str, name: str, readers: tuple[str, ...], answers: Ints, statistic: Statistic, seed: int
) -> Agreement:
    common = answers[:, (answers != MISSING).all(axis=0)]
    images = common.shape[1]
    if images < 2:
        why = f"{images} images were answered by all of these readers, and two are the least"
        return Agreement(question, name, readers, images, _observed(common), None, why, 0)
    if _is_constant(common):
        why = "every answer is the same, so that chance alone would agree as much"
        return Agreement(question, name, readers, images, _observed(common), None, why, 0)
    resamples = np.random.default_rng(seed).integers(images, size=(RESAMPLES, images))
    values = [statistic(common[:, sample]) for sample in resamples if not _is_constant(common[:, sample])]
    kappa = Average(statistic(common), np.array(values)).estimate
    return Agreement(question, name, readers, images, _observed(common), kappa, "", RESAMPLES - len(values))


def _is_constant(answers: Ints) -> bool:
    """Whether all answers are the same. Only then is agreement by chance complete and every kappa here undefined."""
    return bool((answers == answers[0, 0]).all())


def _observed(answers: Ints) -> float | None:
    pairs = [answers[first] == answers[second] for first, second in combinations(range(len(answers)), 2)]
    return float(np.mean(pairs)) if answers.size else None


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
