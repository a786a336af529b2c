"""Means and shares with their 95 % intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from generation.cluster_interval import CONFIDENCE as CONFIDENCE
from generation.cluster_interval import FEWEST_CLUSTERS as FEWEST_CLUSTERS
from retrieval.arrays import Floats

RESAMPLES: Final = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval; without one, its ends are infinite."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return self.text()

    @property
    def has_interval(self) -> bool:
        """Whether there were enough patients to say how sure it is."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def text(self, *, digits: int = 3, sign: str = "") -> str:
        """The mean and its interval in digits; `sign` is "+" for differences. What rounds to zero has no minus."""
        mean, low, high = (
            f"{round(value, digits) + 0.0:{sign}.{digits}f}" for value in (self.mean, self.low, self.high)
        )
        return f"{mean} [{low}, {high}]" if self.has_interval else f"{mean} [no interval]"


def percentile_estimate(mean: float, resamples: Floats) -> Estimate:
    """A mean with the percentile interval (Efron 1979) of its values in resamples, float[r]."""
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(resamples, [tail, 100 - tail])
    return Estimate(mean=mean, low=float(low), high=float(high))


def bootstrap_mean(values: Floats, *, seed: int = 0) -> Estimate:
    """Mean of float[n] with its percentile-bootstrap interval, the same for the same seed."""
    rows = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    return percentile_estimate(float(values.mean()), values[rows].mean(axis=1))


def exact_interval(times: float, n: int) -> tuple[float, float]:
    """The exact 95 % interval of a share, `times` of n (Clopper and Pearson, Biometrika 1934).

    Where several answers were pooled to one, `times` need not be whole.
    """
    from scipy.special import betaincinv

    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(times, n - times + 1, tail)) if times else 0.0
    return low, float(betaincinv(times + 1, n - times, 1 - tail)) if times < n else 1.0
