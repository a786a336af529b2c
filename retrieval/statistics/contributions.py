"""What single patients contribute to an average, from which the interval of a difference of two averages is made.

Percentiles of resampled patients are too narrow where there are few: such a difference is called sure too often. The
intervals here hold 0 in at least 95 % of cases where the two averages are exchangeable, that is, differ by chance
alone, however few patients there are (`python -m benchmarks.no_effect`). Of fewer than six there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from generation.cluster_interval import CONFIDENCE, FEWEST_CLUSTERS, PORTIONS, cluster_interval, subsets
from retrieval.arrays import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class Shares:
    """Of a mean over n patients: Σ sums / Σ weights, both float[n]. A patient of weight 0 has no part in it."""

    sums: Floats
    weights: Floats

    def interval(self, other: Shares) -> tuple[float, float]:
        """Of the difference from another mean of the same weights: sign flips of patients, see `cluster_interval`."""
        taking_part = (self.weights > 0) & (other.weights > 0)
        low, high = cluster_interval((self.sums - other.sums)[taking_part], self.weights[taking_part])
        return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Ratios:
    """Of a mean of c ratios, such as F1 of c categories, whose parts are sums over n patients, sparse [c, n] each."""

    numerators: csr_array
    denominators: csr_array

    @property
    def mean(self) -> float:
        """The mean of the ratios."""
        return float(_mean_ratio(self.numerators.sum(axis=1)[:, None], self.denominators.sum(axis=1)[:, None])[0])

    def interval(self, other: Ratios) -> tuple[float, float]:
        """Of the difference from another mean, by a permutation test: the two are exchanged patient by patient, and it
        reaches as far as 95 % of such differences lie from 0. It holds 0 exactly where the test finds none.
        """
        difference = self.mean - other.mean
        taking_part = np.flatnonzero(self.denominators.sum(axis=0) + other.denominators.sum(axis=0))
        if len(taking_part) < FEWEST_CLUSTERS:
            return -np.inf, np.inf
        mine, theirs = ((one.numerators[:, taking_part], one.denominators[:, taking_part]) for one in (self, other))
        found = [np.array([difference, -difference])]  # nobody's and everybody's exchanged
        for part in np.array_split(subsets(len(taking_part)), PORTIONS):
            kept = part.T.astype(np.float64)
            first, second = (
                _mean_ratio(*(a @ kept + b @ (1 - kept) for a, b in zip(one, another, strict=True)))
                for one, another in ((mine, theirs), (theirs, mine))
            )
            found.append(first - second)
        far = np.sort(np.abs(np.concatenate(found)))[::-1]
        reach = float(far[int((1 - CONFIDENCE) * len(far))])
        return difference - reach, difference + reach


def _mean_ratio(numerators: Floats, denominators: Floats) -> Floats:
    """The mean over c of float[c, s] / float[c, s], float[s]; a ratio is 0 where its denominator is."""
    ratios = np.divide(
        numerators, denominators, out=np.zeros_like(numerators, dtype=np.float64), where=denominators > 0
    )
    mean: Floats = ratios.mean(axis=0)
    return mean
