"""The vectors of an index themselves: float32, row by row, in a file that is mapped and not held in memory.

Rows only ever join at the end, so that a row number stays what it is. A removed row is marked and overwritten with
zeros. Whatever ranks, ranks by these rows in the end; they are what makes an answer exact.

Every row has a checksum, kept apart from it. A mapped row is compared with its own when a process reads it for the
first time: opening a file of gigabytes then costs nothing, and a damaged row is noticed before it can answer.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from index_store.errors import IndexDriftError
from index_store.index.faiss_build import load_faiss
from index_store.index.growable_array import Growing
from index_store.vectors import Ids, Vectors

Rows = NDArray[np.int64]
"""int64[n]: positions in the order of addition."""
Sums = NDArray[np.uint64]

BLOCK = 16_384
"""Rows worked on at a time (at 512 dimensions 32 MB)."""
IN_MEMORY = 32_768
"""Further rows held in memory (at 512 dimensions 64 MB) before they go to a temporary file."""
APART = 16_384
"""Rows from which on a single query's inner products are shared out among threads."""


class DamagedRowsError(IndexDriftError):
    """Rows do not match their checksums, or were wiped by a writer while they were read."""

    def __init__(self) -> None:
        super().__init__("The saved vector index is damaged. Open the archive again: it is rebuilt from the records.")


class VectorRows:
    """Vectors under ids, by row. Reading may go on side by side; changing needs exclusion, `moved` excepted."""

    def __init__(self, dim: int, *, spill: Path | None = None) -> None:
        """No rows yet. `spill` is where a temporary file may be made for many; without it they stay in memory."""
        self.dim = dim
        self._spill_folder = spill
        self._ids = Growing(np.empty(0, np.int64))
        self._sums = Growing(np.empty(0, np.uint64))
        self._alive = Growing(np.empty(0, np.bool_))
        self._read = Growing(np.empty(0, np.bool_))
        self._ascending = True
        self._by_id: tuple[Ids, Rows] | None = None
        self._to_wipe: list[Rows] = []
        self._spill: BinaryIO | None = None
        self._memory = Growing(self._none())
        # Rows in the file, in the temporary file, in memory. Replaced as one, since searches read while we are saved.
        self._places = (self._none(), self._none(), self._none())

    @classmethod
    def stored(
        cls, file: Path, ids: Ids, sums: Sums, alive: NDArray[np.bool_], dim: int, spill: Path | None
    ) -> VectorRows:
        """The first len(ids) rows of a file that `write` and `append_to` made.

        Raises:
            ValueError: the file is shorter.
        """
        rows = cls(dim, spill=spill)
        if file.stat().st_size < len(ids) * rows.row_bytes:
            raise ValueError("too short")
        rows._ids, rows._sums, rows._alive = Growing(ids), Growing(sums), Growing(alive)
        rows._read = Growing(np.zeros(len(ids), np.bool_))
        rows._ascending = bool((np.diff(ids) > 0).all())
        rows._to_wipe = [np.flatnonzero(~alive)]  # a killed writer may have left some
        rows._places = (_mapped(file, len(ids), dim), rows._none(), rows._none())
        return rows

    # What there is

    @property
    def row_bytes(self) -> int:
        return 4 * self.dim

    def __len__(self) -> int:
        return self._ids.count

    @property
    def ids(self) -> Ids:
        return self._ids.array

    @property
    def sums(self) -> Sums:
        return self._sums.array

    @property
    def alive(self) -> NDArray[np.bool_]:
        return self._alive.array

    @property
    def in_file(self) -> int:
        """How many of the first rows are in the file."""
        return len(self._places[0])

    def rows_in_order(self, ids: Ids) -> Rows:
        """The row of each id, all of which must be there."""
        in_order, order = self._lookup()
        return order[np.searchsorted(in_order, ids, side="right") - 1]

    def rows_of(self, ids: Ids) -> Rows:
        """The rows that hold these ids now, ascending; ids that are not there are left out."""
        known, alive = self.ids, self.alive
        if len(known) == 0 or len(ids) == 0:
            return np.empty(0, np.int64)
        if self._ascending and known[-1] - known[0] == len(known) - 1:  # without a gap: no need to look
            found = ids[(ids >= known[0]) & (ids <= known[-1])] - known[0]
        else:
            in_order, order = self._lookup()
            place = np.searchsorted(in_order, ids, side="right") - 1  # of an id that came back, the later row
            found = order[place[(place >= 0) & (in_order[place] == ids)]]
        found = found[alive[found]]
        return found if bool((np.diff(found) > 0).all()) else np.unique(found)

    def memory_bytes(self) -> int:
        """Bytes held in memory: ids, checksums and marks, and the rows that are in no file."""
        return len(self) * (8 + 8 + 1 + 1) + self._memory.count * self.row_bytes

    # Reading

    def vectors(self, rows: Rows) -> Vectors:
        """float32[len(rows), dim].

        Raises:
            DamagedRowsError: they are not what was written.
        """
        self._check(rows)
        out = np.empty((len(rows), self.dim), np.float32)
        for block, mine, where in self._parts(rows):
            out[where] = block[mine]
        return out

    def products(self, queries: Vectors, rows: Rows) -> Vectors:
        """Inner products float32[len(queries), len(rows)]; raises as `vectors`. Copies the rows only for a batch."""
        self._check(rows)
        out = np.empty((len(queries), len(rows)), np.float32)
        if len(queries) > 4:
            for start in range(0, len(rows), BLOCK):
                out[:, start : start + BLOCK] = queries @ self.vectors(rows[start : start + BLOCK]).T
            return out
        for block, mine, where in self._parts(rows):
            for number, query in enumerate(queries):
                out[number, where] = _products(query, block, mine)
        self._check_not_wiped(rows[(out == 0).any(axis=0)])
        return out

    def blocks(self) -> Iterator[tuple[int, Vectors]]:
        """All rows in order, removed ones (zeros, or what they were) too, as (first row, float32[n, dim]).

        Raises:
            DamagedRowsError: as `vectors`.
        """
        for start in range(0, len(self), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(self)))
            self._check(rows)
            ((block, mine, _), *more) = self._parts(rows)
            whole = self.vectors(rows) if more else block[mine[0] : mine[-1] + 1]
            self._check_not_wiped(rows[whole[:, 0] == 0])
            yield start, whole

    def check_all(self) -> None:
        """Read every row. Raises `DamagedRowsError`."""
        self._read.array[: self.in_file] = False
        for _ in self.blocks():
            pass

    # Changing

    def append(self, ids: Ids, vectors: Vectors) -> None:
        """Add rows at the end."""
        if len(ids) == 0:
            return
        last = self.ids[-1] if len(self) else None
        self._ascending &= bool((np.diff(ids) > 0).all()) and (last is None or bool(ids[0] > last))
        self._by_id = None
        self._memory.append(vectors)
        self._sums.append(checksums(ids, vectors))
        self._alive.append(np.ones(len(ids), np.bool_))
        self._read.append(np.ones(len(ids), np.bool_))
        self._ids.append(ids)
        self._places = (*self._places[:2], self._memory.array)
        if self._memory.count >= IN_MEMORY and self._spill_folder is not None:
            self._to_temporary_file(self._spill_folder)

    def bury(self, rows: Rows) -> None:
        """Mark rows as removed, and wipe them where they are in memory; `wipe` does it in the file."""
        self._alive.array[rows] = False
        self._to_wipe.append(rows)
        first = len(self) - self._memory.count
        self._memory.array[rows[rows >= first] - first] = 0

    # On disk

    def write(self, file: BinaryIO) -> None:
        """All rows, removed ones as zeros."""
        for start, block in self.blocks():
            dead = ~self.alive[start : start + len(block)]
            file.write((np.where(dead[:, None], np.float32(0), block) if dead.any() else block).astype("<f4").data)

    def append_to(self, path: Path) -> None:
        """Bring the file up to date: rows that it lacks at its end, zeros where rows were removed. Durable on return.

        A row that a card (`index_file.py`) counts is never changed but to be wiped.
        """
        with path.open("r+b") as file:
            file.seek(self.in_file * self.row_bytes)
            file.truncate()  # what a killed writer left beyond
            for start in range(self.in_file, len(self), BLOCK):
                rows = np.arange(start, min(start + BLOCK, len(self)))
                vectors = self.vectors(rows)
                vectors[~self.alive[rows]] = 0
                file.write(vectors.astype("<f4").data)
            file.flush()
            os.fsync(file.fileno())

    def wipe(self, path: Path) -> None:
        """Overwrite what was removed from the file's rows. Durable on return."""
        dead = np.concatenate([np.empty(0, np.int64), *self._to_wipe])
        dead = dead[dead < self.in_file]
        dead = dead[[bool(self._places[0][row].any()) for row in dead.tolist()]] if dead.size else dead
        if dead.size:
            with path.open("r+b") as file:
                for row in dead.tolist():
                    file.seek(row * self.row_bytes)
                    file.write(bytes(self.row_bytes))
                file.flush()
                os.fsync(file.fileno())
        self._to_wipe = []

    def moved(self, path: Path) -> None:
        """From here on read all rows from `path`, where `write` or `append_to` put them. Searches may go on: what they
        hold of the old places stays valid for them."""
        self._places = (_mapped(path, len(self), self.dim), self._none(), self._none())
        self._memory = Growing(self._none())
        if self._spill is not None:
            self._spill.close()  # what is mapped of it stays for those who read it
            self._spill = None

    def _to_temporary_file(self, folder: Path) -> None:
        written = len(self._places[1])
        try:
            if self._spill is None:
                folder.mkdir(exist_ok=True)
                self._spill = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # lives as long as we do
                weakref.finalize(self, self._spill.close)
            self._spill.seek(written * self.row_bytes)
            self._spill.write(self._memory.array.data)
            self._spill.flush()
        except OSError:
            return  # a full or read-only disk: they stay in memory
        mapped = np.memmap(self._spill, np.float32, "r", shape=(written + self._memory.count, self.dim))
        self._memory = Growing(self._none())
        self._places = (self._places[0], mapped, self._none())

    def _none(self) -> Vectors:
        return np.empty((0, self.dim), np.float32)

    def _parts(self, rows: Rows) -> Iterator[tuple[Vectors, Rows, Rows | slice]]:
        """`rows` by the place they are in: the place, their positions there, and their positions in `rows`."""
        places, first = self._places, 0
        if len(rows) and rows.max() < len(places[0]):  # nearly always
            yield places[0], rows, slice(None)
            return
        for place in places:
            if len(place):
                where = np.flatnonzero((rows >= first) & (rows < first + len(place)))
                if where.size:
                    yield place, rows[where] - first, where
                first += len(place)

    def _lookup(self) -> tuple[Ids, Rows]:
        """All ids in order, and the row of each; of equal ids the later row is last."""
        by_id = self._by_id
        if by_id is None:
            order = np.arange(len(self)) if self._ascending else np.argsort(self.ids, kind="stable")
            by_id = self._by_id = self.ids[order], order
        return by_id

    def _check(self, rows: Rows) -> None:
        unread = rows[~self._read.array[rows] & self.alive[rows]]
        for start in range(0, len(unread), BLOCK):
            part = unread[start : start + BLOCK]
            for place, mine, where in self._parts(part):
                if (checksums(self.ids[part[where]], place[mine]) != self.sums[part[where]]).any():
                    raise DamagedRowsError
            self._read.array[part] = True

    def _check_not_wiped(self, rows: Rows) -> None:
        """A writer wipes what it has removed. If that is so of a row that is there for us, we are behind."""
        suspects = rows[self.alive[rows]]
        if suspects.size and not self.vectors(suspects).any(axis=1).all():
            raise DamagedRowsError


def checksums(ids: Ids, vectors: Vectors) -> Sums:
    """uint64[n], one for each row and its id. A row of which one word is changed never keeps its checksum: every
    factor is odd, so that no difference below 2**64 is lost."""
    words: NDArray[Any] = np.ascontiguousarray(vectors).view(np.uint64 if vectors.shape[1] % 2 == 0 else np.uint32)
    factors = np.random.default_rng(0).integers(0, 2**63, words.shape[1] + 1, np.uint64) * np.uint64(2) + np.uint64(1)
    # Modulo 2**64, whatever the order. `einsum` makes no array of the products, which took longer than the rows.
    sums: Sums = ids.astype(np.uint64) * factors[-1] + np.einsum("ij,j->i", words, factors[:-1])
    return sums


def _mapped(path: Path, count: int, dim: int) -> Vectors:
    if count == 0:  # nothing can be mapped
        return np.empty((0, dim), np.float32)
    return np.memmap(path, "<f4", "r", shape=(count, dim))


def _products(query: Vectors, block: Vectors, rows: Rows) -> Vectors:
    """float32[len(rows)]: `block[rows] @ query`, without a copy of the rows."""
    faiss = load_faiss()
    out = np.empty(len(rows), np.float32)
    rows = np.ascontiguousarray(rows, np.int64)

    def some(start: int, stop: int) -> None:
        faiss.fvec_inner_products_by_idx(
            *(faiss.swig_ptr(array) for array in (out[start:stop], query, block, rows[start:stop])),
            *(block.shape[1], 1, stop - start),
        )

    threads = faiss.omp_get_max_threads() if len(rows) >= APART else 1
    if threads == 1:
        some(0, len(rows))
    else:
        edges = np.linspace(0, len(rows), threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(some, edges[:-1], edges[1:]))
    return out
