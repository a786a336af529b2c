"""Intervals of means and shares: against simulation, and against statsmodels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from retrieval.statistics.estimate import Estimate, bootstrap_mean, exact_interval, percentile_estimate


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


def test_a_resample_draws_as_many_values_2000_times() -> None:
    values = np.random.default_rng(4).random(9)
    rng = np.random.default_rng(0)
    means = [np.mean([values[row] for row in rng.integers(9, size=9)]) for _ in range(2000)]
    estimate = bootstrap_mean(values)
    assert [estimate.mean, estimate.low, estimate.high] == pytest.approx(
        [values.mean(), *np.quantile(means, [0.025, 0.975])]
    )
    ranks = percentile_estimate(500.0, np.arange(1001.0))
    assert (ranks.low, ranks.mean, ranks.high) == pytest.approx((25, 500, 975))


@pytest.mark.parametrize(
    ("estimate", "options", "text"),
    [
        (Estimate(0.5, 0.25, 0.75), {}, "0.500 [0.250, 0.750]"),
        (Estimate(-0.0004, -0.0004, 0.0004), {}, "0.000 [0.000, 0.000]"),  # no minus
        (Estimate(0.06, -0.06, 0.14), {"digits": 1, "sign": "+"}, "+0.1 [-0.1, +0.1]"),
        (Estimate(-0.04, -0.04, 0.04), {"digits": 1, "sign": "+"}, "+0.0 [+0.0, +0.0]"),
        (Estimate(0.5, -np.inf, np.inf), {}, "0.500 [no interval]"),
        (Estimate(0.5, -np.inf, 0.75), {}, "0.500 [no interval]"),
        (Estimate(0.5, 0.25, np.inf), {}, "0.500 [no interval]"),
    ],
)
def test_an_estimate_in_words(estimate: Estimate, options: dict[str, Any], text: str) -> None:
    assert estimate.text(**options) == text
    assert estimate.has_interval == ("no interval" not in text)
