"""How every run ranks the candidates' patients, block by block of queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from retrieval.arrays import Bools, Ints, Vectors
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.experiment import Experiment, QueryType
from retrieval.search.batch import BatchRanking, Candidates, fused_ranking
from retrieval.search.channels.own_runs import Fusion

BLOCK_SCORES: Final = 500_000
"""Scores in one block: 2 MB as float32, and with all runs of it some 500 MB, whatever the size of the archive."""


@dataclass(frozen=True, eq=False)
class Block:
    """Queries that have the same candidates in every task, and are of the same query types."""

    queries: Ints
    """int[b], rows of the cases."""
    runs: tuple[str, ...]
    """Names of the runs that rank for them."""


class Rankings:
    """An experiment's scorers and fusions over the cases of an archive. Safe for several threads."""

    def __init__(self, cases: LabelledCases, experiment: Experiment) -> None:
        self.cases = cases
        self.scorers = {scorer.name: scorer for scorer in experiment.scorers}
        self.fusions = {fusion.name: fusion for fusion in experiment.fusions}
        self._candidates: dict[tuple[bytes, int, bool], Candidates] = {}

    def scores(self, block: Block) -> dict[str, Vectors]:
        """By scorer, float32[b, images or cases]: computed once a block, whatever the candidates are."""
        return {name: self.scorers[name].scores(block.queries) for name in sorted(self._scorers_of(block.runs))}

    def ranked(self, block: Block, scores: Mapping[str, Vectors], candidates_of: Ints) -> dict[str, BatchRanking]:
        """By run, how the block's candidates are ranked. `candidates_of`, int[cases], is `Task.candidates_of`."""
        ranked: dict[str, BatchRanking] = {}
        own = self.cases.patient_of[block.queries]
        number = int(candidates_of[block.queries[0]])

        def rank(run: str) -> BatchRanking:
            if run not in ranked and run in self.fusions:
                fusion = self.fusions[run]
                if fusion.by_case:
                    ways = {name: scores[part] for name, part in fusion.of.items()}
                    candidates = self.candidates(candidates_of, number, by_case=True)
                    containing = self.first(fusion, block)
                    fused = candidates.fused_reports(fusion.rule, ways, own, containing)
                    ranked[run] = candidates.rank_items(
                        fused.scores.astype(np.float32), own, containing[:, candidates.columns]
                    )
                else:
                    ranked[run] = fused_ranking(fusion.rule, {name: rank(part) for name, part in fusion.of.items()})
            elif run not in ranked:
                scorer = self.scorers[run]
                candidates = self.candidates(candidates_of, number, by_case=scorer.by_case)
                first = scorer.first(block.queries)
                # Of words alone, a report without one in common is no result, as in a search.
                found = scores[run] if first is None else np.where(scores[run] > 0, scores[run], np.float32(-np.inf))
                ranked[run] = candidates.rank(found, own, first)
            return ranked[run]

        return {run: rank(run) for run in block.runs}

    def first(self, fusion: Fusion, block: Block) -> Bools:
        """The cases whose report contains the words of a block's queries, bool[b, cases]."""
        masks = [self.scorers[name].first(block.queries) for name in fusion.of.values()]
        none = np.zeros((len(block.queries), len(self.cases.keys)), dtype=bool)
        return np.logical_or.reduce([none, *(mask for mask in masks if mask is not None)])

    def blocks(
        self, query_types: Sequence[QueryType], candidate_sets: Sequence[Ints], *, scores: int = BLOCK_SCORES
    ) -> Iterator[Block]:
        """All queries of the query types, each once. The more images, the fewer queries a block.

        `candidate_sets` are the different `Task.candidates_of`, int[cases] each.
        """
        size = max(1, scores // len(self.cases.image_ids))
        is_query = np.stack([np.isin(np.arange(len(self.cases.keys)), each.queries) for each in query_types])
        # A column a query: of which types it is, and its candidates in each task. Equal columns make a block.
        kinds = np.concatenate([is_query, np.stack(candidate_sets)])[:, is_query.any(axis=0)]
        queries = np.flatnonzero(is_query.any(axis=0))
        for kind in np.unique(kinds, axis=1).T:
            alike = queries[(kinds == kind[:, None]).all(axis=0)]
            flags = kind[: len(query_types)]
            runs = [run for each, included in zip(query_types, flags, strict=True) if included for run in each.runs]
            for start in range(0, len(alike), size):
                yield Block(alike[start : start + size], tuple(dict.fromkeys(runs)))

    def candidates(self, candidates_of: Ints, number: int, *, by_case: bool) -> Candidates:
        """The patients of the candidate set `number` of `candidates_of`, int[cases], by their images or cases."""
        key = (candidates_of.tobytes(), number, by_case)
        if key not in self._candidates:
            cases = self.cases
            if by_case:
                items = np.flatnonzero(candidates_of == number)
                # A case is represented by its first image.
                images = np.unique(cases.case_of, return_index=True)[1][items]
                candidates = Candidates(items, cases.patient_of[items], images)
            else:
                items = np.flatnonzero(candidates_of[cases.case_of] == number)
                candidates = Candidates(items, cases.patient_of[cases.case_of[items]], items)
            self._candidates[key] = candidates
        return self._candidates[key]

    def _scorers_of(self, runs: Sequence[str]) -> set[str]:
        """The scorers that these runs are made of."""
        scorers: set[str] = set()
        for run in runs:
            scorers |= self._scorers_of(tuple(self.fusions[run].of.values())) if run in self.fusions else {run}
        return scorers
