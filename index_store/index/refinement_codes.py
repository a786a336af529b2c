"""A closer look at the rows on a shortlist, without reading the rows themselves.

The codes of a shortlist are so coarse that hundreds of candidates are needed for one answer, and each of them would be
a read of 2 kB somewhere in gigabytes. Here every row is kept once more as one byte for each of its principal axes, half
as many as it has dimensions. By these the candidates are ranked again, and only the best of them are read.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from index_store.index.growable_array import Growing
from index_store.index.vector_file import Rows
from index_store.vectors import Vectors

Codes = NDArray[np.int8]
LARGEST = 127
"""Of a code."""
SUM = 131_000
"""Of a query's absolute weights: sums of codes times weights then are whole numbers below 2**24, exact in float32 in
whatever order they are added, so that a row has the same score alone and among others."""


class FineCodes:
    """int8 codes of all rows, by row number. Scores may be asked for side by side; changing needs exclusion."""

    def __init__(self, axes: Vectors, middles: Vectors, steps: Vectors, codes: Codes) -> None:
        """
        Args:
            axes: float32[m, dim], orthonormal.
            middles: float32[m], where along each axis the code is 0; the same for all rows, it is of no consequence to
                their order.
            steps: float32[m], what a code of 1 is worth along each axis.
            codes: int8[rows, m].
        """
        self._axes, self._middles, self._steps = axes, middles, steps
        self._codes = Growing(codes)
        self.erased = False
        """Whether rows that are coded were erased."""

    @classmethod
    def trained(cls, sample: Vectors) -> FineCodes:
        """No rows yet, with the axes along which the vectors of a sample, float32[n, dim], differ most."""
        m = code_size(sample.shape[1])
        away = sample - sample.mean(axis=0)
        _, axes = np.linalg.eigh(away.T @ away)
        axes = np.ascontiguousarray(axes[:, ::-1][:, :m].T, np.float32)
        along = sample @ axes.T
        low, high = along.min(axis=0), along.max(axis=0)
        steps = np.where(high > low, (high - low) / (2 * LARGEST), 1).astype(np.float32)
        return cls(axes, (low + high) / 2, steps, np.empty((0, m), np.int8))

    @classmethod
    def stored(cls, data: NDArray[np.uint8], count: int, dim: int) -> FineCodes:
        """From what `header` and `codes` were, one after the other."""
        m = code_size(dim)
        numbers = data[: header_bytes(dim)].view("<f4").astype(np.float32)
        axes, middles, steps = np.split(numbers, [m * dim, m * dim + m])
        return cls(axes.reshape(m, dim), middles, steps, data[header_bytes(dim) :].view(np.int8).reshape(count, m))

    @property
    def header(self) -> bytes:
        return b"".join(part.astype("<f4").tobytes() for part in (self._axes, self._middles, self._steps))

    @property
    def codes(self) -> Codes:
        return self._codes.array

    def add(self, vectors: Vectors) -> None:
        """Further rows."""
        steps = (vectors @ self._axes.T - self._middles) / self._steps
        self._codes.append(np.rint(steps).clip(-LARGEST, LARGEST).astype(np.int8))

    def erase(self, rows: Rows) -> None:
        """Forget what these rows were like."""
        self._codes.array[rows] = 0
        self.erased = True

    def scores(self, query: Vectors, rows: Rows) -> Vectors:
        """float32[len(rows)], ordered as inner products with `query` but for rounding; the unit is the query's own."""
        weights = (self._axes @ query) * self._steps
        weights = np.rint(weights * (SUM / max(float(np.abs(weights).sum()), 1e-30)))
        scores: Vectors = self._codes.array.take(rows, axis=0).astype(np.float32) @ weights.astype(np.float32)
        return scores

    def best(self, query: Vectors, rows: Rows, most: int) -> Rows:
        """Those of `rows` with the `most` best scores, and with the last one's."""
        if len(rows) <= most:
            return rows
        scores = self.scores(query, rows)
        chosen: Rows = rows[scores >= np.partition(scores, -most)[-most]]
        return chosen

    def write(self, file: BinaryIO) -> None:
        file.write(self.header)
        file.write(self.codes.data)

    def memory_bytes(self) -> int:
        return self._codes.count * len(self._axes) + header_bytes(self._axes.shape[1])


def code_size(dim: int) -> int:
    """Bytes a row."""
    return -(-dim // 2)


def header_bytes(dim: int) -> int:
    return 4 * code_size(dim) * (dim + 2)
