"""Means over categories, so that rare ones count as much as frequent ones, with intervals from resampled patients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Floats, Ints
from retrieval.statistics.contributions import Ratios, Shares
from retrieval.statistics.estimate import RESAMPLES, Estimate, percentile_estimate

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Numbers = npt.NDArray[np.float64] | npt.NDArray[np.int64]

PORTIONS: Final = 10
"""Portions of the resamples: 10,000 patients then take 16 MB at a time beside the 40 MB of their weights."""


@dataclass(frozen=True, eq=False)
class Average:
    """An average, its value in each resample, and what each patient contributes to it."""

    mean: float
    resamples: Floats
    contribute: Callable[[], Shares | Ratios]

    @cached_property
    def contributions(self) -> Shares | Ratios:
        """Made where they are asked for: most averages are never compared."""
        return self.contribute()

    @property
    def estimate(self) -> Estimate:
        """With the percentile interval of its resamples."""
        return percentile_estimate(self.mean, self.resamples)

    def minus(self, other: Average) -> Estimate:
        """The difference from another average of the same kind and queries: a paired comparison, whose interval is the
        narrower the more the two agree on which queries are hard. It holds for few patients; of fewer than six there is
        none.
        """
        mine, theirs = self.contributions, other.contributions
        difference = self.mean - other.mean
        if isinstance(mine, Ratios) and isinstance(theirs, Ratios):
            return Estimate(difference, *mine.interval(theirs))
        if isinstance(mine, Shares) and isinstance(theirs, Shares):
            return Estimate(difference, *mine.interval(theirs))
        raise TypeError("A mean and a ratio have no difference.")


class MacroBootstrap:
    """Macro averages of q queries of c categories, and their 95 % intervals.

    Cases of one patient are no independent evidence, so whole patients are resampled with replacement (the cluster
    bootstrap; Field and Welsh 2007), 2000 times, and the percentiles taken (Efron 1979). Every average made by one
    instance sees the same resamples. A category that has no query in a resample has no part in that resample's average.

    For differences of two averages, percentiles of resamples are too narrow where there are few patients. Their
    intervals are of what each patient contributes (`retrieval.statistics.contributions`).

    All averages here are of ratios whose numerator and denominator add up over patients, so that resampling is a
    product of how often each patient occurs with a table of patients by categories: O(2000 q) an average.
    """

    def __init__(self, patients: Ints, classes: Ints, categories: int, *, seed: int = 0) -> None:
        """`patients` and `classes`, int[q], are those of the queries, classes from 0 to `categories` - 1."""
        known, self._patient = np.unique(patients, return_inverse=True)
        self._class = classes
        self._shape = (categories, len(known))
        rng = np.random.default_rng(seed)
        self._weights = np.empty((RESAMPLES, len(known)), dtype=np.uint16)  # how often each patient occurs
        for weights in self._weights:
            weights[:] = np.bincount(rng.integers(len(known), size=len(known)), minlength=len(known))
        self._queries = np.bincount(classes, minlength=categories)

    def mean(self, values: Mapping[str, Floats], parts: Sequence[Ints]) -> dict[str, list[Average]]:
        """Macro means of values float[q] by name: for each part, int[.] of categories, the mean over these of the mean
        of each one's queries.
        """
        sums = {name: self._table(self._class, value) for name, value in values.items()}
        return self._averages(sums, None, parts, _shares)

    def f1(self, predicted: Mapping[str, Ints], parts: Sequence[Ints]) -> dict[str, list[Average]]:
        """Macro-F1 of predicted categories int[q] by name: for each part the mean over its categories of
        F1 = 2 TP / (times true + times predicted).
        """
        numerators, denominators = {}, {}
        twice = np.concatenate([self._patient, self._patient])
        for name, guess in predicted.items():
            numerators[name] = self._table(self._class, 2.0 * (guess == self._class))
            denominators[name] = self._table(np.concatenate([self._class, guess]), np.ones(len(twice)), twice)
        return self._averages(numerators, denominators, parts, Ratios)

    def expected_mean(self, values: Floats, parts: Sequence[Ints]) -> list[Estimate]:
        """As `mean`, of expectations float[q]: they are no sample, and have no interval."""
        sums = np.bincount(self._class, values, self._shape[0]).astype(np.float64)
        return [_exact(sums, self._queries, part) for part in parts]

    def expected_f1(self, predicted: Ints, parts: Sequence[Ints]) -> list[Estimate]:
        """As `f1`, averaged over r random predictions, int[r, q]; without an interval."""
        count = partial(np.bincount, minlength=self._shape[0])
        hits = np.array([count(self._class[guess == self._class]) for guess in predicted])
        ratios = _divided(2 * hits, self._queries + np.array([count(guess) for guess in predicted]))
        means = [float(ratios[:, part].mean()) for part in parts]
        return [Estimate(mean, mean, mean) for mean in means]

    def _table(self, classes: Ints, values: Floats, patients: Ints | None = None) -> csr_array:
        """Sums of the values, float[categories, patients]: most are of few categories a patient, so it is sparse."""
        from scipy.sparse import csr_array

        columns = self._patient if patients is None else patients
        return csr_array((values, (classes, columns)), shape=self._shape)

    def _averages(
        self,
        numerators: Mapping[str, csr_array],
        denominators: Mapping[str, csr_array] | None,
        parts: Sequence[Ints],
        contributions: Callable[[csr_array, csr_array], Shares | Ratios],
    ) -> dict[str, list[Average]]:
        """Of the quotients; without denominators, of each category's number of queries."""
        queries = self._table(self._class, np.ones(len(self._class)))
        of_queries, *resampled = self._resampled([queries, *numerators.values()])
        occurs = of_queries > 0
        below = self._resampled(list(denominators.values())) if denominators else [of_queries] * len(numerators)
        averages: dict[str, list[Average]] = {name: [] for name in numerators}
        for (name, numerator), *quotient in zip(numerators.items(), resampled, below, strict=True):
            ratios = _divided(*quotient)
            denominator = denominators[name] if denominators else queries
            totals = numerator.sum(axis=1), denominator.sum(axis=1)
            for part in parts:
                counted = occurs[part].sum(axis=0)
                # The ratio of a category without a query is 0: its numerator sums over queries.
                means = ratios[part].sum(axis=0)[counted > 0] / counted[counted > 0]
                own = partial(_of_part, contributions, numerator, denominator, part)
                averages[name].append(Average(_exact(*totals, part).mean, means, own))
        return averages

    def _resampled(self, tables: Sequence[csr_array]) -> Numbers:
        """The tables' sums over patients in each resample, float[tables, categories, 2000].

        In double precision, which the weights are not kept in; all tables at once, so that they are converted once.
        """
        from scipy.sparse import vstack

        stacked = vstack(tables, format="csr")
        portions = [
            stacked @ np.ascontiguousarray(weights.T.astype(np.float64))
            for weights in np.array_split(self._weights, PORTIONS)
        ]
        return np.concatenate(portions, axis=1).reshape(len(tables), self._shape[0], RESAMPLES)


def _of_part(
    contributions: Callable[[csr_array, csr_array], Shares | Ratios],
    numerators: csr_array,
    denominators: csr_array,
    part: Ints,
) -> Shares | Ratios:
    return contributions(numerators[part], denominators[part])


def _exact(numerators: Numbers, denominators: Numbers, part: Ints) -> Estimate:
    mean = float(_divided(numerators[part], denominators[part]).mean())
    return Estimate(mean, mean, mean)


def _shares(sums: csr_array, queries: csr_array) -> Shares:
    """Each patient's share of the macro mean, in which every category, a row, weighs the same."""
    in_category = queries.sum(axis=1)
    weight = np.divide(1 / len(in_category), in_category, out=np.zeros(len(in_category)), where=in_category > 0)
    return Shares(weight @ sums, weight @ queries)


def _divided(numerators: Numbers, denominators: Numbers) -> Floats:
    """Their quotients, 0 where the denominator is 0."""
    return np.divide(numerators, denominators, out=np.zeros(np.shape(numerators)), where=denominators > 0)
