"""What one way to rank found, query by query: filled block by block, averaged at the end."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Floats, Ints
from retrieval.evaluation.identical_reports import ReportFamilies
from retrieval.evaluation.relevance import DEPTH, Truth
from retrieval.search.batch import Places


class Found:
    """One row's figures for n cases. Of a case that did not ask they are NaN, or -1.

    Threads may fill it together, each with cases of its own.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._making = threading.Lock()
        self.values: dict[str, dict[str, Floats]] = {}
        """By question and metric, float[n]."""
        self.votes: dict[str, dict[str, Ints]] = {}
        """By question and metric, int[n]."""
        self.same_report: dict[str, Floats] = {}
        """By metric, float[n]."""
        self._heads: dict[str, npt.NDArray] = {}

    @property
    def leads(self) -> Ints:
        """int[n, 10], the images that stand for the first patients among all."""
        return self._heads["leads"]

    @property
    def tops(self) -> Floats:
        """float[n], the score of the first of them."""
        return self._heads["tops"]

    def put_answers(self, truth: Truth, asked: Ints, leads: Ints) -> None:
        """What rankings int[b, p] of the cases int[b] are worth, where there is something to find."""
        queries = truth.answerable(asked)
        if not len(queries):  # of a site with a single patient nobody else is ranked
            return
        measured = truth.measured(queries, leads[np.isin(asked, queries)])
        for metric, values in measured.values.items():
            self._put(self.values.setdefault(truth.question.name, {}), metric, queries, values)
        for metric, votes in measured.votes.items():
            self._put(self.votes.setdefault(truth.question.name, {}), metric, queries, votes)

    def put_same_report(self, same: ReportFamilies, asked: Ints, leads: Ints) -> None:
        """As `put_answers`, of the cases whose report says the same."""
        queries = same.answerable(asked)
        for metric, values in same.measured(queries, leads[np.isin(asked, queries)]).items():
            self._put(self.same_report, metric, queries, values)

    def put_heads(self, asked: Ints, places: Places) -> None:
        """The first places among all patients."""
        self._put(self._heads, "leads", asked, places.leads[:, :DEPTH])
        self._put(self._heads, "tops", asked, places.top.astype(np.float64))

    def _put(self, into: dict[str, npt.NDArray], name: str, queries: Ints, values: npt.NDArray) -> None:
        with self._making:
            if name not in into:
                nothing = np.nan if values.dtype.kind == "f" else -1
                into[name] = np.full((self._n, *values.shape[1:]), nothing, dtype=values.dtype)
        into[name][queries] = values
