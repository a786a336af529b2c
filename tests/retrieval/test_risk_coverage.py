"""Risk and coverage: by hand, and against random orders where queries are equally sure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.risk_coverage import risk_coverage


def test_by_hand() -> None:
    curve = risk_coverage("image", np.array([0.2, 0.9, 0.5, 0.7]), np.array([False, True, True, False]))
    assert curve.curve == ((0.25, 1.0), (0.5, 0.5), (0.75, pytest.approx(2 / 3)), (1.0, 0.5))
    assert curve.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert curve.accuracy["100"] == 0.5
    assert curve.accuracy["80"] == pytest.approx(2 / 3)
    assert (curve.thresholds["100"], curve.thresholds["80"]) == (0.2, 0.5)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=12))
def test_equally_sure_queries_are_in_no_order(answers: list[tuple[int, bool]]) -> None:
    sure, right = np.array([float(s) for s, _ in answers]), np.array([r for _, r in answers])
    curve = risk_coverage("x", sure, right)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(answers))
    assert risk_coverage("x", sure[order], right[order]) == curve
    assert curve.accuracy["100"] == pytest.approx(right.mean())
    assert 0 <= curve.aurc <= 1
    means = []
    for _ in range(300):
        shuffled = np.lexsort((rng.random(len(answers)), -sure))
        means.append(1 - np.mean(np.cumsum(right[shuffled]) / np.arange(1, len(answers) + 1)))
    assert curve.aurc == pytest.approx(np.mean(means), abs=0.1)
