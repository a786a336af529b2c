"""The curves of abstention, against scikit-learn and against counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from retrieval.statistics.selective_prediction import abstention_curve, risk_coverage

SIMILARITIES = st.lists(st.integers(0, 20).map(lambda i: i / 20), min_size=1, max_size=30).map(np.array)


@given(SIMILARITIES, SIMILARITIES)
def test_the_area_is_scikit_learns_and_the_shares_are_counted(known: np.ndarray, unknown: np.ndarray) -> None:
    curve = abstention_curve(known, unknown)
    truth = np.repeat([0, 1], [len(known), len(unknown)])
    assert curve.auroc == pytest.approx(roc_auc_score(truth, -np.concatenate([known, unknown])), abs=1e-9)
    for threshold, of_unknown, of_known in zip(
        curve.thresholds, curve.flagged_unknown, curve.flagged_known, strict=True
    ):
        assert of_unknown == (unknown < threshold).mean()
        assert of_known == (known < threshold).mean()


@given(SIMILARITIES, st.integers(0, 1000))
def test_risk_is_the_mean_loss_of_those_answered(similarities: np.ndarray, seed: int) -> None:
    losses = np.random.default_rng(seed).integers(0, 4, size=len(similarities)) / 3
    curve = risk_coverage(similarities, losses)
    for threshold, coverage, risk in zip(curve.thresholds, curve.coverage, curve.risk, strict=True):
        answered = similarities >= threshold
        assert coverage == pytest.approx(answered.mean())
        assert risk == pytest.approx(losses[answered].mean())
    assert curve.coverage[-1] == 1
    order = np.random.default_rng(seed).permutation(len(losses))
    assert risk_coverage(similarities[order], losses[order]).aurc == pytest.approx(curve.aurc)


def test_abstention_by_chance_keeps_the_risk_and_a_perfect_one_lowers_it() -> None:
    losses = np.array([0.0, 0.0, 0.0, 1.0])
    assert risk_coverage(np.ones(4), losses).aurc == 0.25
    assert risk_coverage(np.array([0.9, 0.8, 0.7, 0.1]), losses).aurc == pytest.approx(0.25 / 4)


def test_nothing_to_draw_is_reported() -> None:
    with pytest.raises(ValueError, match="at least one of each"):
        abstention_curve(np.array([]), np.array([0.5]))
    with pytest.raises(ValueError, match="give one of each a query"):
        risk_coverage(np.array([0.5]), np.array([]))
    with pytest.raises(ValueError, match="give one of each a query"):
        risk_coverage(np.array([]), np.array([]))
    with pytest.raises(ValueError, match="at least one of each"):
        abstention_curve(np.array([0.5]), np.array([]))


def test_the_area_under_the_risk_is_the_mean_over_all_numbers_of_answers() -> None:
    """Those of equal similarity are answered together, at their mean loss."""
    curve = risk_coverage(np.array([0.5, 0.9, 0.5, 0.1]), np.array([1.0, 0.0, 0.5, 1.0]))
    assert curve.thresholds.tolist() == [0.9, 0.5, 0.1]
    assert curve.coverage.tolist() == [0.25, 0.75, 1.0]
    assert curve.risk.tolist() == pytest.approx([0, 0.5, 0.625])
    assert curve.aurc == pytest.approx((0 + 0.375 + 0.5 + 0.625) / 4)
    known = abstention_curve(np.array([0.5, 0.9]), np.array([0.1, 0.5, 0.95]))
    assert known.thresholds.tolist() == [0.1, 0.5, 0.9, 0.95]
    assert known.auroc == pytest.approx((2 + 1.5 + 0) / 6)
