"""The index on disk: a copy that saves rebuilding it, and is used only where everything about it agrees.

    <encoder>.json                the metadata: what the index is, and the names of the other files
    <encoder>-<random>.vectors    the vectors, float32, mapped and not read; rows are only added at its end
    <encoder>-<checksum>.rows     id, checksum and tombstone of every row
    <encoder>-<random>.half       the candidate index of half precision, mapped; rows are only added at its end
    <encoder>-<checksum>.faiss    or another candidate index
    <encoder>-<random>.fine       and its refinement codes; rows are added at its end, a removal makes a new file

Replacing the metadata is the moment of saving, so that a process killed in between leaves the older index, whole: rows
that the metadata does not count do not exist. Metadata, rows and both codes are compared with their SHA-256 when they
are read, half precision with its own checksum (`half_precision.py`), the vectors row by row when each is read first
(`vector_file.py`): opening does not read gigabytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from index_store.atomic_write import append_durably, private_folder, sync_folder, write_durably
from index_store.index.candidate_index import LISTS, SCAN, FastScan, InvertedLists
from index_store.index.faiss_index import FaissIndex
from index_store.index.half_precision import HalfPrecision
from index_store.index.recall_tuning import IndexSizes, Tuning
from index_store.index.refinement_codes import RefinementCodes, code_size, header_bytes
from index_store.index.row_table import ROW_BYTES, RowTable
from index_store.index.searcher import Searcher
from index_store.index.vector_file import DamagedRowsError, VectorRows
from index_store.vectors import IndexIdentity, LogPosition

FORMAT = 5
EARLIER = 4
"""Without `.half`. It is read, too: rows of half precision are made anew in memory until the index is saved."""
ATTEMPTS = 5
"""To read while another process writes."""


WRONG = "its checksum did not match"
MISSING = "it was missing"


def index_stem(fingerprint: str) -> str:
    """What the names of an encoder's index files begin with: a hash, since a fingerprint is arbitrary text."""
    return hashlib.sha256(fingerprint.encode()).hexdigest()[:16]


class IndexFileProblem(Exception):
    """Why the saved index is not used, as the end of a sentence."""


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
        self._metadata = folder / f"{self._stem}.json"
        self._appendable: tuple[Path | None, int] = None, 0
        """The file of vectors that was read or saved, and its number of rows."""
        self._halves: tuple[HalfPrecision, Path] | None = None
        """The rows of half precision that were read or saved, and their file."""
        self._codes: tuple[RefinementCodes, Path, int] | None = None
        """The refinement codes that were read or saved, their file, and its number of rows."""

    def read(self) -> tuple[FaissIndex, LogPosition]:
        """The index, and the last entry of the log that it has applied.

        Raises:
            IndexFileProblem: missing, damaged, or of another archive, encoder or format.
        """
        # A writer may replace the metadata, delete the files that the old one named and zero removed rows while we
        # read: what looks missing or damaged then belongs to the old one, and the new one can be read.
        for _attempt in range(ATTEMPTS):
            metadata = self._metadata_bytes()
            try:
                return self._read()
            except IndexFileProblem as problem:
                reason = problem
            except KeyError as error:
                reason = IndexFileProblem(f"its description lacks {error}")
            except DamagedRowsError:
                reason = IndexFileProblem(WRONG)
            except FileNotFoundError:
                reason = IndexFileProblem(MISSING)
            except (OSError, ValueError, TypeError, RuntimeError) as error:
                reason = IndexFileProblem(f"it cannot be read ({type(error).__name__})")
            if self._metadata_bytes() == metadata:
                break
        raise reason

    def _metadata_bytes(self) -> bytes:
        try:
            return self._metadata.read_bytes()
        except OSError:
            return b""

    def _read(self) -> tuple[FaissIndex, LogPosition]:
        metadata = json.loads(self._metadata.read_text("utf-8"))
        for name, value in self._expected().items():
            if metadata[name] != value and (name, metadata[name]) != ("format", EARLIER):
                raise IndexFileProblem(f"it was made for another {name}")
        table = RowTable.from_bytes(self._checked(metadata["rows"]))
        vectors = self._folder / Path(metadata["vectors"]).name
        if vectors.stat().st_size < 4 * self._identity.dim * len(table):
            raise IndexFileProblem("its vectors were cut short")
        rows = VectorRows.stored(vectors, table, self._identity.dim, self._spill)
        index = FaissIndex.around(self._searcher(metadata, rows), sizes=self._sizes, spill=self._spill)
        if index.count != metadata["count"] or index.searcher.candidates.count != len(table):
            raise IndexFileProblem("its size did not match")
        self._appendable = vectors, len(table)
        return index, LogPosition(int(metadata["sequence"]), int(metadata["token"]))

    def _searcher(self, metadata: dict[str, Any], rows: VectorRows) -> Searcher:
        stored = metadata["codes"]
        if stored is None:
            return Searcher(rows, self._read_halves(metadata.get("halves"), rows), refused=int(metadata["refused"]))
        file, tuning = io.BytesIO(self._checked(stored)), Tuning.from_dict(stored["tuning"])
        candidates: FastScan = {SCAN: FastScan, LISTS: InvertedLists}[stored["mode"]].read(file)
        codes = self._read_refinement_codes(stored["fine"], len(rows))
        return Searcher(rows, candidates, tuning, codes, trained=int(stored["trained"]))

    def _read_halves(self, named: dict[str, Any] | None, rows: VectorRows) -> HalfPrecision:
        if named is None:  # saved by a process that searched on a GPU
            return HalfPrecision.build(rows)
        path = self._folder / Path(named["file"]).name
        try:
            halves = HalfPrecision.stored(path, rows, int(named["checksum"]))
        except ValueError as error:
            raise IndexFileProblem(WRONG) from error
        self._halves = halves, path
        return halves

    def _read_refinement_codes(self, named: dict[str, str], count: int) -> RefinementCodes:
        dim = self._identity.dim
        path = self._folder / Path(named["file"]).name
        data = np.fromfile(path, np.uint8, header_bytes(dim) + count * code_size(dim))
        if hashlib.sha256(data.data).hexdigest() != named["sha256"]:
            raise IndexFileProblem(WRONG)
        codes = RefinementCodes.from_bytes(data, count, dim)
        self._codes = codes, path, count
        return codes

    def _checked(self, named: dict[str, str]) -> bytes:
        data = (self._folder / Path(named["file"]).name).read_bytes()
        if hashlib.sha256(data).hexdigest() != named["sha256"]:
            raise IndexFileProblem(WRONG)
        return data

    def write(self, index: FaissIndex, position: LogPosition) -> None:
        """Save the index durably. Needs the writer's lock; searches may run meanwhile.

        Raises:
            OSError: the disk refuses; what was saved before is left.
        """
        private_folder(self._folder)
        searcher = index.searcher
        vectors = self._write_vectors(searcher.rows)
        rows = self._write_named(".rows", searcher.rows.table.write)
        codes: dict[str, Any] | None = None
        halves = self._write_halves(searcher.candidates) if isinstance(searcher.candidates, HalfPrecision) else None
        if searcher.tuning is not None and isinstance(searcher.candidates, FastScan) and searcher.codes is not None:
            codes = {
                **self._write_named(".faiss", searcher.candidates.write),
                "fine": self._write_refinement_codes(searcher.codes),
                "mode": searcher.candidates.mode,
                "trained": searcher.trained,
                "tuning": searcher.tuning.as_dict(),
            }
        sync_folder(self._folder)
        metadata = {
            **self._expected(),
            **asdict(position),
            "count": index.count,
            "refused": searcher.refused,
            "vectors": vectors.name,
            "rows": rows,
            "codes": codes,
            "halves": halves,
        }
        write_durably(self._metadata, lambda file: file.write(json.dumps(metadata, indent=1).encode()))
        sync_folder(self._folder)
        self._appendable = vectors, len(searcher.rows)
        searcher.rows.use_file(vectors)
        searcher.rows.zero_removed(vectors)
        if halves is not None and self._halves is not None:
            self._halves[0].use_file(self._halves[1])
            self._halves[0].zero_removed(self._halves[1])
        keep = {vectors.name, rows["file"], *((codes["file"], codes["fine"]["file"]) if codes else ())}
        keep |= {halves["file"]} if halves else set()
        for old in self._folder.glob(f"{self._stem}*"):
            if old != self._metadata and old.name not in keep:
                # A reader on Windows may hold it open; the next saving deletes it.
                with contextlib.suppress(PermissionError):
                    old.unlink(missing_ok=True)

    def wipe(self, index: FaissIndex) -> None:
        """Overwrite what a killed writer left of rows that were removed before the saving. Needs the writer's lock.

        Raises:
            OSError: the disk refuses.
        """
        path, count = self._appendable
        if path is not None and self._saved_rows(path) == count:  # no other process has saved it since
            index.searcher.rows.zero_removed(path)
            if self._halves is not None:
                self._halves[0].zero_removed(self._halves[1])

    def discard(self) -> None:
        """Delete what was saved. A file that cannot be deleted does no harm: it is used only where it fits."""
        for path in self._folder.glob(f"{self._stem}*"):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _write_vectors(self, rows: VectorRows) -> Path:
        """Write all rows: add to the file that was read or saved, or make a new one. Returns its path."""
        path, count = self._appendable
        # Only where no other process has added to it since: rows that the metadata counts are never changed.
        if path is not None and count == rows.in_file > 0 and self._saved_rows(path) == count:
            if len(rows) > count:
                rows.append_to(path)
            return path
        path = self._folder / f"{self._stem}-{secrets.token_hex(8)}.vectors"
        write_durably(path, rows.write)
        return path

    def _write_halves(self, halves: HalfPrecision) -> dict[str, Any]:
        """As `_write_vectors`. Returns name and checksum."""
        known, path = self._halves or (None, None)
        if path is not None and known is halves and self._saved_rows(path) == halves.in_file > 0:
            if halves.count > halves.in_file:
                halves.append_to(path)
        else:
            path = self._folder / f"{self._stem}-{secrets.token_hex(8)}.half"
            write_durably(path, halves.write)
        self._halves = halves, path
        return {"file": path.name, "checksum": halves.checksum % 2**64}

    def _write_refinement_codes(self, codes: RefinementCodes) -> dict[str, str]:
        """As `_write_vectors`; a file that holds codes of removed rows is not kept. Returns its name and checksum."""
        known, path, count = self._codes or (None, None, 0)
        if path is not None and known is codes and not codes.zeroed and self._saved_rows(path) == count > 0:
            if len(codes.codes) > count:
                dim = self._identity.dim
                append_durably(path, header_bytes(dim) + count * code_size(dim), [codes.codes[count:].data])
        else:
            path = self._folder / f"{self._stem}-{secrets.token_hex(8)}.fine"
            write_durably(path, codes.write)
        codes.zeroed = False
        self._codes = codes, path, len(codes.codes)
        checksum = hashlib.sha256(codes.header)
        checksum.update(codes.codes.data)
        return {"file": path.name, "sha256": checksum.hexdigest()}

    def _saved_rows(self, path: Path) -> int:
        """How many rows of this file, of vectors, half precision or refinement codes, the metadata on disk counts; 0
        where it names another file, or cannot be read."""
        try:
            metadata = json.loads(self._metadata.read_text("utf-8"))
            codes, halves = metadata["codes"], metadata.get("halves")
            named = {metadata["vectors"], halves and halves["file"], codes and codes["fine"]["file"]}
            if path.name not in named or not path.is_file():
                return 0
            return (self._folder / Path(metadata["rows"]["file"]).name).stat().st_size // ROW_BYTES
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _write_named(self, suffix: str, write: Callable[[BinaryIO], object]) -> dict[str, str]:
        """Write a file that is named by its checksum. Returns name and checksum."""
        building = self._folder / f"{self._stem}{suffix}"
        write_durably(building, write)
        with building.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        target = self._folder / f"{self._stem}-{checksum[:16]}{suffix}"
        building.replace(target)
        return {"file": target.name, "sha256": checksum}

    def _expected(self) -> dict[str, object]:
        return {"format": FORMAT, **asdict(self._identity)}
