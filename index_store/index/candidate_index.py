"""Which rows are worth ranking exactly: the part of an index that is approximate, quick and small.

    half precision    every row in float16; how far a score can be off is known, so that the ranking stays exact
    fast scan         4-bit product quantizer, scanned in registers (64 B a row of 512 dimensions)
    inverted lists    the same codes in lists by nearest centre, of which a search reads some

All answer with row numbers and scores of their own. Removed rows stay in place, emptied; whoever asks leaves them out.
"""

from __future__ import annotations

from typing import Any, BinaryIO, Protocol

import numpy as np

from index_store.index.faiss_build import load_faiss
from index_store.index.vector_file import Rows, VectorRows
from index_store.vectors import Ids, Vectors

EXACT, SCAN, LISTS = "half precision", "fast scan", "inverted lists"

DIMENSIONS_A_CODE = 4
"""Of 512 dimensions 128 sub-quantizers: 64 B. With 8, twice as many candidates were needed for the same recall."""
TRAINING_ROWS = 65_536
"""256 times the 16 centres of a sub-quantizer would do; lists take up to 39 for each of theirs (FAISS's advice)."""
ITERATIONS = 10
"""Of k-means. 25, FAISS's own choice, took 2.5 × as long for the same recall."""
SUMMING = 1e-6
"""How far sums of 512 float32 products of unit vectors differ between ways to add them up."""


class Shortlist(Protocol):
    """Finds candidates. Searches may run side by side; `add` and `erase` need exclusion."""

    mode: str
    error: float | None
    """The most by which a score differs from the exact inner product; None where there is no such bound."""

    @property
    def count(self) -> int:
        """Rows, removed ones counted."""

    def add(self, vectors: Vectors) -> None:
        """Further rows."""

    def erase(self, rows: Rows, vectors: Vectors) -> None:
        """Forget what these rows were like: they had these vectors. They may still be found."""

    def find(self, queries: Vectors, fetch: int, margin: float = 0.0) -> tuple[Vectors, Rows]:
        """The `fetch` best rows of each query by own scores, best first; -1 where there are fewer.

        Args:
            margin: of inverted lists those are read whose centre scores at most so much less than the best one; their
                rows are then all there is.
        """

    def memory_bytes(self) -> int: ...


class HalfPrecision:
    """All rows as float16, scanned whole."""

    mode = EXACT

    def __init__(self, dim: int) -> None:
        faiss = load_faiss()
        self.error: float | None = SUMMING
        self._index: Any = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)

    @classmethod
    def of(cls, rows: VectorRows) -> HalfPrecision:
        made = cls(rows.dim)
        for _, block in rows.blocks():
            made.add(block)
        return made

    @property
    def count(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: Vectors) -> None:
        # |q·v - q·half(v)| is at most |q| |v - half(v)|, and |q| is 1.
        off = np.linalg.norm(vectors - vectors.astype(np.float16), axis=1).max(initial=0.0)
        self.error = max(self.error or 0.0, float(off) * 1.001 + SUMMING)
        self._index.add(vectors)

    def erase(self, rows: Rows, vectors: Vectors) -> None:
        codes = load_faiss().rev_swig_ptr(self._index.codes.data(), self._index.codes.size())
        codes.reshape(self.count, -1)[rows] = 0

    def find(self, queries: Vectors, fetch: int, margin: float = 0.0) -> tuple[Vectors, Rows]:
        scores, rows = self._index.search(queries, fetch)
        return scores, rows

    def memory_bytes(self) -> int:
        return int(self._index.codes.size())


class FastScan:
    """Codes of a 4-bit product quantizer, scanned whole."""

    mode = SCAN
    error: float | None = None

    def __init__(self, index: Any) -> None:
        self._index = index

    def margins(self, queries: Vectors) -> list[float]:
        """Those worth trying for `find`, ascending; of no consequence where there are no lists."""
        return [0.0]

    def share(self, queries: Vectors, margin: float) -> float:
        """Which part of the lists `find` reads for these queries, on average."""
        return 1.0

    @classmethod
    def of(cls, rows: VectorRows) -> FastScan:
        """Trained on a sample of the rows that are there, and filled with all."""
        faiss = load_faiss()
        index = faiss.IndexPQFastScan(rows.dim, *_code(rows.dim), faiss.METRIC_INNER_PRODUCT)
        index.pq.cp.niter = ITERATIONS
        index.train(sample(rows, TRAINING_ROWS))
        made = cls(index)
        for _, block in rows.blocks():
            made.add(block)
        return made

    @classmethod
    def read(cls, file: BinaryIO) -> FastScan:
        """What `write` wrote. Raises `RuntimeError` where FAISS cannot make sense of it: compare a checksum first."""
        return cls(_read(file, "IndexPQFastScan"))

    def write(self, file: BinaryIO) -> None:
        """Through Python, because FAISS's own writer passes over a full disk in silence."""
        faiss = load_faiss()
        faiss.write_index(self._index, faiss.PyCallbackIOWriter(file.write))

    @property
    def count(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: Vectors) -> None:
        self._index.add(vectors)

    def erase(self, rows: Rows, vectors: Vectors) -> None:
        faiss = load_faiss()
        packer = self._index.get_CodePacker()
        blocks = faiss.rev_swig_ptr(self._index.codes.get(), self._index.codes.size()).reshape(-1, packer.block_size)
        nothing = np.zeros(packer.code_size, np.uint8)
        for row in rows.tolist():
            packer.pack_1(nothing, row, blocks)

    def find(self, queries: Vectors, fetch: int, margin: float = 0.0) -> tuple[Vectors, Rows]:
        scores, rows = self._index.search(queries, fetch)
        return scores, rows

    def memory_bytes(self) -> int:
        return int(self._index.codes.size())


class InvertedLists(FastScan):
    """Codes in lists by nearest centre. A search reads those whose centres are about as near as the nearest one.

    Not a fixed number of them: an image lies near few centres, while a text lies about as far from very many, and the
    number that it needs would have every image search read several times what it must.
    """

    mode = LISTS

    def __init__(self, index: Any) -> None:
        super().__init__(index)
        faiss = load_faiss()
        centres = faiss.downcast_index(index.quantizer)
        self._centres = faiss.rev_swig_ptr(centres.get_xb(), centres.ntotal * centres.d).reshape(-1, centres.d)

    def margins(self, queries: Vectors) -> list[float]:
        behind = np.sort(np.concatenate([self._behind(query)[None] for query in queries]), axis=1)
        numbers = np.unique(np.geomspace(min(4, self.lists), self.lists, 2 * self.lists.bit_length()).astype(int))
        return [*np.unique(behind.mean(axis=0)[numbers - 1]).tolist(), float(behind.max())]

    def share(self, queries: Vectors, margin: float) -> float:
        return float(np.mean([(self._behind(query) <= margin).mean() for query in queries]))

    def _behind(self, query: Vectors) -> Vectors:
        """How much less than the best each centre scores: float32[lists]. One query at a time, so that the answer does
        not depend on what else is in the batch."""
        scores: Vectors = self._centres @ query
        return scores.max() - scores

    @classmethod
    def of(cls, rows: VectorRows) -> InvertedLists:
        faiss = load_faiss()
        lists = list_count(len(rows))
        centres = faiss.IndexFlatIP(rows.dim)
        index = faiss.IndexIVFPQFastScan(centres, rows.dim, lists, *_code(rows.dim), faiss.METRIC_INNER_PRODUCT)
        index.by_residual = False  # with it, a table of distances is made for every list that is read
        index.cp.niter = index.pq.cp.niter = ITERATIONS
        index.train(sample(rows, max(TRAINING_ROWS, 39 * lists)))
        made = cls(index)
        for _, block in rows.blocks():
            made.add(block)
        return made

    @classmethod
    def read(cls, file: BinaryIO) -> InvertedLists:
        return cls(_read(file, "IndexIVFPQFastScan"))

    @property
    def lists(self) -> int:
        return int(self._index.nlist)

    def erase(self, rows: Rows, vectors: Vectors) -> None:
        # Not by `remove_ids`: what FAISS 1.15 adds to a list after that gets wrong codes (627 of 1,000 in a trial).
        faiss = load_faiss()
        lists, packer = self._index.invlists, self._index.get_CodePacker()
        nothing = np.zeros(packer.code_size, np.uint8)
        if len(rows) == 0:
            return
        _, homes = self._index.quantizer.search(vectors, 1)
        for row, home in zip(rows.tolist(), homes[:, 0].tolist(), strict=True):
            size = lists.list_size(home)
            held = faiss.rev_swig_ptr(lists.get_ids(home), size) if size else np.empty(0, np.int64)
            places = np.flatnonzero(held == row)
            if places.size:
                blocks = -(-size // packer.nvec)
                codes = faiss.rev_swig_ptr(lists.get_codes(home), blocks * packer.block_size)
                packer.pack_1(nothing, int(places[0]), codes.reshape(blocks, packer.block_size))

    def find(self, queries: Vectors, fetch: int, margin: float = 0.0) -> tuple[Vectors, Rows]:
        faiss = load_faiss()
        chosen = []
        for query in queries:
            behind = self._behind(query)
            near = np.flatnonzero(behind <= margin)
            chosen.append(near[np.argsort(behind[near], kind="stable")])
        lists = np.full((len(queries), max(map(len, chosen))), -1, np.int64)  # -1: no list
        for row, near in zip(lists, chosen, strict=True):
            row[: len(near)] = near
        scores = np.empty((len(queries), fetch), np.float32)
        rows = np.empty((len(queries), fetch), np.int64)
        centre_scores = np.zeros(lists.shape, np.float32)  # not used by codes that are not residuals
        # Parameters are made for each search: sharing them between threads is not safe. FAISS's own Python function
        # takes none here.
        arrays = (faiss.swig_ptr(array) for array in (lists, centre_scores, scores, rows))
        parameters = faiss.IVFSearchParameters(nprobe=lists.shape[1])
        queries = np.ascontiguousarray(queries, np.float32)
        self._index.search_preassigned_c(len(queries), faiss.swig_ptr(queries), fetch, *arrays, False, parameters)
        return scores, rows

    def memory_bytes(self) -> int:
        faiss = load_faiss()
        lists = faiss.downcast_InvertedLists(self._index.invlists)
        held = sum(lists.list_size(i) for i in range(self.lists))
        return held * (self._index.code_size + 8) + 4 * self._index.d * self.lists


def list_count(rows: int) -> int:
    """How many inverted lists: near the square root of the number of rows, a power of two."""
    return 1 << max(2, round(np.log2(max(rows, 16)) / 2))


def _code(dim: int) -> tuple[int, int]:
    """Sub-quantizers and bits. Their number divides the dimension."""
    return next(m for m in range(-(-dim // DIMENSIONS_A_CODE), dim + 1) if dim % m == 0), 4


def sample(rows: VectorRows, most: int) -> Vectors:
    """Rows to train on, those that are there, the same for the same rows: float32[<= most, dim]."""
    there: Ids = np.flatnonzero(rows.alive)
    if len(there) > most:
        there = np.sort(np.random.default_rng(0).choice(there, most, replace=False))
    return rows.vectors(there)


def _read(file: BinaryIO, kind: str) -> Any:
    faiss = load_faiss()
    index = faiss.read_index(faiss.PyCallbackIOReader(file.read))
    if type(index).__name__ != kind:
        raise RuntimeError(f"holds a {type(index).__name__}")
    return index
