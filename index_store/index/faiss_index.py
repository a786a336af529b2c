"""The vector index within the process: candidates by FAISS, ranked exactly by the vectors themselves.

Which candidate index depends on size (`recall_tuning.py`); `candidate_index.py` says what there is. Under a filter by
value the permitted rows are compared one by one, in every mode, so that a filter never costs recall: graphs and lists
that are searched first and filtered later do. Where a selection only excludes a few images (the query's own patient),
the candidate list is made longer by as many, at the recall of a search without a filter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from index_store.index.candidate_index import EXACT, FastScan
from index_store.index.faiss_bindings import Rows
from index_store.index.gpu_flat import FlatOnDevice, gpu_index
from index_store.index.half_precision import HalfPrecision
from index_store.index.recall_tuning import DEPTHS, IndexSizes, build, tune
from index_store.index.rerank import Ranking, rank_all, rank_subset
from index_store.index.searcher import Searcher
from index_store.index.vector_file import BLOCK, DamagedRowsError, VectorRows
from index_store.vectors import Ids, Selection, Vectors

FEW_QUERIES = 2
"""Up to so many queries, a selection of most images is searched as one that leaves out the others: rows of half
precision are read in half the time. A product with all rows takes no longer for some queries than for one."""
REMOVED_SHARE = 4
"""The rows are compacted when more than one in so many is removed."""
FEW_REMOVED = 1000
"""... and more than these."""
RETRAINED = 4
"""A quantizer is trained anew when there are so many times more rows than it has seen."""
GROWN = 1.25
"""Recall is measured anew when there are so many times more rows than at the last time."""
Reports = Callable[[], Vectors]
"""Fetches vectors of reports, for which recall is measured too: float32[n, dim]. Called where they are needed."""


def no_reports() -> Vectors:
    """float32[0, 0]: recall is not measured for reports."""
    return np.empty((0, 0), np.float32)


class FaissIndex:
    """A `VectorIndex`, whose methods are described there."""

    def __init__(self, dim: int, *, sizes: IndexSizes | None = None, spill: Path | None = None) -> None:
        """Empty. `spill` is a folder for temporary files, see `VectorRows`."""
        self.sizes = sizes or IndexSizes()
        self.searcher = Searcher(VectorRows(dim, spill=spill), HalfPrecision(dim))
        self._spill = spill
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
        """With all of these vectors, float32[n, dim] each, in the mode that fits their number."""
        index = cls(dim, sizes=sizes, spill=spill)
        for ids, vectors in chunks:
            index.searcher.rows.append(ids, vectors)
        index._count = len(index.searcher.rows)
        index._rebuild(index.searcher.rows, reports)
        return index

    @classmethod
    def around(cls, searcher: Searcher, *, sizes: IndexSizes | None = None, spill: Path | None = None) -> FaissIndex:
        """With the state that was read from files."""
        index = cls(searcher.rows.dim, sizes=sizes, spill=spill)
        on_device = gpu_index(searcher.rows)
        index.searcher = searcher if on_device is None else Searcher(searcher.rows, on_device)
        index._count = int(searcher.rows.table.alive.sum())
        return index

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector."""
        return self.searcher.rows.dim

    @property
    def count(self) -> int:
        """Number of vectors, removed ones not counted."""
        return self._count

    @property
    def mode(self) -> str:
        """The kind of candidate index: `EXACT`, `SCAN` or `LISTS`."""
        return self.searcher.candidates.mode

    def memory_bytes(self) -> int:
        """Bytes held in memory by vectors, ids and codes. Mapped files are not counted."""
        searcher = self.searcher
        refinement = searcher.codes.memory_bytes() if searcher.codes else 0
        return searcher.rows.memory_bytes() + searcher.candidates.memory_bytes() + refinement

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add vectors, float32[n, dim], under ids, int64[n]."""
        self.searcher.rows.append(ids, vectors)
        self.searcher.candidates.add(vectors)
        if self.searcher.codes is not None:
            self.searcher.codes.add(vectors)
        self._count += len(ids)
        if self.mode == EXACT and 4 * self.dim * len(self.searcher.rows) > 2 * self.sizes.exact_bytes:
            self.settle()  # else memory would grow with what is added before the index is saved

    def remove(self, ids: Ids) -> None:
        """Remove these ids, int64[n]. Nothing of the vectors stays in memory, nor, after a saving, on disk."""
        rows = self.searcher.rows.table.rows_of(ids)
        self.searcher.candidates.zero(rows, self._stored(rows))
        if self.searcher.codes is not None:
            self.searcher.codes.zero(rows)
        self.searcher.rows.remove(rows)
        self._count -= len(rows)

    def _stored(self, rows: Rows) -> Vectors:
        """By which a candidate index finds the codes to zero; a damaged vector is no reason not to remove it."""
        try:
            return self.searcher.rows.vectors(rows)
        except DamagedRowsError:
            return np.zeros((len(rows), self.dim), np.float32)

    def check(self) -> None:
        """Compare every vector that is in a file with its checksum.

        Raises:
            DamagedRowsError: one is not what was written.
        """
        self.searcher.rows.verify_all()

    def settle(self, reports: Reports = no_reports) -> None:
        """Choose the mode that fits the size, train it, measure its recall, and compact the rows. Searches may run
        meanwhile, additions and removals may not. Does nothing where little has changed."""
        searcher, total = self.searcher, len(self.searcher.rows)
        if total - self._count > max(FEW_REMOVED, total // REMOVED_SHARE):
            self._rebuild(_compacted(searcher.rows, self._spill), reports)
        elif isinstance(searcher.candidates, FlatOnDevice) or 0 < total <= RETRAINED * searcher.refused:
            return
        elif self._wanted_mode() != self.mode or (searcher.trained and total > RETRAINED * searcher.trained):
            self._rebuild(searcher.rows, reports)
        elif searcher.tuning is not None and isinstance(searcher.candidates, FastScan) and searcher.codes is not None:
            grown = total > GROWN * searcher.tuning.rows
            fetched = reports() if grown or "reports" not in searcher.tuning.recall else no_reports()
            if not grown and not len(fetched):
                return
            tuning = tune(searcher.rows, searcher.candidates, searcher.codes, fetched)
            if tuning is None:
                self._rebuild(searcher.rows, reports)
            else:
                self.searcher = replace(searcher, tuning=tuning)

    def search(self, queries: Vectors, k: int, *, selection: Selection | None = None) -> list[Ranking]:
        """The k best of a selection for each query, float32[n, dim]: see `VectorIndex.search`."""
        searcher = self.searcher
        rows = searcher.rows
        if self._count == 0:
            return [[] for _ in queries]
        if selection is None:
            return searcher.search(queries, k, np.empty(0, np.int64))
        selected = rows.table.rows_of(selection.ids)
        if selection.excluding:
            if k + len(selected) <= DEPTHS[-1]:
                return searcher.search(queries, k, selected)
        elif 2 * len(selected) <= len(rows):
            return rank_subset(rows, queries, selected, k)
        mask = np.zeros(len(rows), np.bool_)
        mask[selected] = True
        if not selection.excluding and self.mode == EXACT and len(queries) <= FEW_QUERIES:
            return searcher.search(queries, k, np.flatnonzero(rows.table.alive & ~mask))
        return rank_all(rows, queries, k, rows.table.alive & ~mask if selection.excluding else mask)

    def _wanted_mode(self) -> str:
        return self.sizes.mode(self._count, self.dim)

    def _rebuild(self, rows: VectorRows, reports: Reports) -> None:
        """Make the candidate index of these rows anew, in the mode that fits."""
        on_device = gpu_index(rows)
        if on_device is not None:
            self.searcher = Searcher(rows, on_device)
            return
        mode, refused = self._wanted_mode(), 0
        if mode != EXACT:
            candidates, codes = build(mode, rows)
            tuning = tune(rows, candidates, codes, reports())
            if tuning is not None:
                self.searcher = Searcher(rows, candidates, tuning, codes, trained=len(rows))
                return
            refused = len(rows)
        self.searcher = Searcher(rows, HalfPrecision.build(rows), refused=refused)


def _compacted(rows: VectorRows, spill: Path | None) -> VectorRows:
    """The rows that are not removed, in order of id."""
    alive = np.flatnonzero(rows.table.alive)
    alive = alive[np.argsort(rows.table.ids[alive], kind="stable")]
    compacted = VectorRows(rows.dim, spill=spill)
    for start in range(0, len(alive), BLOCK):
        part = alive[start : start + BLOCK]
        compacted.append(rows.table.ids[part], rows.vectors(part))
    return compacted
