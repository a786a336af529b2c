"""What each run reaches, query by query: measured block by block, averaged later (`tables`)."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Floats, Ints
from retrieval.encoder.encoder import Progress
from retrieval.evaluation.batched_rankings import Block, Rankings
from retrieval.evaluation.experiment import QueryType
from retrieval.evaluation.identical_reports import IdenticalReports
from retrieval.evaluation.relevance import DEPTH, Relevance
from retrieval.search.batch import BatchRanking

THREADS: Final = 2
"""Blocks that are ranked at the same time (`batched_rankings.BLOCK_SCORES`)."""


class Run:
    """One run's figures for n cases. Of a case that is no query they are NaN, or -1.

    Threads may fill it together, each with cases of its own.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._allocating = threading.Lock()
        self.values: dict[str, dict[str, Floats]] = {}
        """By task and metric, float[n]."""
        self.votes: dict[str, dict[str, Ints]] = {}
        """By task and metric, int[n]."""
        self.identical: dict[str, Floats] = {}
        """By metric of `identical_reports`, float[n]."""
        self._heads: dict[str, npt.NDArray] = {}

    @property
    def first_images(self) -> Ints:
        """int[n, 10], the images that represent the first patients of the whole archive."""
        return self._heads["images"]

    @property
    def top_scores(self) -> Floats:
        """float[n], the score of the first patient of the whole archive."""
        return self._heads["scores"]

    def judge(self, relevance: Relevance, queries: Ints, ranked: Ints) -> None:
        """Keep the figures of rankings int[b, p] of the queries int[b], where another patient is relevant."""
        answerable = relevance.answerable(queries)
        if not len(answerable):  # of a site with a single patient nobody else is ranked
            return
        figures = relevance.judge(answerable, ranked[np.isin(queries, answerable)])
        for metric, values in figures.values.items():
            self._put(self.values.setdefault(relevance.task.name, {}), metric, answerable, values)
        for metric, votes in figures.votes.items():
            self._put(self.votes.setdefault(relevance.task.name, {}), metric, answerable, votes)

    def judge_identical(self, identical: IdenticalReports, queries: Ints, ranked: Ints) -> None:
        """As `judge` (queries int[b], ranked int[b, p]), of the cases whose report says the same."""
        answerable = identical.answerable(queries)
        for metric, values in identical.judge(answerable, ranked[np.isin(queries, answerable)]).items():
            self._put(self.identical, metric, answerable, values)

    def keep_heads(self, queries: Ints, ranking: BatchRanking) -> None:
        """Keep the first ranks of the queries int[b] in rankings of the whole archive."""
        self._put(self._heads, "images", queries, ranking.ranked_images[:, :DEPTH])
        self._put(self._heads, "scores", queries, ranking.top.astype(np.float64))

    def _put(self, into: dict[str, npt.NDArray], name: str, queries: Ints, values: npt.NDArray) -> None:
        with self._allocating:
            if name not in into:
                nothing = np.nan if values.dtype.kind == "f" else -1
                into[name] = np.full((self._n, *values.shape[1:]), nothing, dtype=values.dtype)
        into[name][queries] = values


def measure_runs(
    rankings: Rankings,
    query_types: Sequence[QueryType],
    relevances: Sequence[Relevance],
    identical: IdenticalReports,
    *,
    progress: Progress | None = None,
) -> Mapping[str, Run]:
    """Rank for all queries and judge the rankings: the runs by name. `progress` counts queries."""
    candidate_sets = {each.task.candidates_of.tobytes(): each.task.candidates_of for each in relevances}
    whole_archive = relevances[0].task.candidates_of.tobytes()  # of the first task all patients are candidates
    by_report = {run for query_type in query_types if query_type.by_report for run in query_type.runs}
    runs = {run: Run(len(rankings.cases.keys)) for query_type in query_types for run in query_type.runs}
    total = len(np.unique(np.concatenate([query_type.queries for query_type in query_types])))

    def measure(block: Block) -> int:
        scores = rankings.scores(block)
        for key, candidates_of in candidate_sets.items():
            for name, ranking in rankings.ranked(block, scores, candidates_of).items():
                for relevance in relevances:
                    if relevance.task.candidates_of.tobytes() == key:
                        runs[name].judge(relevance, block.queries, ranking.ranked_images)
                if key == whole_archive:
                    runs[name].keep_heads(block.queries, ranking)
                    if name in by_report:
                        runs[name].judge_identical(identical, block.queries, ranking.ranked_images)
        return len(block.queries)

    done = 0
    with ThreadPoolExecutor(THREADS) as threads:  # sorting and products release the interpreter's lock
        blocks = rankings.blocks(query_types, list(candidate_sets.values()))
        waiting = [threads.submit(measure, block) for block in blocks]
        try:
            for finished in waiting:
                done += finished.result()
                if progress is not None:
                    progress(done, total)
        finally:
            threads.shutdown(cancel_futures=True)
    return runs
