"""The area under the ROC curve against scikit-learn's, resample by resample."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from retrieval.statistics.auroc import RESAMPLES, macro_auroc
from retrieval.statistics.contributions import Shares

N, CLASSES, SEED = 60, 3, 5


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores with many ties, classes, groups of uneven size and two rounds of uneven size."""
    rng = np.random.default_rng(3)
    classes = rng.choice(CLASSES, N, p=[0.6, 0.3, 0.1])
    scores = (rng.integers(0, 5, (N, CLASSES)) + 2 * np.eye(CLASSES)[classes]).round() / 7
    return scores, classes, rng.integers(0, 12, N) * 10, (rng.random(N) < 0.3).astype(int)


def area(scores: np.ndarray, positive: np.ndarray, rounds: np.ndarray, weights: np.ndarray) -> float:
    """scikit-learn's of each round, averaged by the weight of the round's pairs; NaN where there are none."""
    won = pairs = 0.0
    for number in np.unique(rounds):
        here = (rounds == number) & (weights > 0)
        of_round = weights[here & positive].sum() * weights[here & ~positive].sum()
        if of_round:
            won += of_round * roc_auc_score(positive[here], scores[here], sample_weight=weights[here])
            pairs += of_round
    return won / pairs if pairs else np.nan


@pytest.mark.slow
def test_each_resample_has_scikit_learns_area() -> None:
    scores, classes, groups, rounds = data()
    average = macro_auroc(scores, classes, groups, rounds, seed=SEED)
    known = np.unique(groups)
    rng = np.random.default_rng(SEED)
    assert len(average.resamples) == RESAMPLES
    for number in range(-1, 40):
        if number < 0:
            weights = np.ones(N)
        else:
            resample = known[rng.integers(len(known), size=len(known))]
            weights = np.array([(resample == group).sum() for group in groups], dtype=float)
        areas = [area(scores[:, label], classes == label, rounds, weights) for label in range(CLASSES)]
        found = average.mean if number < 0 else average.resamples[number]
        assert found == pytest.approx(np.nanmean(areas))


def test_images_of_one_group_count_as_one_witness() -> None:
    """Three copies of every image in its own group leave the interval as it is."""
    single, triple = (
        macro_auroc(*(np.repeat(values, copies, axis=0) for values in data()), seed=SEED).estimate for copies in (1, 3)
    )
    assert (triple.mean, triple.low, triple.high) == pytest.approx((single.mean, single.low, single.high))


def test_images_of_one_class_have_no_area() -> None:
    with pytest.raises(ValueError, match="All images are of one class"):
        macro_auroc(np.ones((4, 2)), np.ones(4, dtype=int), np.arange(4), np.zeros(4, dtype=int))
    # Of two classes in two rounds, one each, there is no pair either.
    with pytest.raises(ValueError, match="All images are of one class"):
        macro_auroc(np.ones((4, 2)), np.array([0, 0, 1, 1]), np.arange(4), np.array([0, 0, 1, 1]))


def test_what_a_group_contributes_is_its_pseudo_value() -> None:
    """n times the mean less n - 1 times the mean without it; a group that all pairs need has no part."""
    scores, classes, groups, rounds = data()
    average = macro_auroc(scores, classes, groups, rounds, seed=SEED)
    shares = average.contributions
    assert isinstance(shares, Shares)
    known = np.unique(groups)
    assert shares.weights.tolist() == [1] * len(known)
    for number, left_out in list(enumerate(known))[::5]:
        weights = (groups != left_out).astype(float)
        areas = [area(scores[:, label], classes == label, rounds, weights) for label in range(CLASSES)]
        expected = len(known) * average.mean - (len(known) - 1) * np.nanmean(areas)
        assert shares.sums[number] == pytest.approx(expected)
    alone = macro_auroc(np.eye(2)[[0, 1, 1]], np.array([0, 1, 1]), np.array([5, 6, 7]), np.zeros(3, dtype=int))
    assert isinstance(alone.contributions, Shares)
    assert alone.contributions.weights.tolist() == [0, 1, 1]
    assert alone.contributions.sums.tolist() == [0, 1, 1]
    assert len(alone.resamples) < RESAMPLES == 500, "those without a pair are no part of the interval"
