"""The vector index within the process: a shortlist by FAISS, ranked exactly by the vectors themselves.

Which shortlist depends on size (`index_mode.py`); `shortlist.py` says what there is. Under a filter by value the
permitted rows are compared one by one, in every mode, so that a filter never costs recall: graphs and lists that are
searched first and filtered later do. What only leaves a few images out (the query's own patient) is passed over on a
longer shortlist, at the recall of a search without a filter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from index_store.index.candidate_index import EXACT, FastScan, HalfPrecision
from index_store.index.gpu_flat import FlatOnDevice, gpu_shortlist
from index_store.index.recall_tuning import DEPTHS, IndexSizes, build, tuned
from index_store.index.rerank import Ranking, among, over_all
from index_store.index.searcher import IndexState
from index_store.index.vector_file import DamagedRowsError, Rows, VectorRows
from index_store.vectors import Ids, Selection, Vectors

DEAD = 4
"""Removed rows are closed up when they are more than one in so many."""
FEW = 1000
"""... and more than these."""
RETRAINED = 4
"""A quantizer is trained anew when there are so many times more rows than it has seen."""
GROWN = 1.25
"""Recall is measured anew when there are so many times more rows than at the last time."""
Reports = Callable[[], Vectors]
"""Fetches vectors of reports, for which recall is measured too: float32[n, dim]. Called where they are needed."""


def no_reports() -> Vectors:
    return np.empty((0, 0), np.float32)


class FaissIndex:
    """A `VectorIndex`; see there for what the methods promise."""

    def __init__(self, dim: int, *, sizes: IndexSizes | None = None, spill: Path | None = None) -> None:
        """Empty. `spill` is a folder for temporary files, see `VectorRows`."""
        self.sizes = sizes or IndexSizes()
        self._spill = spill
        self.state = IndexState(VectorRows(dim, spill=spill), HalfPrecision(dim))
        self._count = 0

    @classmethod
    def filled(
        cls,
        dim: int,
        chunks: Iterable[tuple[Ids, Vectors]],
        *,
        sizes: IndexSizes | None = None,
        spill: Path | None = None,
        reports: Reports = no_reports,
    ) -> FaissIndex:
        """With all of these vectors, in the mode that fits their number."""
        index = cls(dim, sizes=sizes, spill=spill)
        for ids, vectors in chunks:
            index.state.rows.append(ids, vectors)
        index._count = len(index.state.rows)
        index._rebuild(index.state.rows, reports)
        return index

    @classmethod
    def of(cls, state: IndexState, *, sizes: IndexSizes | None = None, spill: Path | None = None) -> FaissIndex:
        """Around what was read from files."""
        index = cls(state.rows.dim, sizes=sizes, spill=spill)
        on_device = gpu_shortlist(state.rows)
        index.state = state if on_device is None else IndexState(state.rows, on_device)
        index._count = int(state.rows.alive.sum())
        return index

    @property
    def dim(self) -> int:
        return self.state.rows.dim

    @property
    def count(self) -> int:
        return self._count

    @property
    def mode(self) -> str:
        return self.state.shortlist.mode

    def memory_bytes(self) -> int:
        """Held in memory by vectors, ids and codes; mapped files are not."""
        fine = self.state.fine
        return (
            self.state.rows.memory_bytes() + self.state.shortlist.memory_bytes() + (fine.memory_bytes() if fine else 0)
        )

    def add(self, ids: Ids, vectors: Vectors) -> None:
        self.state.rows.append(ids, vectors)
        self.state.shortlist.add(vectors)
        if self.state.fine is not None:
            self.state.fine.add(vectors)
        self._count += len(ids)
        if self.mode == EXACT and 4 * self.dim * len(self.state.rows) > 2 * self.sizes.exact_bytes:
            self.settle()  # else memory would grow with what is added before the index is saved

    def remove(self, ids: Ids) -> None:
        rows = self.state.rows.rows_of(ids)
        self.state.shortlist.erase(rows, self._stored(rows))
        if self.state.fine is not None:
            self.state.fine.erase(rows)
        self.state.rows.bury(rows)
        self._count -= len(rows)

    def _stored(self, rows: Rows) -> Vectors:
        """For a shortlist to find what it is to forget; a damaged vector is no reason not to remove it."""
        try:
            return self.state.rows.vectors(rows)
        except DamagedRowsError:
            return np.zeros((len(rows), self.dim), np.float32)

    def check(self) -> None:
        """Compare every vector that is in a file with its checksum.

        Raises:
            DamagedRowsError: one is not what was written.
        """
        self.state.rows.check_all()

    def settle(self, reports: Reports = no_reports) -> None:
        """Choose the mode that fits the size, train it, measure its recall; close up removed rows. Searches may go on,
        additions and removals may not. Does nothing where nothing has changed much."""
        state, total = self.state, len(self.state.rows)
        if total - self._count > max(FEW, total // DEAD):
            self._rebuild(_closed_up(state.rows, self._spill), reports)
        elif isinstance(state.shortlist, FlatOnDevice) or 0 < total <= RETRAINED * state.refused:
            return
        elif self._mode_wanted() != self.mode or (state.trained and total > RETRAINED * state.trained):
            self._rebuild(state.rows, reports)
        elif state.tuning is not None and isinstance(state.shortlist, FastScan) and state.fine is not None:
            grown = total > GROWN * state.tuning.rows
            fetched = reports() if grown or "reports" not in state.tuning.recall else no_reports()
            if not grown and not len(fetched):
                return
            tuning = tuned(state.rows, state.shortlist, state.fine, fetched)
            if tuning is None:
                self._rebuild(state.rows, reports)
            else:
                self.state = replace(state, tuning=tuning)

    def search(self, queries: Vectors, k: int, *, selection: Selection | None = None) -> list[Ranking]:
        state = self.state
        rows = state.rows
        if self._count == 0:
            return [[] for _ in queries]
        if selection is None:
            return state.search(queries, k, np.empty(0, np.int64))
        named = rows.rows_of(selection.ids)
        if selection.excluding:
            if k + len(named) <= DEPTHS[-1]:
                return state.search(queries, k, named)
        elif 2 * len(named) <= len(rows):
            return among(rows, queries, named, k)
        mask = np.zeros(len(rows), np.bool_)
        mask[named] = True
        return over_all(rows, queries, k, rows.alive & ~mask if selection.excluding else mask)

    def _mode_wanted(self) -> str:
        return self.sizes.mode(self._count, self.dim)

    def _rebuild(self, rows: VectorRows, reports: Reports) -> None:
        on_device = gpu_shortlist(rows)
        if on_device is not None:
            self.state = IndexState(rows, on_device)
            return
        mode, refused = self._mode_wanted(), 0
        if mode != EXACT:
            shortlist, fine = build(mode, rows)
            tuning = tuned(rows, shortlist, fine, reports())
            if tuning is not None:
                self.state = IndexState(rows, shortlist, tuning, fine, trained=len(rows))
                return
            refused = len(rows)
        self.state = IndexState(rows, HalfPrecision.of(rows), refused=refused)


def _closed_up(rows: VectorRows, spill: Path | None) -> VectorRows:
    """Without those removed, in order of id."""
    there = np.flatnonzero(rows.alive)
    there = there[np.argsort(rows.ids[there], kind="stable")]
    made = VectorRows(rows.dim, spill=spill)
    for start in range(0, len(there), 16_384):
        part = there[start : start + 16_384]
        made.append(rows.ids[part], rows.vectors(part))
    return made
