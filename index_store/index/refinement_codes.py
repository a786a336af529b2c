"""Codes that refine a candidate list without reading the rows themselves.

The codes of a candidate index are so coarse that hundreds of candidates are needed for one result, and each of them
would be a read of 2 kB somewhere in gigabytes. Here every row is kept once more as one byte for each of its principal
axes, half as many as it has dimensions. By these the candidates are ranked again, and only the best of them are read.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from index_store.index.faiss_bindings import Rows
from index_store.index.row_table import GrowableArray
from index_store.vectors import Vectors

Codes = NDArray[np.int8]
MAX_CODE = 127
"""The largest absolute value of a code."""
WEIGHT_SUM = 131_000
"""Of a query's absolute weights: sums of codes times weights then are whole numbers below 2**24, exact in float32 in
whatever order they are added, so that a row has the same score alone and among others."""


class RefinementCodes:
    """int8 codes of all rows, by row number. Scoring may run side by side; changing needs exclusion."""

    def __init__(self, axes: Vectors, centres: Vectors, steps: Vectors, codes: Codes) -> None:
        """
        Args:
            axes: float32[m, dim], orthonormal.
            centres: float32[m], where along each axis the code is 0; the same for all rows, it does not affect their
                order.
            steps: float32[m], what a code of 1 is worth along each axis.
            codes: int8[rows, m].
        """
        self._axes, self._centres, self._steps = axes, centres, steps
        self._codes = GrowableArray(codes)
        self.zeroed = False
        """Whether codes of removed rows were zeroed since the last saving."""

    @classmethod
    def train(cls, sample: Vectors) -> RefinementCodes:
        """No rows yet, with the axes along which the vectors of a sample, float32[n, dim], differ most."""
        m = code_size(sample.shape[1])
        deviations = sample - sample.mean(axis=0)
        _, axes = np.linalg.eigh(deviations.T @ deviations)
        axes = np.ascontiguousarray(axes[:, ::-1][:, :m].T, np.float32)
        along = sample @ axes.T
        low, high = along.min(axis=0), along.max(axis=0)
        steps = np.where(high > low, (high - low) / (2 * MAX_CODE), 1).astype(np.float32)
        return cls(axes, (low + high) / 2, steps, np.empty((0, m), np.int8))

    @classmethod
    def from_bytes(cls, data: NDArray[np.uint8], count: int, dim: int) -> RefinementCodes:
        """The codes of `count` rows from `data`, uint8[n]: the bytes that `write` wrote."""
        m = code_size(dim)
        numbers = data[: header_bytes(dim)].view("<f4").astype(np.float32)
        axes, centres, steps = np.split(numbers, [m * dim, m * dim + m])
        return cls(axes.reshape(m, dim), centres, steps, data[header_bytes(dim) :].view(np.int8).reshape(count, m))

    @property
    def header(self) -> bytes:
        """Axes, centres and steps, as little-endian float32."""
        return b"".join(part.astype("<f4").tobytes() for part in (self._axes, self._centres, self._steps))

    @property
    def codes(self) -> Codes:
        """int8[rows, m]."""
        return self._codes.array

    def add(self, vectors: Vectors) -> None:
        """Add rows, float32[n, dim], at the end."""
        steps = (vectors @ self._axes.T - self._centres) / self._steps
        self._codes.append(np.rint(steps).clip(-MAX_CODE, MAX_CODE).astype(np.int8))

    def zero(self, rows: Rows) -> None:
        """Zero the codes of removed rows, int64[m]."""
        self._codes.array[rows] = 0
        self.zeroed = True

    def scores(self, query: Vectors, rows: Rows) -> Vectors:
        """Approximate scores of these rows for one query, float32[dim]: float32[len(rows)], in the order of the inner
        products but for rounding. They are whole numbers, in a unit of the query's own."""
        weights = (self._axes @ query) * self._steps
        weights = np.rint(weights * (WEIGHT_SUM / max(float(np.abs(weights).sum()), 1e-30)))
        scores: Vectors = self._codes.array.take(rows, axis=0).astype(np.float32) @ weights.astype(np.float32)
        return scores

    def best(self, query: Vectors, rows: Rows, most: int) -> Rows:
        """Those of `rows`, int64[n], with the `most` best scores, and with the score of the last of them."""
        if len(rows) <= most:
            return rows
        scores = self.scores(query, rows)
        best: Rows = rows[scores >= np.partition(scores, -most)[-most]]
        return best

    def write(self, file: BinaryIO) -> None:
        """Write the header and the codes."""
        file.write(self.header)
        file.write(self.codes.data)

    def memory_bytes(self) -> int:
        """Bytes held in memory."""
        return self._codes.count * len(self._axes) + header_bytes(self._axes.shape[1])


def code_size(dim: int) -> int:
    """Bytes of a row's code."""
    return -(-dim // 2)


def header_bytes(dim: int) -> int:
    """Bytes of the header of a stored file."""
    return 4 * code_size(dim) * (dim + 2)
