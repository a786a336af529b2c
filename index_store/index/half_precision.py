"""All rows as float16, scanned whole: the candidate index of archives that are not very large.

What was saved lies in a file that is mapped, in order of the rows, and new rows lie in memory behind it. So opening
converts nothing, and processes that have the same archive open share one copy. The file has one checksum, the sum of
those of its rows, so that a change of some rows changes it without reading the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from index_store.atomic_write import append_durably, zero_durably
from index_store.index.candidate_index import EXACT, SUM_ERROR
from index_store.index.faiss_bindings import Halves, Rows, half_codes, half_index, half_view
from index_store.index.row_table import row_checksums
from index_store.index.vector_file import BLOCK, VectorRows
from index_store.vectors import Vectors


class HalfPrecision:
    """A `CandidateIndex`, exact by proof."""

    mode = EXACT

    def __init__(self, dim: int) -> None:
        """No rows yet."""
        # |q·v - q·half(v)| is at most |q| |v - half(v)|, and |q| and |v| are 1. A number is rounded by at most one part
        # in 2 ** 11 of it; by 2 ** -25 where it is below 2 ** -14. Measuring it takes longer than adding the vectors.
        self.max_error: float | None = 1.005 * (2**-11 + dim**0.5 * 2**-25) + SUM_ERROR
        self.checksum = 0
        """Of the rows that are not removed."""
        self._dim = dim
        self._not_zeroed: list[Rows] = []
        """Removed rows that the file may still hold."""
        self._saved = np.empty((0, dim), np.float16)
        # The rows in the file and those in memory. Replaced together: searches go on while they are saved.
        self._parts: tuple[Any, Any] = half_view(self._saved), half_index(dim)

    @classmethod
    def build(cls, rows: VectorRows) -> HalfPrecision:
        """Filled with all rows, in memory."""
        index = cls(rows.dim)
        for _, block in rows.blocks():
            index.add(block)
        index.zero(np.flatnonzero(~rows.table.alive), np.empty((0, rows.dim), np.float32))
        return index

    @classmethod
    def stored(cls, file: Path, rows: VectorRows, checksum: int) -> HalfPrecision:
        """The halves of all these rows in a file that `write` and `append_to` made.

        Raises:
            ValueError: the file is shorter, or its checksum is not this one.
        """
        index = cls(rows.dim)
        index._map(file, len(rows))
        index._not_zeroed = [np.flatnonzero(~rows.table.alive)]  # a killed writer may have left some
        index.checksum = index._sum(np.flatnonzero(rows.table.alive))
        if index.checksum % 2**64 != checksum:
            raise ValueError("another checksum")
        return index

    @property
    def count(self) -> int:
        """Number of rows, removed ones included."""
        return self.in_file + int(self._parts[1].ntotal)

    @property
    def in_file(self) -> int:
        """How many of the first rows are in the file."""
        return int(self._parts[0].ntotal)

    def add(self, vectors: Vectors) -> None:
        """Add rows, float32[n, dim], at the end."""
        first = self.count
        self._parts[1].add(vectors)
        self.checksum += self._sum(np.arange(first, self.count))

    def zero(self, rows: Rows, vectors: Vectors) -> None:
        """Zero the codes of removed rows that are in memory; those in the file are zeroed by `zero_removed`. `vectors`
        float32[len(rows), dim]."""
        self.checksum -= self._sum(rows)
        self._not_zeroed.append(rows)
        half_codes(self._parts[1])[rows[rows >= self.in_file] - self.in_file] = 0

    def search(self, queries: Vectors, fetch: int, margin: float = 0.0) -> tuple[Vectors, Rows]:
        """Scores and rows, float32 and int64[n, fetch]: see `CandidateIndex.search`."""
        saved, added = self._parts
        if not added.ntotal or not saved.ntotal:
            scores, rows = (saved if saved.ntotal else added).search(queries, fetch)
            return scores, rows
        found = [part.search(queries, min(fetch, part.ntotal)) for part in (saved, added)]
        scores = np.concatenate([scores for scores, _ in found], axis=1)
        rows = np.concatenate([found[0][1], found[1][1] + saved.ntotal], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :fetch]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def memory_bytes(self) -> int:
        """Bytes held in memory: the rows that are in no file."""
        return int(self._parts[1].codes.size())

    # On disk

    def write(self, file: BinaryIO) -> None:
        """Write all rows, removed ones as zeros."""
        removed = np.zeros(self.count, np.bool_)
        removed[np.concatenate([np.empty(0, np.int64), *self._not_zeroed])] = True
        for start in range(0, self.count, BLOCK):
            rows = np.arange(start, min(start + BLOCK, self.count))
            file.write(np.where(removed[rows, None], np.float16(0), self._codes(rows)).astype("<f2").data)

    def append_to(self, path: Path) -> None:
        """Add the rows that the file lacks at its end. Durable on return."""
        append_durably(path, self.in_file * self.row_bytes, [half_codes(self._parts[1]).astype("<f2").data])

    def zero_removed(self, path: Path) -> None:
        """Overwrite removed rows of the file with zeros. Durable on return."""
        removed = np.concatenate([np.empty(0, np.int64), *self._not_zeroed])
        left = removed[self._codes(removed).any(axis=1)].tolist()
        if left:
            zero_durably(path, [row * self.row_bytes for row in left], self.row_bytes)
        self._not_zeroed = []

    def use_file(self, path: Path) -> None:
        """From now on read all rows from `path`, where `write` or `append_to` put them. Searches may go on."""
        self._map(path, self.count)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in the file."""
        return 2 * self._dim

    def _map(self, path: Path, count: int) -> None:
        if path.stat().st_size < count * self.row_bytes:
            raise ValueError("too short")
        if count:  # nothing can be mapped
            self._saved = np.memmap(path, "<f2", "r", shape=(count, self._dim))
        self._parts = half_view(self._saved), half_index(self._dim)

    def _codes(self, rows: Rows) -> Halves:
        """float16[len(rows), dim]."""
        codes = np.empty((len(rows), self._dim), np.float16)
        saved = rows < self.in_file
        codes[saved] = self._saved[rows[saved]]
        codes[~saved] = half_codes(self._parts[1])[rows[~saved] - self.in_file]
        return codes

    def _sum(self, rows: Rows) -> int:
        """The checksums of these rows together. A row of which one number is changed never keeps its part of the sum,
        and rows that are exchanged do not either: every factor is odd, and each row has its own."""
        total = 0
        for start in range(0, len(rows), BLOCK):
            part = rows[start : start + BLOCK]
            factors = 2 * part.astype(np.uint64) + np.uint64(1)
            total += int((row_checksums(part, self._codes(part)) * factors).sum(dtype=np.uint64))
        return total
