"""One search of the index, by way of the candidate index.

    candidates ─► without removed and excluded rows ─► the best by their refinement codes ─► ranked exactly

An exact candidate list is made longer until no row beyond it can be among the k best. Of the others the recall was
measured, and the list is as long as that takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from index_store.index.candidate_index import CandidateIndex
from index_store.index.faiss_bindings import Rows
from index_store.index.recall_tuning import DEPTHS, Setting, Tuning
from index_store.index.refinement_codes import RefinementCodes
from index_store.index.rerank import TIE, Ranking, contenders, rank, rank_all
from index_store.index.vector_file import VectorRows
from index_store.vectors import Vectors

SPARE = 32
"""How many more than k are fetched at least, to prove that no other row can be among the k best."""
BATCH = 16
"""Queries from which on one product with all rows is quicker than one scan each."""
READ_ALL = 4
"""Where the list would hold more than one row in so many, all rows are read instead."""
SMALL = 4096
"""Rows that an exact candidate list may hold all of."""


@dataclass(frozen=True)
class Searcher:
    """The state that a search works on: replaced as a whole while searches run."""

    rows: VectorRows
    candidates: CandidateIndex
    tuning: Tuning | None = None
    """None where the candidate index is exact by proof."""
    codes: RefinementCodes | None = None
    """Of the candidates, where there is a tuning."""
    trained: int = 0
    """Number of rows when the quantizer was trained."""
    refused: int = 0
    """Number of rows when no list of bearable length reached the recall, so that the exact index was kept."""

    def search(self, queries: Vectors, k: int, excluded: Rows) -> list[Ranking]:
        """The k best of all rows but the excluded ones for each query, float32[n, dim]."""
        rows, total = self.rows, len(self.rows)
        # Among the best k + excluded are the k best of the others, at the recall that was measured for so many.
        depth = k + len(excluded)
        setting = None if self.tuning is None or depth > DEPTHS[-1] else self.tuning.setting(depth)
        length, margin = (setting.length, setting.margin) if setting else (k + max(SPARE, k // 4), 0.0)
        unranked = np.arange(len(queries))
        rankings: list[Ranking] = [[] for _ in queries]
        # Of very many excluded rows few are among the best; where more are, the list is made longer.
        fetch = length + (min(len(excluded), length) if self.tuning is None else SPARE)
        # For many queries at once, and where the list would not be short, one product with all rows is quicker.
        read_all = len(queries) >= BATCH if self.tuning is None else setting is None
        while len(unranked) and not read_all:
            if READ_ALL * fetch > total and (self.tuning is not None or total > SMALL):
                break
            scores, lists = self.candidates.search(queries[unranked], min(fetch, total), margin)
            left = []
            for number, approximate, candidates in zip(unranked.tolist(), scores, lists, strict=True):
                ranking = self._rank(queries[number], k, approximate, candidates, excluded, setting)
                if ranking is None:
                    left.append(number)
                else:
                    rankings[number] = ranking
            unranked, fetch = np.array(left, np.int64), 4 * fetch
        if len(unranked):
            permitted = rows.table.alive.copy()
            permitted[excluded] = False
            exact = rank_all(rows, queries[unranked], k, permitted)
            for number, ranking in zip(unranked.tolist(), exact, strict=True):
                rankings[number] = ranking
        return rankings

    def _rank(
        self, query: Vectors, k: int, approximate: Vectors, listed: Rows, excluded: Rows, setting: Setting | None
    ) -> Ranking | None:
        """The k best of a candidate list; None where it was too short to decide.

        Args:
            query: float32[dim].
            approximate: float32[n], the candidates' scores by the candidate index, best first.
            listed: int64[n], the candidates, -1 where there are fewer.
        """
        rows = self.rows
        candidates = listed[listed >= 0]
        if setting is not None:
            # Rows with the last score may or may not have come along: left out, the result does not depend on chance.
            candidates = listed[approximate > approximate[-1]]
        candidates = candidates[rows.table.alive[candidates]]
        if excluded.size:
            candidates = candidates[~np.isin(candidates, excluded)]
        if setting is not None:
            # The lists that are read hold no more, and the recall was measured with what they hold.
            exhausted = listed[-1] < 0
            if len(candidates) < (k if exhausted else setting.length - len(excluded)):
                return None
            if self.codes is not None:
                candidates = self.codes.best(query, candidates, setting.kept)
        scores = rows.products(query[None], candidates)[0]
        if setting is None:
            # No row beyond the list scores more than its last one and what that may be off.
            beyond = approximate[-1] + (self.candidates.max_error or 0.0)
            if len(listed) < len(rows) and (len(candidates) < k or np.partition(scores, -k)[-k] - TIE <= beyond):
                return None
        return rank(rows, query, candidates[contenders(scores, k)], k)
