"""Area under the ROC curve, a class against the others, as a mean over classes, with resampled patients."""

from __future__ import annotations

from typing import Final

import numpy as np

from retrieval.arrays import Bools, Floats, Ints
from retrieval.statistics.cluster_bootstrap import Average

DRAWS: Final = 500
"""Resamples of an area: each costs sorting's worth of sums for every class."""
_AT_ONCE: Final = 50


def macro_auroc(scores: Floats, classes: Ints, groups: Ints, rounds: Ints, *, seed: int = 0) -> Average:
    """The mean over the classes that occur of each one's area, of scores float[n, c] for classes int[n].

    An area is the chance that an image of the class scores higher than one of another class of the same round, ties
    halved: scores of different `rounds`, int[n], come from different models and are not compared. Whole
    `groups`, int[n], are drawn with replacement; a class that a draw lacks has no part in its mean. Averages of the
    same groups and seed see the same draws.
    """
    known, group = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = np.ones((DRAWS + 1, len(known)))  # the first is the sample itself
    for draw in drawn[1:]:
        draw[:] = np.bincount(rng.integers(len(known), size=len(known)), minlength=len(known))
    total, counted = np.zeros(DRAWS + 1), np.zeros(DRAWS + 1)
    for one in np.unique(classes):
        areas = _areas(scores[:, one], classes == one, group, rounds, drawn)
        there = np.isfinite(areas)
        total[there] += areas[there]
        counted[there] += 1
    means = total[counted > 0] / counted[counted > 0]
    if not counted[0]:
        raise ValueError("All images are of one class: there is nothing that an area could tell apart.")
    return Average(float(means[0]), means[1:])


def _areas(scores: Floats, positive: Bools, group: Ints, rounds: Ints, drawn: Floats) -> Floats:
    """The area in each draw, float[draws]; NaN where a draw holds no pair of the two kinds."""
    order = np.lexsort((scores, rounds))
    score, of_round = scores[order], rounds[order]
    new_round = np.diff(of_round, prepend=of_round[0] - 1) != 0
    starts = np.flatnonzero(new_round | (np.diff(score, prepend=-np.inf) != 0))  # of equal scores within a round
    first = np.flatnonzero(new_round[starts])  # of a round's
    sizes = np.diff(first, append=len(starts))
    of, is_positive = group[order], positive[order]
    areas = np.empty(len(drawn))
    for begin in range(0, len(drawn), _AT_ONCE):
        weights = drawn[begin : begin + _AT_ONCE][:, of]
        yes = np.add.reduceat(weights * is_positive, starts, axis=1)
        no = np.add.reduceat(weights * ~is_positive, starts, axis=1)
        yes_in, no_in = (np.add.reduceat(kind, first, axis=1) for kind in (yes, no))
        before = np.cumsum(no_in, axis=1) - no_in  # of the rounds before
        below = np.cumsum(no, axis=1) - no / 2 - np.repeat(before, sizes, axis=1)
        pairs = (yes_in * no_in).sum(axis=1)
        won = (yes * below).sum(axis=1)
        areas[begin : begin + _AT_ONCE] = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
    return areas
