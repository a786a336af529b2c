"""The exact candidate index on a GPU, where FAISS has one and the rows fit its memory.

Used for what a GPU build does exactly: all rows, no filter. Plain GPU builds ignore a filter without a warning, so none
is ever given to them; filtered searches stay with `rerank.py`. Not tried on a GPU by this project's tests, which run
the same class over an index of the CPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from index_store.index.candidate_index import EXACT
from index_store.index.faiss_bindings import Rows, load_faiss
from index_store.index.vector_file import VectorRows
from index_store.vectors import Vectors

TF32_ERROR = 2e-3
"""How far a GPU's product of unit vectors may be off where it multiplies in TF32 (11 bits of each factor): 2 · 2**-11,
and as much again for safety."""
MAX_HITS = 2048
"""GPU FAISS returns no more."""
MEMORY_SHARE = 0.5
"""Of the free memory of the GPU."""


class FlatOnDevice:
    """All rows as float32 in `index`, any flat inner-product index of FAISS."""

    mode = EXACT
    max_error: float | None = TF32_ERROR

    def __init__(self, index: Any) -> None:
        self._index = index

    @property
    def count(self) -> int:
        """Number of rows, removed ones included."""
        return int(self._index.ntotal)

    def add(self, vectors: Vectors) -> None:
        """Add rows, float32[n, dim], at the end."""
        self._index.add(vectors)

    def zero(self, rows: Rows, vectors: Vectors) -> None:
        """Nothing: rows, int64[m], stay until the process ends. Nothing of the GPU is saved."""

    def search(self, queries: Vectors, fetch: int, margin: float = 0.0) -> tuple[Vectors, Rows]:
        """Scores and rows, float32 and int64[n, at most MAX_HITS]: see `CandidateIndex.search`."""
        scores, rows = self._index.search(queries, min(fetch, MAX_HITS))
        return scores, rows

    def memory_bytes(self) -> int:
        """0: it holds nothing in the host's memory."""
        return 0


def gpu_index(rows: VectorRows) -> FlatOnDevice | None:
    """With all rows; None where this build of FAISS, or this machine, has no GPU, or it is too small."""
    faiss = load_faiss()
    # `faiss-gpu` imports on a machine without one, and its copies of an index are wrong there without an error.
    if getattr(faiss, "get_num_gpus", lambda: 0)() < 1 or not hasattr(faiss, "GpuIndexFlatIP") or len(rows) == 0:
        return None
    if 4 * rows.dim * len(rows) > MEMORY_SHARE * faiss.getFreeMemory(0):
        return None
    index = FlatOnDevice(faiss.GpuIndexFlatIP(faiss.StandardGpuResources(), rows.dim))
    for _, block in rows.blocks():
        index.add(np.ascontiguousarray(block))
    return index
