"""What a search of the index works on, and how it goes by way of the shortlist.

    shortlist ─► without removed and excluded rows ─► the best by their fine codes ─► ranked by the vectors themselves

An exact shortlist is made longer until no row beyond it can be among the k best; of the others recall was measured, and
the list is as long as that took.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from index_store.index.candidate_index import Shortlist
from index_store.index.recall_tuning import DEPTHS, Setting, Tuning
from index_store.index.refinement_codes import FineCodes
from index_store.index.rerank import TIE, Ranking, contenders, over_all, rank
from index_store.index.vector_file import Rows, VectorRows
from index_store.vectors import Vectors

SPARE = 32
"""How many more than k are fetched at least, to prove that no other row can be among the k best."""
BATCH = 16
"""Queries from which on one product with all rows is quicker than one scan each."""
READ_ALL = 4
"""A shortlist of more than one row in so many is no short list: all rows are read."""
SMALL = 4096
"""Rows that an exact shortlist may list all of."""


@dataclass(frozen=True)
class IndexState:
    """What a search works on: replaced as a whole while searches go on."""

    rows: VectorRows
    shortlist: Shortlist
    tuning: Tuning | None = None
    """None where the shortlist is exact by proof."""
    fine: FineCodes | None = None
    """For what is on the list, where there is a tuning."""
    trained: int = 0
    """How many rows there were when the quantizer was trained."""
    refused: int = 0
    """How many there were when no list of bearable length reached the recall, so that the exact one was kept."""

    def search(self, queries: Vectors, k: int, excluded: Rows) -> list[Ranking]:
        """The k best of all rows but the excluded ones."""
        rows, total = self.rows, len(self.rows)
        # Among the best k + excluded are the k best of the others, at the recall that was measured for so many.
        depth = k + len(excluded)
        setting = None if self.tuning is None or depth > DEPTHS[-1] else self.tuning.setting(depth)
        length, margin = (setting.length, setting.margin) if setting else (k + max(SPARE, k // 4), 0.0)
        open_ = np.arange(len(queries))
        rankings: list[Ranking] = [[] for _ in queries]
        fetch = length + (len(excluded) if self.tuning is None else SPARE)
        # Of many queries at once, and where the list would not be short, one product with all rows is quicker.
        read_all = len(queries) >= BATCH if self.tuning is None else setting is None
        while len(open_) and not read_all:
            if READ_ALL * fetch > total and (self.tuning is not None or total > SMALL):
                break
            scores, found = self.shortlist.find(queries[open_], min(fetch, total), margin)
            unproven = []
            for number, own, listed in zip(open_.tolist(), scores, found, strict=True):
                ranking = self._ranked(queries[number], k, own, listed, excluded, setting)
                if ranking is None:
                    unproven.append(number)
                else:
                    rankings[number] = ranking
            open_, fetch = np.array(unproven, np.int64), 4 * fetch
        if len(open_):
            permitted = rows.alive.copy()
            permitted[excluded] = False
            for number, ranking in zip(open_.tolist(), over_all(rows, queries[open_], k, permitted), strict=True):
                rankings[number] = ranking
        return rankings

    def _ranked(
        self, query: Vectors, k: int, own: Vectors, listed: Rows, excluded: Rows, setting: Setting | None
    ) -> Ranking | None:
        """The k best of those on the shortlist; None where it was not long enough to say so."""
        rows = self.rows
        useful = listed[listed >= 0]
        if setting is not None:
            # Rows with the last score may or may not have come along: left out, the answer does not depend on chance.
            useful = listed[own > own[-1]]
        useful = useful[rows.alive[useful]]
        if excluded.size:
            useful = useful[~np.isin(useful, excluded)]
        if setting is not None:
            # Ended: the lists that are read hold no more, and the recall was measured with what they hold.
            ended = listed[-1] < 0
            if len(useful) < (k if ended else setting.length - len(excluded)):
                return None
            if self.fine is not None:
                useful = self.fine.best(query, useful, setting.kept)
            scores = rows.products(query[None], useful)[0]
        else:
            scores = rows.products(query[None], useful)[0]
            # No row beyond the list scores more than its last one and what that may be off.
            beyond = own[-1] + (self.shortlist.error or 0.0)
            if len(listed) < len(rows) and (len(useful) < k or np.partition(scores, -k)[-k] - TIE <= beyond):
                return None
        return rank(rows, query, useful[contenders(scores, k)], k)
