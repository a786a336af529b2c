"""The index on disk: a copy that saves rebuilding it, and is believed only where everything about it agrees.

    <encoder>.json                the card: what the index is, and the names of the others
    <encoder>-<random>.vectors    the vectors, float32, mapped and not read; rows only ever join at its end
    <encoder>-<checksum>.rows     id, checksum and mark of every row
    <encoder>-<checksum>.faiss    codes, where the index is not of half precision (that one is made from the vectors)
    <encoder>-<random>.fine       and their fine codes; rows join at its end, and where one is removed it is made anew

Replacing the card is the moment of saving, so that a process killed in between leaves the older index, whole: rows that
a card does not count are not there. Cards, rows and both codes are compared with their SHA-256 when they are read, the
vectors row by row when each is read first (`vector_rows.py`): gigabytes of them are not gone through to open.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from index_store.atomic_write import sync_folder, write_durably
from index_store.index.candidate_index import LISTS, SCAN, FastScan, HalfPrecision, InvertedLists
from index_store.index.faiss_index import FaissIndex
from index_store.index.recall_tuning import IndexSizes, Tuning
from index_store.index.refinement_codes import FineCodes, code_size, header_bytes
from index_store.index.searcher import IndexState
from index_store.index.vector_file import DamagedRowsError, VectorRows
from index_store.vectors import IndexIdentity, LogPosition

FORMAT = 4
ATTEMPTS = 5
"""To read while others write."""


WRONG = "its checksum did not match"


def index_stem(fingerprint: str) -> str:
    """What the names of an encoder's index files begin with: a fingerprint is anybody's text, its hash a safe name."""
    return hashlib.sha256(fingerprint.encode()).hexdigest()[:16]


class IndexFileProblem(Exception):
    """Why the saved index is not believed, as the end of a sentence."""


class IndexFile:
    """The saved index of one encoder in an archive's `index/` folder."""

    def __init__(
        self, folder: Path, identity: IndexIdentity, *, sizes: IndexSizes | None = None, spill: Path | None = None
    ) -> None:
        """`sizes` and `spill` are for the `FaissIndex` that is read."""
        self._folder = folder
        self._sizes = sizes
        self._spill = spill
        self._identity = identity
        self._stem = index_stem(identity.fingerprint)
        self._appendable: tuple[Path | None, int] = None, 0
        self._fine: tuple[FineCodes, Path, int] | None = None  # what was read or saved, where, and its rows
        self._card = folder / f"{self._stem}.json"

    def read(self) -> tuple[FaissIndex, LogPosition]:
        """The index and the place in the log it stands at.

        Raises:
            IndexFileProblem: missing, damaged, or of another archive, encoder or format.
        """
        # A writer may replace the card, delete what the old one named and wipe removed rows while we read: what then
        # looks missing or damaged is the old one's, and the new one is there to be read.
        for _attempt in range(ATTEMPTS):
            card = self._card_bytes()
            try:
                return self._read()
            except IndexFileProblem as problem:
                found = problem
            except KeyError as error:
                found = IndexFileProblem(f"its description lacks {error}")
            except DamagedRowsError:
                found = IndexFileProblem(WRONG)
            except FileNotFoundError:
                found = IndexFileProblem("it was missing")
            except (OSError, ValueError, TypeError, RuntimeError) as error:
                found = IndexFileProblem(f"it cannot be read ({type(error).__name__})")
            if self._card_bytes() == card:
                break
        raise found

    def _card_bytes(self) -> bytes:
        try:
            return self._card.read_bytes()
        except OSError:
            return b""

    def _read(self) -> tuple[FaissIndex, LogPosition]:
        card = json.loads(self._card.read_text("utf-8"))
        for name, value in self._expected().items():
            if card[name] != value:
                raise IndexFileProblem(f"it was made for another {name}")
        dim = self._identity.dim
        table = np.frombuffer(self._checked(card["rows"]), np.uint8)
        count = len(table) // ROW_BYTES
        ids, sums = (table[8 * count * i : 8 * count * (i + 1)] for i in range(2))
        vectors = self._folder / Path(card["vectors"]).name
        if vectors.stat().st_size < 4 * dim * count:
            raise IndexFileProblem("its vectors were cut short")
        rows = VectorRows.stored(
            vectors,
            ids.view("<i8").astype(np.int64),
            sums.view("<u8").astype(np.uint64),
            table[16 * count :].astype(np.bool_),
            dim,
            self._spill,
        )
        index = FaissIndex.of(self._state(card, rows), sizes=self._sizes, spill=self._spill)
        if index.count != card["count"] or index.state.shortlist.count != count:
            raise IndexFileProblem("its size did not match")
        self._appendable = vectors, count
        return index, LogPosition(int(card["sequence"]), int(card["token"]))

    def _state(self, card: dict[str, Any], rows: VectorRows) -> IndexState:
        codes = card["codes"]
        if codes is None:
            return IndexState(rows, HalfPrecision.of(rows), refused=int(card["refused"]))
        file, tuning = io.BytesIO(self._checked(codes)), Tuning.from_dict(codes["tuning"])
        shortlist: FastScan = {SCAN: FastScan, LISTS: InvertedLists}[codes["mode"]].read(file)
        fine = self._read_fine(codes["fine"], len(rows))
        return IndexState(rows, shortlist, tuning, fine, trained=int(codes["trained"]))

    def _read_fine(self, named: dict[str, str], count: int) -> FineCodes:
        dim = self._identity.dim
        path = self._folder / Path(named["file"]).name
        data = np.fromfile(path, np.uint8, header_bytes(dim) + count * code_size(dim))
        if hashlib.sha256(data.data).hexdigest() != named["sha256"]:
            raise IndexFileProblem(WRONG)
        fine = FineCodes.stored(data, count, dim)
        self._fine = fine, path, count
        return fine

    def _checked(self, named: dict[str, str]) -> bytes:
        data = (self._folder / Path(named["file"]).name).read_bytes()
        if hashlib.sha256(data).hexdigest() != named["sha256"]:
            raise IndexFileProblem(WRONG)
        return data

    def write(self, index: FaissIndex, position: LogPosition) -> None:
        """Save it durably; an `OSError` leaves what was saved before. Needs the writer's lock; searches may go on."""
        self._folder.mkdir(exist_ok=True)
        state = index.state
        vectors = self._write_vectors(state.rows)
        rows = self._write_named(".rows", lambda file: _write_table(file, state.rows))
        codes: dict[str, Any] | None = None
        if state.tuning is not None and isinstance(state.shortlist, FastScan) and state.fine is not None:
            codes = {
                **self._write_named(".faiss", state.shortlist.write),
                "fine": self._write_fine(state.fine),
                "mode": state.shortlist.mode,
                "trained": state.trained,
                "tuning": state.tuning.as_dict(),
            }
        sync_folder(self._folder)
        card = {
            **self._expected(),
            **asdict(position),
            "count": index.count,
            "refused": state.refused,
            "vectors": vectors.name,
            "rows": rows,
            "codes": codes,
        }
        write_durably(self._card, lambda file: file.write(json.dumps(card, indent=1).encode()))
        sync_folder(self._folder)
        self._appendable = vectors, len(state.rows)
        state.rows.moved(vectors)
        state.rows.wipe(vectors)
        keep = {vectors.name, rows["file"], *((codes["file"], codes["fine"]["file"]) if codes else ())}
        for old in self._folder.glob(f"{self._stem}*"):
            if old != self._card and old.name not in keep:
                # A reader on Windows may hold it open; the next saving takes it along.
                with contextlib.suppress(PermissionError):
                    old.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete what was saved; what cannot be deleted is no harm, since it is believed only where it fits."""
        for path in self._folder.glob(f"{self._stem}*"):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _write_vectors(self, rows: VectorRows) -> Path:
        """The file with all rows: the one that is there, longer, or a new one."""
        path, count = self._appendable
        # Only where no other process has appended to it since: what a card counts is never changed.
        if path is not None and count == rows.in_file > 0 and self._saved_rows(path) == count:
            if len(rows) > count:
                rows.append_to(path)
            return path
        path = self._folder / f"{self._stem}-{secrets.token_hex(8)}.vectors"
        write_durably(path, rows.write)
        return path

    def _write_fine(self, fine: FineCodes) -> dict[str, str]:
        """As `_write_vectors`; a file that holds codes of removed rows is not kept."""
        known, path, count = self._fine or (None, None, 0)
        if path is not None and known is fine and not fine.erased and self._saved_rows(path) == count > 0:
            if len(fine.codes) > count:
                with path.open("r+b") as file:
                    file.seek(header_bytes(self._identity.dim) + count * code_size(self._identity.dim))
                    file.truncate()  # what a killed writer left beyond
                    file.write(fine.codes[count:].data)
                    file.flush()
                    os.fsync(file.fileno())
        else:
            path = self._folder / f"{self._stem}-{secrets.token_hex(8)}.fine"
            write_durably(path, fine.write)
        fine.erased = False
        self._fine = fine, path, len(fine.codes)
        checksum = hashlib.sha256(fine.header)
        checksum.update(fine.codes.data)
        return {"file": path.name, "sha256": checksum.hexdigest()}

    def _saved_rows(self, path: Path) -> int:
        """How many rows the card on disk says that this file of vectors or fine codes has; 0 where it names another, or
        none."""
        try:
            card = json.loads(self._card.read_text("utf-8"))
            named = card["vectors"] if path.suffix == ".vectors" else card["codes"]["fine"]["file"]
            if named != path.name or not path.is_file():
                return 0
            return (self._folder / Path(card["rows"]["file"]).name).stat().st_size // ROW_BYTES
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _write_named(self, suffix: str, write: Callable[[BinaryIO], object]) -> dict[str, str]:
        """Write a file that is named by its checksum."""
        building = self._folder / f"{self._stem}{suffix}"
        write_durably(building, write)
        with building.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        target = self._folder / f"{self._stem}-{checksum[:16]}{suffix}"
        building.replace(target)
        return {"file": target.name, "sha256": checksum}

    def _expected(self) -> dict[str, object]:
        return {"format": FORMAT, **asdict(self._identity)}


ROW_BYTES = 8 + 8 + 1


def _write_table(file: BinaryIO, rows: VectorRows) -> None:
    for column, kind in ((rows.ids, "<i8"), (rows.sums, "<u8"), (rows.alive, "u1")):
        file.write(column.astype(kind).data)
