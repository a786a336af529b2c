"""The rows of an index besides their vectors: id, checksum and tombstone of each."""

from __future__ import annotations

from typing import Any, BinaryIO, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from index_store.index.faiss_bindings import Rows
from index_store.vectors import Ids

Checksums = NDArray[np.uint64]
Entry = TypeVar("Entry", bound=np.generic)

ROW_BYTES = 8 + 8 + 1
"""Of a row in the stored table."""


class GrowableArray(Generic[Entry]):
    """An array that grows at its end without being copied each time."""

    def __init__(self, first: NDArray[Entry]) -> None:
        self._buffer = first
        self.count = len(first)

    @property
    def array(self) -> NDArray[Entry]:
        """The entries so far, as a view: [count, ...]."""
        return self._buffer[: self.count]

    def append(self, more: NDArray[Entry]) -> None:
        """Add entries, [n, ...], at the end. Views taken before keep what they show."""
        needed = self.count + len(more)
        if needed > len(self._buffer):
            buffer = np.empty((max(needed, self.count * 3 // 2), *self._buffer.shape[1:]), self._buffer.dtype)
            buffer[: self.count] = self.array
            self._buffer = buffer
        self._buffer[self.count : needed] = more
        self.count = needed


class RowTable:
    """Ids, checksums and tombstones by row number. Rows are only ever added at the end, so that a row number stays what
    it is; a removed row stays, with a tombstone. An id that was removed and added again has its later row."""

    def __init__(self, ids: Ids, checksums: Checksums, alive: NDArray[np.bool_]) -> None:
        self._ids, self._checksums, self._alive = GrowableArray(ids), GrowableArray(checksums), GrowableArray(alive)
        self._ascending = bool((np.diff(ids) > 0).all())
        self._by_id: tuple[Ids, Rows] | None = None

    @classmethod
    def empty(cls) -> RowTable:
        """No rows."""
        return cls(np.empty(0, np.int64), np.empty(0, np.uint64), np.empty(0, np.bool_))

    @classmethod
    def from_bytes(cls, data: bytes) -> RowTable:
        """The table that `write` wrote."""
        table = np.frombuffer(data, np.uint8)
        count = len(table) // ROW_BYTES
        ids, checksums = (table[8 * count * i : 8 * count * (i + 1)] for i in range(2))
        return cls(
            ids.view("<i8").astype(np.int64),
            checksums.view("<u8").astype(np.uint64),
            table[16 * count :].astype(np.bool_),
        )

    def write(self, file: BinaryIO) -> None:
        """Column by column, little-endian: ids as int64, checksums as uint64, tombstones as uint8 (0: removed)."""
        for column, kind in ((self.ids, "<i8"), (self.checksums, "<u8"), (self.alive, "u1")):
            file.write(column.astype(kind).data)

    def __len__(self) -> int:
        return self._ids.count

    @property
    def ids(self) -> Ids:
        """int64[rows]."""
        return self._ids.array

    @property
    def checksums(self) -> Checksums:
        """uint64[rows]."""
        return self._checksums.array

    @property
    def alive(self) -> NDArray[np.bool_]:
        """bool[rows]: False for a removed row."""
        return self._alive.array

    def append(self, ids: Ids, checksums: Checksums) -> None:
        """Add rows at the end: ids int64[n], checksums uint64[n]."""
        last = self.ids[-1] if len(self) else None
        self._ascending &= bool((np.diff(ids) > 0).all()) and (last is None or bool(ids[0] > last))
        self._by_id = None
        self._checksums.append(checksums)
        self._alive.append(np.ones(len(ids), np.bool_))
        self._ids.append(ids)

    def remove(self, rows: Rows) -> None:
        """Set the tombstones of these rows, int64[m]."""
        self._alive.array[rows] = False

    def rows_in_order(self, ids: Ids) -> Rows:
        """The row of each id: int64[len(ids)]. All of them must be in the table."""
        sorted_ids, order = self._lookup()
        return order[np.searchsorted(sorted_ids, ids, side="right") - 1]

    def rows_of(self, ids: Ids) -> Rows:
        """The rows of these ids that are not removed, ascending: int64[<= len(ids)]. Ids without one are left out."""
        known, alive = self.ids, self.alive
        if len(known) == 0 or len(ids) == 0:
            return np.empty(0, np.int64)
        if self._ascending and known[-1] - known[0] == len(known) - 1:  # consecutive ids: no need to search
            rows = ids[(ids >= known[0]) & (ids <= known[-1])] - known[0]
        else:
            sorted_ids, order = self._lookup()
            position = np.searchsorted(sorted_ids, ids, side="right") - 1
            rows = order[position[(position >= 0) & (sorted_ids[position] == ids)]]
        rows = rows[alive[rows]]
        return rows if bool((np.diff(rows) > 0).all()) else np.unique(rows)

    def _lookup(self) -> tuple[Ids, Rows]:
        """All ids, sorted, and the row of each; of equal ids the later row is last."""
        by_id = self._by_id
        if by_id is None:
            order = np.arange(len(self)) if self._ascending else np.argsort(self.ids, kind="stable")
            by_id = self._by_id = self.ids[order], order
        return by_id


def row_checksums(ids: Ids, vectors: NDArray[np.floating]) -> Checksums:
    """A checksum of each row and its id: uint64[n]. A row of which one word is changed never keeps its checksum: every
    factor is odd, so that no difference below 2**64 is lost.

    Args:
        vectors: float32[n, d], or float16[n, d].
    """
    row_bytes = vectors.shape[1] * vectors.itemsize
    kind = next(word for word in (np.uint64, np.uint32, np.uint16) if row_bytes % np.dtype(word).itemsize == 0)
    words: NDArray[Any] = np.ascontiguousarray(vectors).view(kind)
    factors = np.random.default_rng(0).integers(0, 2**63, words.shape[1] + 1, np.uint64) * np.uint64(2) + np.uint64(1)
    # Modulo 2**64, whatever the order. `einsum` makes no array of the products, which took longer than the rows.
    checksums: Checksums = ids.astype(np.uint64) * factors[-1] + np.einsum("ij,j->i", words, factors[:-1])
    return checksums
