"""Area under the ROC curve, a class against the others, as a mean over classes, with resampled groups.

`sklearn.metrics.roc_auc_score` with `sample_weight` gives the same areas (a test compares them) but sorts anew for each
resample, class and round: some 80 to 120 seconds for 500 to 2,000 images on one core, where sorting once and summing
weights takes 0.2 to 1 second.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from retrieval.arrays import Bools, Floats, Ints
from retrieval.statistics.cluster_bootstrap import Average
from retrieval.statistics.contributions import Shares

RESAMPLES: Final = 500
"""Fewer than of other figures: each costs a cumulative sum over all images for every class."""
_AT_ONCE: Final = 50


def macro_auroc(scores: Floats, classes: Ints, groups: Ints, rounds: Ints, *, seed: int = 0) -> Average:
    """The mean over the classes that occur of each one's area.

    An area is the probability that an image of the class scores higher than one of another class of the same round,
    ties counting half. Averages of the same groups and seed see the same resamples.

    Args:
        scores: float[n, c].
        classes: int[n], from 0 to c - 1.
        groups: int[n], such as patients: whole groups are resampled with replacement. A class that lacks positives or
            negatives in a resample has no part in that resample's mean.
        rounds: int[n]. Scores of different rounds come from different models and are not compared.
        seed: of the resamples.

    Raises ValueError where all images are of one class.
    """
    known, group = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    n = len(known)
    # How often each group occurs: in the sample itself, in resamples, and in the sample without one group each.
    weights = np.concatenate([np.ones((RESAMPLES + 1, n)), 1 - np.eye(n)])
    for resample in weights[1 : RESAMPLES + 1]:
        resample[:] = np.bincount(rng.integers(n, size=n), minlength=n)
    total, counted = np.zeros(len(weights)), np.zeros(len(weights))
    for label in np.unique(classes):
        areas = _areas(scores[:, label], classes == label, group, rounds, weights)
        defined = np.isfinite(areas)
        total[defined] += areas[defined]
        counted[defined] += 1
    if not counted[0]:
        raise ValueError("All images are of one class: there is nothing that an area could tell apart.")
    means = np.divide(total, counted, out=np.full(len(total), np.nan), where=counted > 0)
    resampled, without = np.split(means[1:], [RESAMPLES])
    # What a group contributes is its pseudo-value (the jackknife; Tukey 1958), which only approximates what holds for
    # few: no sentence rests on a difference of areas. A group without which nothing is told apart has no part in it.
    pseudo_values = np.where(np.isnan(without), 0.0, n * means[0] - (n - 1) * without)
    shares = Shares(pseudo_values, (~np.isnan(without)).astype(np.float64))
    return Average(float(means[0]), resampled[~np.isnan(resampled)], lambda: shares)


def _areas(scores: Floats, positive: Bools, group: Ints, rounds: Ints, weights: Floats) -> Floats:
    """The area in each resample, float[r], with the groups' weights float[r, groups]; NaN where there is no pair of
    positive and negative in a round.

    It is the Mann-Whitney statistic over pairs within rounds: for each distinct score, its positives win against the
    negatives below it and half of those equal to it.
    """
    order = np.lexsort((scores, rounds))
    score, round_of = scores[order], rounds[order]
    new_round = np.diff(round_of, prepend=round_of[0] - 1) != 0
    starts = np.flatnonzero(new_round | (np.diff(score, prepend=-np.inf) != 0))  # of equal scores within a round
    first = np.flatnonzero(new_round[starts])  # of each round
    sizes = np.diff(first, append=len(starts))
    group_of, is_positive = group[order], positive[order]
    areas = np.empty(len(weights))
    for begin in range(0, len(weights), _AT_ONCE):
        of_image = weights[begin : begin + _AT_ONCE][:, group_of]
        positives = np.add.reduceat(of_image * is_positive, starts, axis=1)
        negatives = np.add.reduceat(of_image * ~is_positive, starts, axis=1)
        positives_in, negatives_in = (np.add.reduceat(kind, first, axis=1) for kind in (positives, negatives))
        earlier = np.cumsum(negatives_in, axis=1) - negatives_in  # in the rounds before
        below = np.cumsum(negatives, axis=1) - negatives / 2 - np.repeat(earlier, sizes, axis=1)
        pairs = (positives_in * negatives_in).sum(axis=1)
        won = (positives * below).sum(axis=1)
        areas[begin : begin + _AT_ONCE] = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
    return areas
