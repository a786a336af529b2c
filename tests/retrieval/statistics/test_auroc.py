"""The area under the ROC curve against scikit-learn's, resample by resample."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from retrieval.statistics.auroc import RESAMPLES, macro_auroc

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
