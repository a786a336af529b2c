"""Nothing is called sure where there is no effect, in more than the stated 5 % of cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmarks.no_effect import SIMULATIONS, shares
from generation.cluster_interval import cluster_interval

STATED = 0.05


def at_most_stated(times: int, of: int) -> bool:
    """Whether the count agrees with a probability of 5 % or less; it would be called too high once in 10,000 runs."""
    return bool(binomtest(times, of, STATED, alternative="greater").pvalue > 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("patients", [2, 3, 5, 6, 11, 20])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "steps"])
def test_an_interval_over_few_patients_excludes_zero_no_more_often_than_stated(patients: int, kind: str) -> None:
    """Vectorised: 4000 sets of patients of unequal weight, whose deviations are symmetric, of whatever distribution."""
    rng = np.random.default_rng(patients)
    sets = 4000
    deviations = {
        "normal": rng.normal(size=(sets, patients)),
        "heavy tails": rng.standard_t(2, size=(sets, patients)),
        "steps": rng.integers(-1, 2, size=(sets, patients)).astype(float),
    }[kind]
    weights = rng.integers(1, 9, size=patients).astype(float)
    low, high = cluster_interval(deviations * weights, weights)
    sure = int(((low > 0) | (high < 0)).sum())
    assert at_most_stated(sure, sets)
    assert (sure == 0) == (patients < 6), "of few nothing is said; of more something is, now and then"


@pytest.mark.parametrize("name", SIMULATIONS)
def test_a_sentence_is_not_said_of_few(name: str) -> None:
    """The sentence itself, a few times; all of it is in the slow test."""
    rng = np.random.default_rng(1)
    assert at_most_stated(sum(SIMULATIONS[name](5, rng) for _ in range(40)), 40)


@pytest.mark.slow
def test_no_sentence_is_said_without_an_effect_more_often_than_stated() -> None:
    rounds = 400
    for name, found in shares(rounds, (2, 3, 5, 11, 20)).items():
        for share in found:
            assert at_most_stated(round(share * rounds), rounds), name


def test_an_effect_is_seen() -> None:
    """The intervals are no wider than needed: eight patients that agree are enough."""
    low, high = cluster_interval(np.full(8, 0.3) + np.linspace(-0.1, 0.1, 8), np.ones(8))
    assert 0.15 < low < 0.3 < high < 0.45
