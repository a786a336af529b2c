"""Intervals of means and shares: against simulation, and against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from retrieval.statistics.estimate import bootstrap_mean, exact_interval


def test_the_interval_covers_the_true_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(2)
    estimates = [bootstrap_mean(rng.binomial(10, 0.6, size=60) / 10) for _ in range(200)]
    covered = np.mean([e.low <= 0.6 <= e.high for e in estimates])
    assert 0.88 <= covered <= 0.99


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(3).random(50)
    assert bootstrap_mean(values, seed=7) == bootstrap_mean(values, seed=7)
    assert bootstrap_mean(values, seed=7) != bootstrap_mean(values, seed=8)


def test_an_estimate_reads_as_mean_and_interval() -> None:
    assert str(bootstrap_mean(np.ones(5))) == "1.000 [1.000, 1.000]"


@pytest.mark.parametrize(("times", "n"), [(0, 7), (1, 7), (3, 7), (7, 7), (0, 1), (40, 200)])
def test_the_exact_interval_is_that_of_statsmodels(times: int, n: int) -> None:
    assert exact_interval(times, n) == pytest.approx(proportion_confint(times, n, alpha=0.05, method="beta"))
