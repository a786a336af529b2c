"""The first reports of a fusion by reciprocal ranks, without the ranks of all.

A report adds share / (60 + rank) by each way to compare it. So one that is beyond a rank in every way has at most what
that rank gives, and once enough others have more, it cannot be among the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Bools, Floats, Ints
from retrieval.search.fusion import RRF_CONSTANT, FusionRule, Scores

WIDEN = 4
"""By how much more ranks are looked at where those so far do not decide."""


class ReportScores(Protocol):
    """The scores of n reports; -inf for one that is no result."""

    def of(self, rows: Ints) -> npt.NDArray[np.floating]:
        """float[m], those of these reports, int64[m]."""

    def first(self, wanted: int) -> Ints:
        """The rows of the best `wanted` results and of those that tie with the last, int64[>= wanted], ascending; all
        results, where there are no more."""

    def results(self) -> Bools:
        """bool[n]: the reports that are results."""


class AllScores:
    """`ReportScores` that were computed."""

    def __init__(self, scores: npt.NDArray[np.floating]) -> None:
        """`scores`: float[n]."""
        self._scores = scores

    def of(self, rows: Ints) -> npt.NDArray[np.floating]:
        """float[m], those of these reports, int64[m]."""
        return self._scores[rows]

    def first(self, wanted: int) -> Ints:
        """int64[>= wanted]: see `ReportScores`."""
        rows = np.flatnonzero(np.isfinite(self._scores))
        return rows[best(self._scores[rows], wanted)]

    def results(self) -> Bools:
        """bool[n]: the reports that are results."""
        return np.isfinite(self._scores)


class ReciprocalRanks:
    """`ReportScores` by reciprocal ranks, each computed when it is looked at: the scores of `fusion.fuse` with all
    ranks in the pool."""

    def __init__(self, rule: FusionRule, ways: Mapping[str, Scores], zero_is_none: tuple[str, ...] = ()) -> None:
        """
        Args:
            rule: whose weights count; its method is "rrf".
            ways: by name, float32[n]; -inf where a report does not compete.
            zero_is_none: as of `fuse`.
        """
        self._shares = rule.shares(tuple(ways))
        self._ways = ways
        self._zero_is_none = zero_is_none

    def of(self, rows: Ints) -> Floats:
        """float64[m], those of these reports, int64[m]."""
        total, result = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
        for name, scores in self._ways.items():
            given = scores[rows]
            competes = np.isfinite(given)
            ranks = 1.0 + len(scores) - np.searchsorted(self._ascending[name], given, side="right")
            total += self._shares[name] * np.where(competes, 1.0 / (RRF_CONSTANT + ranks), 0.0)
            if self._shares[name] > 0:
                result |= competes & (given != 0.0 if name in self._zero_is_none else True)
        return np.where(result, total, -np.inf)

    def first(self, wanted: int) -> Ints:
        """int64[>= wanted]: see `ReportScores`."""
        n = len(next(iter(self._ways.values())))
        # With the largest share alone, the report of rank `wanted` has as much as one of this rank in every way.
        depth = int((RRF_CONSTANT + wanted) / max(self._shares.values())) - RRF_CONSTANT
        while depth < n:
            near, beyond = np.zeros(n, dtype=bool), 0.0
            for name, share in self._shares.items():
                if share > 0:
                    above, count = self._above(name, depth)
                    near |= above
                    beyond += share / (RRF_CONSTANT + 1 + count)  # of the others none has a better rank
            rows = np.flatnonzero(near)
            scores = self.of(rows)
            chosen = best(scores, wanted)
            # A sum in another order may differ by its rounding.
            if len(chosen) >= wanted and scores[chosen].min() > beyond * (1 + 1e-12):
                return rows[chosen[np.isfinite(scores[chosen])]]
            depth *= WIDEN
        rows = np.flatnonzero(self.results())
        return rows[best(self.of(rows), wanted)]

    def results(self) -> Bools:
        """bool[n]: the reports that are results."""
        found = [
            np.isfinite(scores) & (scores != 0.0 if name in self._zero_is_none else True)
            for name, scores in self._ways.items()
            if self._shares[name] > 0
        ]
        result: Bools = np.logical_or.reduce(found)
        return result

    def _above(self, name: str, depth: int) -> tuple[Bools, int]:
        """The reports with the first `depth` ranks, bool[n], and how many they are. Those that tie with the last are
        among them, unless they are more than all before them: a word that no report has gives all the same."""
        ascending = self._ascending[name]
        last = ascending[-depth]
        count = len(ascending) - int(np.searchsorted(ascending, last, side="left"))
        if np.isfinite(last) and count <= 2 * depth:
            return self._ways[name] >= last, count
        return self._ways[name] > last, len(ascending) - int(np.searchsorted(ascending, last, side="right"))

    @cached_property
    def _ascending(self) -> dict[str, Scores]:
        return {name: np.sort(scores) for name, scores in self._ways.items()}


def best(scores: npt.NDArray[np.floating], wanted: int) -> Ints:
    """The positions of the best `wanted` of float[n], and of those that tie with the last; all, where there are no
    more."""
    if len(scores) <= wanted:
        return np.arange(len(scores))
    floor = np.partition(scores, len(scores) - wanted)[len(scores) - wanted]
    return np.flatnonzero(scores >= floor)
