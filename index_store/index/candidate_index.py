"""The approximate part of an index, quick and small: it names candidates, the rows that are worth ranking exactly.

    half precision    every row in float16 (`half_precision.py`); how far a score can be off is known, so that the
                      ranking stays exact
    fast scan         4-bit product quantizer, scanned in registers (64 B a row of 512 dimensions)
    inverted lists    the same codes in lists by nearest centre, of which a search reads some

Candidates are row numbers with approximate scores. Removed rows stay in place with their codes zeroed, and may be among
the candidates; the caller leaves them out.
"""

from __future__ import annotations

from typing import Any, BinaryIO, Protocol, Self

import numpy as np

from index_store.index.faiss_bindings import (
    Rows,
    list_centres,
    list_entries,
    load_faiss,
    read_index,
    search_lists,
    write_index,
    zero_fast_scan_codes,
    zero_list_codes,
)
from index_store.index.vector_file import VectorRows
from index_store.vectors import Ids, Vectors

EXACT, SCAN, LISTS = "half precision", "fast scan", "inverted lists"

DIMENSIONS_A_CODE = 4
"""Of 512 dimensions 128 sub-quantizers: 64 B. With 8, twice as many candidates were needed for the same recall."""
TRAINING_ROWS = 65_536
"""256 times the 16 centres of a sub-quantizer would do; lists take up to 39 for each of theirs (FAISS's advice)."""
ITERATIONS = 10
"""Of k-means. 25, FAISS's own choice, took 2.5 × as long for the same recall."""
SUM_ERROR = 1e-6
"""How far sums of 512 float32 products of unit vectors differ between ways to add them up."""


class CandidateIndex(Protocol):
    """Searches may run side by side; `add` and `zero` need exclusion."""

    mode: str
    max_error: float | None
    """The most by which a score differs from the exact inner product; None where there is no such bound."""

    @property
    def count(self) -> int:
        """Number of rows, removed ones included."""

    def add(self, vectors: Vectors) -> None:
        """Add rows, float32[n, dim], at the end."""

    def zero(self, rows: Rows, vectors: Vectors) -> None:
        """Zero the codes of removed rows, int64[m], which had these vectors, float32[m, dim]."""

    def search(self, queries: Vectors, fetch: int, margin: float = 0.0) -> tuple[Vectors, Rows]:
        """The `fetch` best rows of each query by approximate score, best first: float32 and int64[n, fetch], -1 where
        there are fewer.

        Args:
            queries: float32[n, dim].
            margin: of inverted lists those are read whose centre scores at most so much less than the best one; their
                rows are then all there are.
        """

    def memory_bytes(self) -> int:
        """Bytes held in memory."""


class FastScan:
    """Codes of a 4-bit product quantizer, scanned whole."""

    mode = SCAN
    max_error: float | None = None

    def __init__(self, index: Any) -> None:
        self.index = index
        """The FAISS index itself."""

    def margins(self, queries: Vectors) -> list[float]:
        """Margins worth trying in `search` for these queries, float32[n, dim]; without lists a margin has no effect."""
        return [0.0]

    def share(self, queries: Vectors, margin: float) -> float:
        """Which share of the lists `search` reads for these queries, float32[n, dim], on average."""
        return 1.0

    @classmethod
    def build(cls, rows: VectorRows) -> Self:
        """Trained on a sample of the rows that are not removed, and filled with all."""
        faiss = load_faiss()
        index = faiss.IndexPQFastScan(rows.dim, *_code(rows.dim), faiss.METRIC_INNER_PRODUCT)
        index.pq.cp.niter = ITERATIONS
        index.train(sample(rows, TRAINING_ROWS))
        return cls._filled(index, rows)

    @classmethod
    def _filled(cls, index: Any, rows: VectorRows) -> Self:
        for _, block in rows.blocks():
            index.add(block)
        return cls(index)

    @classmethod
    def read(cls, file: BinaryIO) -> Self:
        """The index that `write` wrote. Raises `RuntimeError` where FAISS cannot read it: compare a checksum first."""
        return cls(read_index(file, "IndexPQFastScan"))

    def write(self, file: BinaryIO) -> None:
        """Write it in FAISS's format."""
        write_index(self.index, file)

    @property
    def count(self) -> int:
        """Number of rows, removed ones included."""
        return int(self.index.ntotal)

    def add(self, vectors: Vectors) -> None:
        """Add rows, float32[n, dim], at the end."""
        self.index.add(vectors)

    def zero(self, rows: Rows, vectors: Vectors) -> None:
        """Zero the codes of removed rows; `vectors` float32[len(rows), dim]."""
        zero_fast_scan_codes(self.index, rows)

    def search(self, queries: Vectors, fetch: int, margin: float = 0.0) -> tuple[Vectors, Rows]:
        """Scores and rows, float32 and int64[n, fetch]: see `CandidateIndex.search`."""
        scores, rows = self.index.search(queries, fetch)
        return scores, rows

    def memory_bytes(self) -> int:
        """Bytes held in memory."""
        return int(self.index.codes.size())


class InvertedLists(FastScan):
    """Codes in lists by nearest centre. A search reads the lists whose centres are about as near as the nearest one.

    Not a fixed number of them: an image lies near few centres, while a text lies about as far from very many, and the
    number that it needs would have every image search read several times what it must.
    """

    mode = LISTS

    def __init__(self, index: Any) -> None:
        super().__init__(index)
        self._centres = list_centres(index)

    def margins(self, queries: Vectors) -> list[float]:
        """Margins worth trying in `search` for these queries, float32[n, dim], ascending: from those that read about
        four lists to one that reads all."""
        gaps = np.sort(np.concatenate([self._gaps(query)[None] for query in queries]), axis=1)
        numbers = np.unique(np.geomspace(min(4, self.lists), self.lists, 2 * self.lists.bit_length()).astype(int))
        return [*np.unique(gaps.mean(axis=0)[numbers - 1]).tolist(), float(gaps.max())]

    def share(self, queries: Vectors, margin: float) -> float:
        """Which share of the lists `search` reads for these queries, float32[n, dim], on average."""
        return float(np.mean([(self._gaps(query) <= margin).mean() for query in queries]))

    def _gaps(self, query: Vectors) -> Vectors:
        """How much less than the best each centre scores: float32[lists]. One query at a time, so that the result does
        not depend on what else is in the batch."""
        scores: Vectors = self._centres @ query
        return scores.max() - scores

    @classmethod
    def build(cls, rows: VectorRows) -> Self:
        """Trained on a sample of the rows that are not removed, and filled with all."""
        faiss = load_faiss()
        lists = list_count(len(rows))
        centres = faiss.IndexFlatIP(rows.dim)
        index = faiss.IndexIVFPQFastScan(centres, rows.dim, lists, *_code(rows.dim), faiss.METRIC_INNER_PRODUCT)
        index.by_residual = False  # with it, a table of distances is made for every list that is read
        index.cp.niter = index.pq.cp.niter = ITERATIONS
        index.train(sample(rows, max(TRAINING_ROWS, 39 * lists)))
        return cls._filled(index, rows)

    @classmethod
    def read(cls, file: BinaryIO) -> Self:
        """The index that `write` wrote. Raises as `FastScan.read`."""
        return cls(read_index(file, "IndexIVFPQFastScan"))

    @property
    def lists(self) -> int:
        """Number of lists."""
        return int(self.index.nlist)

    def zero(self, rows: Rows, vectors: Vectors) -> None:
        """Zero the codes of removed rows; `vectors` float32[len(rows), dim]."""
        zero_list_codes(self.index, rows, vectors)

    def search(self, queries: Vectors, fetch: int, margin: float = 0.0) -> tuple[Vectors, Rows]:
        """Scores and rows, float32 and int64[n, fetch]: see `CandidateIndex.search`."""
        near = []
        for query in queries:
            gaps = self._gaps(query)
            within = np.flatnonzero(gaps <= margin)
            near.append(within[np.argsort(gaps[within], kind="stable")])
        return search_lists(self.index, queries, near, fetch)

    def memory_bytes(self) -> int:
        """Bytes held in memory: codes, row numbers and centres."""
        return list_entries(self.index) * (self.index.code_size + 8) + 4 * self.index.d * self.lists


def list_count(rows: int) -> int:
    """How many inverted lists: near the square root of the number of rows, a power of two."""
    return 1 << max(2, round(np.log2(max(rows, 16)) / 2))


def _code(dim: int) -> tuple[int, int]:
    """Sub-quantizers and bits. Their number divides the dimension."""
    return next(m for m in range(-(-dim // DIMENSIONS_A_CODE), dim + 1) if dim % m == 0), 4


def sample(rows: VectorRows, most: int) -> Vectors:
    """Rows to train on, of those that are not removed, the same for the same rows: float32[<= most, dim]."""
    alive: Ids = np.flatnonzero(rows.table.alive)
    if len(alive) > most:
        alive = np.sort(np.random.default_rng(0).choice(alive, most, replace=False))
    return rows.vectors(alive)
