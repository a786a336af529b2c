"""The vectors of an index themselves: float32, row by row, in a file that is mapped and not held in memory.

Rows are only ever added at the end. A removed row gets a tombstone and is overwritten with zeros. Every ranking ends
with these rows; they make it exact.

Every row has a checksum, kept apart from it. A mapped row is compared with its checksum when a process reads it for the
first time: opening a file of gigabytes then costs nothing, and a damaged row is noticed before it can be ranked.
"""

from __future__ import annotations

import mmap
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from index_store.atomic_write import append_durably, private_folder, zero_durably
from index_store.errors import IndexDriftError
from index_store.index.faiss_bindings import Rows, inner_products
from index_store.index.row_table import GrowableArray, RowTable, row_checksums
from index_store.vectors import Ids, Vectors

BLOCK = 16_384
"""Rows worked on at a time (at 512 dimensions 32 MB)."""
IN_MEMORY = 32_768
"""New rows held in memory (at 512 dimensions 64 MB) before they go to a temporary file."""
FEW_QUERIES = 4
"""Up to so many, inner products are computed without copying the rows."""


class DamagedRowsError(IndexDriftError):
    """Rows do not match their checksums, or were zeroed by a writer while they were read."""

    def __init__(self) -> None:
        super().__init__("The saved vector index is damaged. Open the archive again: it is rebuilt from the records.")


class VectorRows:
    """Vectors by row number. Reading may run side by side; changing needs exclusion, `use_file` excepted."""

    def __init__(self, dim: int, *, spill: Path | None = None) -> None:
        """No rows yet.

        Args:
            spill: a folder where a temporary file may be made for many new rows; without it they stay in memory.
        """
        self.dim = dim
        self.table = RowTable.empty()
        """Id, checksum and tombstone of each row."""
        self._spill_folder = spill
        self._verified = GrowableArray(np.empty(0, np.bool_))
        self._not_zeroed: list[Rows] = []
        """Removed rows that the file may still hold."""
        self._spill: BinaryIO | None = None
        self._memory = GrowableArray(self._no_rows())
        # Rows in the file, in the temporary file, in memory. Replaced together: searches go on while we are saved.
        self._parts = (self._no_rows(), self._no_rows(), self._no_rows())

    @classmethod
    def stored(cls, file: Path, table: RowTable, dim: int, spill: Path | None) -> VectorRows:
        """The first len(table) rows of a file that `write` and `append_to` made.

        Raises:
            ValueError: the file is shorter.
        """
        rows = cls(dim, spill=spill)
        if file.stat().st_size < len(table) * rows.row_bytes:
            raise ValueError("too short")
        rows.table = table
        rows._verified = GrowableArray(np.zeros(len(table), np.bool_))
        rows._not_zeroed = [np.flatnonzero(~table.alive)]  # a killed writer may have left some
        rows._parts = (_mapped(file, len(table), dim), rows._no_rows(), rows._no_rows())
        return rows

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in the file."""
        return 4 * self.dim

    def __len__(self) -> int:
        return len(self.table)

    @property
    def in_file(self) -> int:
        """How many of the first rows are in the file."""
        return len(self._parts[0])

    def memory_bytes(self) -> int:
        """Bytes held in memory: ids, checksums and marks, and the rows that are in no file."""
        return len(self) * (8 + 8 + 1 + 1) + self._memory.count * self.row_bytes

    # Reading

    def vectors(self, rows: Rows) -> Vectors:
        """float32[len(rows), dim].

        Raises:
            DamagedRowsError: they are not what was written.
        """
        self._verify(rows)
        vectors = np.empty((len(rows), self.dim), np.float32)
        for part, rows_of_part, where in self._by_part(rows):
            vectors[where] = part[rows_of_part]
        return vectors

    def products(self, queries: Vectors, rows: Rows) -> Vectors:
        """Inner products float32[len(queries), len(rows)]. Copies the rows only for more than `FEW_QUERIES`.

        Args:
            queries: float32[n, dim].

        Raises:
            DamagedRowsError: the rows are not what was written.
        """
        self._verify(rows)
        products = np.empty((len(queries), len(rows)), np.float32)
        if len(queries) > FEW_QUERIES:
            for start in range(0, len(rows), BLOCK):
                products[:, start : start + BLOCK] = queries @ self.vectors(rows[start : start + BLOCK]).T
            return products
        for part, rows_of_part, where in self._by_part(rows):
            for number, query in enumerate(queries):
                products[number, where] = inner_products(query, part, rows_of_part)
        self._check_not_zeroed(rows[(products == 0).any(axis=0)])
        return products

    def blocks(self) -> Iterator[tuple[int, Vectors]]:
        """All rows in order as (first row, float32[n, dim]); removed ones too, as zeros or as what they were.

        Raises:
            DamagedRowsError: as `vectors`.
        """
        for start in range(0, len(self), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(self)))
            self._verify(rows)
            ((part, rows_of_part, _), *more) = self._by_part(rows)
            block = self.vectors(rows) if more else part[rows_of_part[0] : rows_of_part[-1] + 1]
            self._check_not_zeroed(rows[block[:, 0] == 0])
            yield start, block
        for part in self._parts:
            _give_back(part)

    def verify_all(self) -> None:
        """Read every row and compare it with its checksum. Raises `DamagedRowsError`."""
        self._verified.array[: self.in_file] = False
        for _ in self.blocks():
            pass

    # Changing

    def append(self, ids: Ids, vectors: Vectors) -> None:
        """Add rows, float32[len(ids), dim], at the end."""
        if len(ids) == 0:
            return
        self._memory.append(vectors)
        self._verified.append(np.ones(len(ids), np.bool_))
        self.table.append(ids, row_checksums(ids, vectors))
        self._parts = (*self._parts[:2], self._memory.array)
        if self._memory.count >= IN_MEMORY and self._spill_folder is not None:
            self._to_temporary_file(self._spill_folder)

    def remove(self, rows: Rows) -> None:
        """Set the tombstones of these rows, int64[m], and zero those in memory. `zero_removed` zeroes those in the
        file."""
        self.table.remove(rows)
        self._not_zeroed.append(rows)
        first_in_memory = len(self) - self._memory.count
        self._memory.array[rows[rows >= first_in_memory] - first_in_memory] = 0

    # On disk

    def write(self, file: BinaryIO) -> None:
        """Write all rows, removed ones as zeros."""
        for start, block in self.blocks():
            removed = ~self.table.alive[start : start + len(block)]
            block = np.where(removed[:, None], np.float32(0), block) if removed.any() else block
            file.write(block.astype("<f4").data)

    def append_to(self, path: Path) -> None:
        """Add the rows that the file lacks at its end, removed ones as zeros. Durable on return.

        A row that the index's metadata (`storage.py`) counts is never changed except to be zeroed.
        """

        def lacking() -> Iterator[memoryview]:
            for start in range(self.in_file, len(self), BLOCK):
                rows = np.arange(start, min(start + BLOCK, len(self)))
                vectors = self.vectors(rows)
                vectors[~self.table.alive[rows]] = 0
                yield vectors.astype("<f4").data

        append_durably(path, self.in_file * self.row_bytes, lacking())

    def zero_removed(self, path: Path) -> None:
        """Overwrite removed rows of the file with zeros. Durable on return."""
        removed = np.concatenate([np.empty(0, np.int64), *self._not_zeroed])
        left = [row for row in removed[removed < self.in_file].tolist() if self._parts[0][row].any()]
        if left:
            zero_durably(path, [row * self.row_bytes for row in left], self.row_bytes)
        self._not_zeroed = []

    def use_file(self, path: Path) -> None:
        """From now on read all rows from `path`, where `write` or `append_to` put them. Searches may go on: the parts
        that they have begun to read stay valid."""
        self._parts = (_mapped(path, len(self), self.dim), self._no_rows(), self._no_rows())
        self._memory = GrowableArray(self._no_rows())
        if self._spill is not None:
            self._spill.close()  # a mapping of it stays valid for those who read it
            self._spill = None

    def _to_temporary_file(self, folder: Path) -> None:
        written = len(self._parts[1])
        try:
            if self._spill is None:
                private_folder(folder)
                self._spill = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # lives as long as we do
                weakref.finalize(self, self._spill.close)
            self._spill.seek(written * self.row_bytes)
            self._spill.write(self._memory.array.data)
            self._spill.flush()
        except OSError:
            return  # a full or read-only disk: they stay in memory
        mapped = np.memmap(self._spill, np.float32, "r", shape=(written + self._memory.count, self.dim))
        self._memory = GrowableArray(self._no_rows())
        self._parts = (self._parts[0], mapped, self._no_rows())

    def _no_rows(self) -> Vectors:
        return np.empty((0, self.dim), np.float32)

    def _by_part(self, rows: Rows) -> Iterator[tuple[Vectors, Rows, Rows | slice]]:
        """`rows` by the part that holds them: the part, their row numbers in it, and their positions in `rows`."""
        parts, first = self._parts, 0
        if len(rows) and rows.max() < len(parts[0]):  # nearly always
            yield parts[0], rows, slice(None)
            return
        for part in parts:
            if len(part):
                where = np.flatnonzero((rows >= first) & (rows < first + len(part)))
                if where.size:
                    yield part, rows[where] - first, where
                first += len(part)

    def _verify(self, rows: Rows) -> None:
        """Compare with their checksums those of the rows that this process has not read before."""
        unread = rows[~self._verified.array[rows] & self.table.alive[rows]]
        for start in range(0, len(unread), BLOCK):
            batch = unread[start : start + BLOCK]
            for part, rows_of_part, where in self._by_part(batch):
                expected = self.table.checksums[batch[where]]
                if (row_checksums(self.table.ids[batch[where]], part[rows_of_part]) != expected).any():
                    raise DamagedRowsError
            self._verified.array[batch] = True

    def _check_not_zeroed(self, rows: Rows) -> None:
        """A writer zeroes the rows that it has removed. Where one of ours is zero, we are behind the log."""
        suspects = rows[self.table.alive[rows]]
        if suspects.size and not self.vectors(suspects).any(axis=1).all():
            raise DamagedRowsError


def _give_back(part: Vectors) -> None:
    """Let the system have the memory of a mapped file that was read whole: rankings read a few rows of it, and who
    needs more finds them in the system's own memory for files."""
    mapped = getattr(part, "_mmap", None)
    if mapped is not None and hasattr(mapped, "madvise"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _mapped(path: Path, count: int, dim: int) -> Vectors:
    if count == 0:  # nothing can be mapped
        return np.empty((0, dim), np.float32)
    return np.memmap(path, "<f4", "r", shape=(count, dim))
