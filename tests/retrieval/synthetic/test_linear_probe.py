"""The linear probe, and the area under the curve against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import PredefinedSplit

from retrieval.statistics.auroc import macro_auroc
from retrieval.synthetic.linear_probe import STRENGTHS, train_probe
from tests.retrieval.labelled_archive import unit


def blobs(count: int, seed: int, *, categories: int = 3, dim: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = unit(np.random.default_rng(99).normal(size=(categories, dim)))
    classes = rng.choice(categories, count, p=[0.7, 0.2, 0.1])
    return unit(centres[classes] + 0.6 * rng.normal(size=(count, dim))), classes


def test_every_class_weighs_alike() -> None:
    """Repeating the images of one class changes nothing: neither its weight nor the penalty's."""
    vectors, classes = blobs(200, 0)
    rare = np.flatnonzero(classes == 2)
    more = np.concatenate([np.arange(200), rare, rare])
    others, _ = blobs(50, 1)
    once = train_probe(vectors, classes, np.arange(200), 3, strengths=[50.0])
    thrice = train_probe(vectors[more], classes[more], more, 3, strengths=[50.0])
    assert once.probabilities(others) == pytest.approx(thrice.probabilities(others), abs=2e-3)
    assert (once.probabilities(others).argmax(axis=1) == blobs(50, 1)[1]).mean() > 0.6


def test_a_class_that_was_not_trained_on_is_never_predicted() -> None:
    vectors, classes = blobs(60, 2)
    probe = train_probe(vectors, classes * 2, np.arange(60), 6)
    made = probe.probabilities(vectors)
    assert made.shape == (60, 6)
    assert (made[:, [1, 3, 5]] == 0).all()
    assert made.sum(axis=1) == pytest.approx(1)


def test_the_penalty_is_chosen_on_groups_left_out() -> None:
    """Each group has a mark of its own that tells its class: where groups are left out the mark is of no use."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 10)
    classes = np.repeat(rng.permutation(30) % 2, 10)
    marks = unit(rng.normal(size=(30, 40)))[groups]
    vectors = unit(marks + 0.02 * rng.normal(size=marks.shape))
    by_group = train_probe(vectors, classes, groups, 2)
    by_image = train_probe(vectors, classes, np.arange(300), 2)
    assert by_group.strength < by_image.strength


def test_one_class_or_one_group_can_be_trained_on_and_nothing_cannot() -> None:
    vectors, classes = blobs(20, 3)
    alone = train_probe(vectors, np.zeros(20, dtype=int), np.arange(20), 3)
    assert alone.probabilities(vectors)[:, 0] == pytest.approx(1)
    assert train_probe(vectors, classes, np.zeros(20, dtype=int), 3).probabilities(vectors).shape == (20, 3)
    with pytest.raises(ValueError, match="no images"):
        train_probe(vectors[:0], classes[:0], classes[:0], 3)


def test_an_image_a_class_is_enough_and_no_warning() -> None:
    vectors = unit(np.random.default_rng(0).normal(size=(30, 64)))
    probe = train_probe(vectors, np.arange(30), np.arange(30), 30, strengths=[1000.0])
    assert (probe.probabilities(vectors).argmax(axis=1) == np.arange(30)).all()


def test_the_area_is_scikit_learns_within_one_round() -> None:
    rng = np.random.default_rng(0)
    classes = np.arange(120) % 4
    scores = np.round(rng.random((120, 4)) + 0.4 * np.eye(4)[classes], 1)  # with ties
    one_round = np.zeros(120, dtype=int)
    expected = np.mean([roc_auc_score(classes == one, scores[:, one]) for one in range(4)])
    area = macro_auroc(scores, classes, np.arange(120), one_round)
    assert area.mean == pytest.approx(expected)
    assert area.estimate.low < area.mean < area.estimate.high
    assert macro_auroc(np.eye(4)[classes], classes, np.arange(120), one_round).mean == 1.0


def test_rounds_are_not_compared_with_each_other() -> None:
    """The second round's scores all lie higher, positives' and negatives' alike: within it they are as good."""
    rng = np.random.default_rng(1)
    classes = np.arange(80) % 2
    scores = rng.random((80, 2)) + 0.3 * np.eye(2)[classes]
    rounds = np.repeat([0, 1], 40)
    apart = macro_auroc(scores, classes, np.arange(80), rounds).mean
    shifted = macro_auroc(scores + 5.0 * rounds[:, None], classes, np.arange(80), rounds).mean
    assert apart == pytest.approx(shifted)
    parts = [[roc_auc_score(classes[r] == c, scores[r, c]) for c in (0, 1)] for r in (rounds == 0, rounds == 1)]
    assert apart == pytest.approx(np.mean(parts))  # rounds of one size, so that the pairs weigh alike
    with pytest.raises(ValueError, match="one class"):
        macro_auroc(scores, np.zeros(80, dtype=int), np.arange(80), rounds)


def test_the_penalty_has_the_least_held_out_loss_of_an_independent_count() -> None:
    """Group by group, with scikit-learn's own folds, scores and weights, in which rare classes count as much."""
    rng = np.random.default_rng(4)
    vectors, classes = blobs(150, 5)
    groups = rng.integers(0, 15, 150)
    strengths = [1.0, 30.0, 1000.0]
    for seed in range(4):
        probe = train_probe(vectors, classes, groups, 3, strengths=strengths, seed=seed)
        folds = PredefinedSplit(np.random.default_rng(seed).permutation(15)[groups] % 3)
        losses = []
        for strength in strengths:
            likelihood = np.empty(150)
            for train, test in folds.split():
                model = LogisticRegression(C=strength / len(train), class_weight="balanced", max_iter=1000)
                predicted = model.fit(vectors[train], classes[train]).predict_proba(vectors[test])
                likelihood[test] = np.log(predicted[np.arange(len(test)), classes[test]])
            losses.append(log_loss_by_class(classes, likelihood))
        assert probe.strength == strengths[int(np.argmin(losses))], losses


def log_loss_by_class(classes: np.ndarray, likelihood: np.ndarray) -> float:
    return float(np.mean([-likelihood[classes == label].mean() for label in np.unique(classes)]))


def test_two_groups_are_two_folds() -> None:
    """Each is held out once, and a class that only one of them has costs a bounded loss."""
    vectors, classes = blobs(60, 6)
    groups = (classes == 2).astype(int)
    probe = train_probe(vectors, classes, groups, 3)
    assert probe.strength in STRENGTHS
    assert probe.strength == train_probe(vectors, classes, 1 - groups, 3).strength


def test_where_nothing_can_be_held_out_the_penalty_is_the_middle_one() -> None:
    vectors, classes = blobs(30, 7)
    strengths = [1.0, 2.0, 3.0, 4.0, 5.0]
    one_class, one_group = np.zeros_like(classes), np.zeros_like(classes)
    assert train_probe(vectors, one_class, np.arange(len(vectors)), 3, strengths=strengths).strength == 3.0
    assert train_probe(vectors, classes, one_group, 3, strengths=strengths).strength == 3.0
