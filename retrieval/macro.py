"""Means over categories, so that a frequent one does not drown the rare, with intervals from resampled patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from retrieval.evaluation import CONFIDENCE, RESAMPLES, Estimate
from retrieval.metrics import Floats, Ints

Numbers = npt.NDArray[np.float64] | npt.NDArray[np.int64]

PORTIONS: Final = 10
"""Portions of the draws: 10,000 patients then take 16 MB at a time beside the 40 MB of their weights."""


class MacroBootstrap:
    """Macro averages of q queries of c categories, and their 95 % intervals.

    Cases of one patient are no independent evidence, so whole patients are drawn with replacement (the cluster
    bootstrap; Field and Welsh 2007), 2000 times, and the percentiles taken (Efron 1979). Every average made by one
    instance sees the same draws. A category that a draw holds no query of has no part in that draw's average.

    All averages here are of ratios whose numerator and denominator add up over patients, so that a draw is a
    product of how often each patient was drawn with a table of patients by categories: O(2000 p c) an average.
    """

    def __init__(self, patients: Ints, classes: Ints, categories: int, *, seed: int = 0) -> None:
        """`patients` and `classes`, int[q], are those of the queries, classes from 0 to `categories` - 1."""
        known, self._patient = np.unique(patients, return_inverse=True)
        self._class = classes
        self._shape = (len(known), categories)
        rng = np.random.default_rng(seed)
        self._weights = np.empty((RESAMPLES, len(known)), dtype=np.uint16)  # how often each patient was drawn
        for draw in self._weights:
            draw[:] = np.bincount(rng.integers(len(known), size=len(known)), minlength=len(known))
        self._asked = self._table(classes, np.ones(len(classes)))

    def mean(self, values: Floats, parts: Sequence[Ints]) -> list[Estimate]:
        """For each part (int[.], its categories): the mean over its categories of the queries' mean float[q]."""
        return self._estimates(self._table(self._class, values), self._asked, parts)

    def f1(self, predicted: Ints, parts: Sequence[Ints]) -> list[Estimate]:
        """For each part: the mean over its categories of F1 = 2 TP / (times true + times predicted), of the
        category predicted for each query, int[q].
        """
        hits = self._table(self._class, (predicted == self._class).astype(float))
        return self._estimates(2 * hits, self._asked + self._table(predicted, np.ones(len(predicted))), parts)

    def expected_mean(self, values: Floats, parts: Sequence[Ints]) -> list[Estimate]:
        """As `mean`, of expectations: they are what they are, and have no interval."""
        sums = np.bincount(self._class, values, self._shape[1]).astype(np.float64)
        return [_exact(sums, self._asked.sum(axis=0), part) for part in parts]

    def expected_f1(self, predicted: Ints, parts: Sequence[Ints]) -> list[Estimate]:
        """As `f1`, averaged over r random predictions, int[r, q]; without an interval."""
        asked = self._asked.sum(axis=0)
        means = np.zeros(len(parts))
        for guess in predicted:
            hits = np.bincount(self._class[guess == self._class], minlength=self._shape[1])
            below = asked + np.bincount(guess, minlength=self._shape[1])
            means += [_exact(2 * hits, below, part).mean for part in parts]
        return [Estimate(mean, mean, mean) for mean in (means / len(predicted)).tolist()]

    def _table(self, classes: Ints, values: Floats) -> Floats:
        cells = self._patient * self._shape[1] + classes
        return np.bincount(cells, values, self._shape[0] * self._shape[1]).astype(np.float64).reshape(self._shape)

    def _estimates(self, above: Floats, below: Floats, parts: Sequence[Ints]) -> list[Estimate]:
        asked = self._drawn(self._asked) > 0
        drawn = _divided(self._drawn(above), self._drawn(below))
        tail = (1 - CONFIDENCE) / 2 * 100
        estimates = []
        for part in parts:
            counted = asked[:, part].sum(axis=1)
            means = (drawn[:, part] * asked[:, part]).sum(axis=1)[counted > 0] / counted[counted > 0]
            low, high = np.percentile(means, [tail, 100 - tail])
            mean = _exact(above.sum(axis=0), below.sum(axis=0), part).mean
            estimates.append(Estimate(mean, float(low), float(high)))
        return estimates

    def _drawn(self, table: Floats) -> Floats:
        """The table's sums in each draw, float[2000, c]: in double precision, which the weights are not kept in."""
        return np.concatenate(
            [weights.astype(np.float64) @ table for weights in np.array_split(self._weights, PORTIONS)]
        )


def _exact(above: Numbers, below: Numbers, part: Ints) -> Estimate:
    mean = float(_divided(above[part], below[part]).mean())
    return Estimate(mean, mean, mean)


def _divided(above: Numbers, below: Numbers) -> Floats:
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0)
