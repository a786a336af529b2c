"""Means over categories, so that a frequent one does not drown the rare, with intervals from resampled patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Floats, Ints
from retrieval.statistics.estimate import CONFIDENCE, RESAMPLES, Estimate

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Numbers = npt.NDArray[np.float64] | npt.NDArray[np.int64]

PORTIONS: Final = 10
"""Portions of the draws: 10,000 patients then take 16 MB at a time beside the 40 MB of their weights."""


@dataclass(frozen=True, eq=False)
class Average:
    """An average, and what it was in each draw."""

    mean: float
    draws: Floats

    @property
    def estimate(self) -> Estimate:
        """With the percentile interval of its draws."""
        return _estimate(self.mean, self.draws)

    def minus(self, other: Average) -> Estimate:
        """The difference from another average of the same instance, in the same draws: a paired comparison, whose
        interval is the narrower the more the two agree on which queries are hard.
        """
        return _estimate(self.mean - other.mean, self.draws - other.draws)


class MacroBootstrap:
    """Macro averages of q queries of c categories, and their 95 % intervals.

    Cases of one patient are no independent evidence, so whole patients are drawn with replacement (the cluster
    bootstrap; Field and Welsh 2007), 2000 times, and the percentiles taken (Efron 1979). Every average made by one
    instance sees the same draws. A category that a draw holds no query of has no part in that draw's average.

    All averages here are of ratios whose numerator and denominator add up over patients, so that a draw is a
    product of how often each patient was drawn with a table of patients by categories: O(2000 q) an average.
    """

    def __init__(self, patients: Ints, classes: Ints, categories: int, *, seed: int = 0) -> None:
        """`patients` and `classes`, int[q], are those of the queries, classes from 0 to `categories` - 1."""
        known, self._patient = np.unique(patients, return_inverse=True)
        self._class = classes
        self._shape = (categories, len(known))
        rng = np.random.default_rng(seed)
        self._weights = np.empty((RESAMPLES, len(known)), dtype=np.uint16)  # how often each patient was drawn
        for draw in self._weights:
            draw[:] = np.bincount(rng.integers(len(known), size=len(known)), minlength=len(known))
        self._asked = np.bincount(classes, minlength=categories)

    def mean(self, values: Mapping[str, Floats], parts: Sequence[Ints]) -> dict[str, list[Average]]:
        """By name, for each part (int[.], its categories): the mean over its categories of the queries' mean of
        float[q].
        """
        asked = self._table(self._class, np.ones(len(self._class)))
        tables = {name: self._table(self._class, value) for name, value in values.items()}
        return self._averages(tables, dict.fromkeys(tables, asked), parts)

    def f1(self, predicted: Mapping[str, Ints], parts: Sequence[Ints]) -> dict[str, list[Average]]:
        """By name, for each part: the mean over its categories of F1 = 2 TP / (times true + times predicted), of
        the category predicted for each query, int[q].
        """
        above, below = {}, {}
        both = np.concatenate([self._patient, self._patient])
        for name, guess in predicted.items():
            above[name] = self._table(self._class, 2.0 * (guess == self._class))
            below[name] = self._table(np.concatenate([self._class, guess]), np.ones(len(both)), both)
        return self._averages(above, below, parts)

    def expected_mean(self, values: Floats, parts: Sequence[Ints]) -> list[Estimate]:
        """As `mean`, of expectations: they are what they are, and have no interval."""
        sums = np.bincount(self._class, values, self._shape[0]).astype(np.float64)
        return [_exact(sums, self._asked, part) for part in parts]

    def expected_f1(self, predicted: Ints, parts: Sequence[Ints]) -> list[Estimate]:
        """As `f1`, averaged over r random predictions, int[r, q]; without an interval."""
        means = np.zeros(len(parts))
        for guess in predicted:
            hits = np.bincount(self._class[guess == self._class], minlength=self._shape[0])
            below = self._asked + np.bincount(guess, minlength=self._shape[0])
            means += [_exact(2 * hits, below, part).mean for part in parts]
        return [Estimate(mean, mean, mean) for mean in (means / len(predicted)).tolist()]

    def _table(self, classes: Ints, values: Floats, patients: Ints | None = None) -> csr_array:
        """Sums of the values, float[categories, patients]: most are of few categories a patient, so it is sparse."""
        from scipy.sparse import csr_array

        rows = self._patient if patients is None else patients
        return csr_array((values, (classes, rows)), shape=self._shape)

    def _averages(
        self, above: Mapping[str, csr_array], below: Mapping[str, csr_array], parts: Sequence[Ints]
    ) -> dict[str, list[Average]]:
        asked = self._drawn([self._table(self._class, np.ones(len(self._class)))])[0] > 0
        drawn_above, drawn_below = self._drawn(list(above.values())), self._drawn(list(below.values()))
        made: dict[str, list[Average]] = {name: [] for name in above}
        for name, sums, whole in zip(above, drawn_above, drawn_below, strict=True):
            ratios = _divided(sums, whole)
            for part in parts:
                counted = asked[part].sum(axis=0)
                draws = (ratios[part] * asked[part]).sum(axis=0)[counted > 0] / counted[counted > 0]
                mean = _exact(above[name].sum(axis=1), below[name].sum(axis=1), part).mean
                made[name].append(Average(mean, draws))
        return made

    def _drawn(self, tables: Sequence[csr_array]) -> Numbers:
        """The tables' sums in each draw, float[tables, categories, 2000].

        In double precision, which the weights are not kept in; all tables at once, so that they are converted once.
        """
        from scipy.sparse import vstack

        stacked = vstack(tables, format="csr")
        portions = [
            stacked @ np.ascontiguousarray(weights.T.astype(np.float64))
            for weights in np.array_split(self._weights, PORTIONS)
        ]
        return np.concatenate(portions, axis=1).reshape(len(tables), self._shape[0], RESAMPLES)


def _estimate(mean: float, draws: Floats) -> Estimate:
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(draws, [tail, 100 - tail])
    return Estimate(mean, float(low), float(high))


def _exact(above: Numbers, below: Numbers, part: Ints) -> Estimate:
    mean = float(_divided(above[part], below[part]).mean())
    return Estimate(mean, mean, mean)


def _divided(above: Numbers, below: Numbers) -> Floats:
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0)
