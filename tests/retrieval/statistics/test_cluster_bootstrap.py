"""Macro averages and their intervals, against the same thing done slowly."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from retrieval.statistics.cluster_bootstrap import MacroBootstrap
from retrieval.statistics.estimate import RESAMPLES

RNG = np.random.default_rng(0)
PATIENTS = np.sort(RNG.integers(0, 15, 40)) * 3
CLASSES = (PATIENTS // 3 + RNG.integers(0, 2, 40)) % 4
ALL = [np.arange(4), np.array([1, 2])]


def slow_mean(values: np.ndarray, classes: np.ndarray, part: np.ndarray) -> float:
    return float(np.mean([values[classes == c].mean() for c in part if (classes == c).any()]))


@pytest.mark.slow
def test_the_mean_and_its_interval_are_those_of_resampled_patients() -> None:
    values = RNG.random(40)
    averages = MacroBootstrap(PATIENTS, CLASSES, 4, seed=7).mean({"x": values}, ALL)["x"]
    known = np.unique(PATIENTS)
    rng = np.random.default_rng(7)
    draws = [known[rng.integers(len(known), size=len(known))] for _ in range(RESAMPLES)]
    for part, average in zip(ALL, averages, strict=True):
        estimate = average.estimate
        assert estimate.mean == pytest.approx(slow_mean(values, CLASSES, part))
        means = []
        for draw in draws:
            rows = np.concatenate([np.flatnonzero(p == PATIENTS) for p in draw])
            means.append(slow_mean(values[rows], CLASSES[rows], part))
        assert [estimate.low, estimate.high] == pytest.approx(np.percentile(means, [2.5, 97.5]))


def test_f1_is_macro_f1() -> None:
    predicted = RNG.integers(0, 4, 40)
    whole = MacroBootstrap(PATIENTS, CLASSES, 4).f1({"vote": predicted}, ALL)["vote"][0].estimate
    assert whole.mean == pytest.approx(f1_score(CLASSES, predicted, average="macro", zero_division=0))
    assert whole.low < whole.mean < whole.high
    (expected, _) = MacroBootstrap(PATIENTS, CLASSES, 4).expected_f1(np.stack([predicted, predicted]), ALL)
    assert expected.mean == expected.low == expected.high == pytest.approx(whole.mean)


def test_patients_who_agree_count_as_one_witness() -> None:
    """Twenty images of each of four patients are no eighty patients: the interval must not shrink."""
    values, patients = np.array([0.0, 1.0, 0.0, 1.0]), np.arange(4)
    once, many = (
        MacroBootstrap(np.repeat(patients, n), np.zeros(4 * n, dtype=int), 1)
        .mean({"x": np.repeat(values, n)}, [np.array([0])])["x"][0]
        .estimate
        for n in (1, 20)
    )
    assert (many.low, many.high) == pytest.approx((once.low, once.high))


def test_a_difference_is_paired_draw_by_draw() -> None:
    """Two rankings that differ by a constant differ by it in every draw, however wide the interval of each is."""
    values = RNG.random(40)
    bootstrap = MacroBootstrap(PATIENTS, CLASSES, 4, seed=1)
    made = bootstrap.mean({"a": values + 0.25, "b": values, "c": values[::-1].copy()}, ALL)
    difference = made["a"][0].minus(made["b"][0])
    assert [difference.mean, difference.low, difference.high] == pytest.approx([0.25] * 3)
    assert made["a"][0].estimate.high - made["a"][0].estimate.low > 0.05
    other = made["a"][0].minus(made["c"][0])
    assert other.low < other.mean < other.high
    assert other.mean == pytest.approx(made["a"][0].mean - made["c"][0].mean)


def test_the_interval_of_a_difference_of_ratios_is_that_of_exchanged_patients() -> None:
    """Eight patients: all 255 exchanges, and none and all of them."""
    rng = np.random.default_rng(5)
    patients, classes = np.repeat(np.arange(8), 3), rng.integers(0, 3, 24)
    guesses = {
        name: np.where(rng.random(24) < right, classes, rng.integers(0, 3, 24))
        for name, right in (("a", 0.8), ("b", 0.4))
    }
    made = MacroBootstrap(patients, classes, 3).f1(guesses, [np.arange(3)])

    def macro(predicted: np.ndarray) -> float:
        hits = np.bincount(classes[predicted == classes], minlength=3)
        return float(np.mean(2 * hits / (np.bincount(classes, minlength=3) + np.bincount(predicted, minlength=3))))

    observed = macro(guesses["a"]) - macro(guesses["b"])
    differences = [observed, -observed]
    for kept in range(1, 256):
        own = np.array([kept >> patient & 1 for patient in patients]) == 1
        differences.append(
            macro(np.where(own, guesses["a"], guesses["b"])) - macro(np.where(own, guesses["b"], guesses["a"]))
        )
    reach = sorted(map(abs, differences), reverse=True)[int(0.05 * 257)]
    found = made["a"][0].minus(made["b"][0])
    assert [found.mean, found.low, found.high] == pytest.approx([observed, observed - reach, observed + reach])


@pytest.mark.parametrize(("patients", "sure"), [(5, False), (6, True), (7, True)])
def test_of_fewer_than_six_patients_no_difference_is_sure(patients: int, sure: bool) -> None:
    classes = np.arange(2 * patients) % 2
    bootstrap = MacroBootstrap(np.arange(2 * patients) // 2, classes, 2)
    ratios = bootstrap.f1({"right": classes, "wrong": 1 - classes}, [np.arange(2)])
    means = bootstrap.mean({"right": np.ones(2 * patients), "wrong": np.zeros(2 * patients)}, [np.arange(2)])
    for made in (ratios, means):
        difference = made["right"][0].minus(made["wrong"][0])
        assert difference.mean == 1
        assert difference.has_interval == sure
        assert (difference.low > 0) == sure
    with pytest.raises(TypeError, match="no difference"):
        ratios["right"][0].minus(means["right"][0])


def test_expectations_are_plain_means_without_an_interval() -> None:
    values = RNG.random(40)
    for part, made in zip(ALL, MacroBootstrap(PATIENTS, CLASSES, 4).expected_mean(values, ALL), strict=True):
        assert made.mean == made.low == made.high == pytest.approx(slow_mean(values, CLASSES, part))
    predictions = RNG.integers(0, 4, (3, 40))
    by_hand = [f1_score(CLASSES, one, average=None, labels=range(4), zero_division=0) for one in predictions]
    for part, made in zip(ALL, MacroBootstrap(PATIENTS, CLASSES, 4).expected_f1(predictions, ALL), strict=True):
        assert made.mean == made.low == made.high == pytest.approx(np.mean([scores[part] for scores in by_hand]))
