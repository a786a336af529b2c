"""What processes have made of an archive's records, kept in its folder `index/` for the next process.

    <kind>-<hash of the key>.derived    32 bytes of SHA-256, then arrays and a header (safetensors)

The records stay the truth: each of these files may be deleted at any time. A file is used only where it is whole, of
this archive, format and key, and made at a place of the change log that the archive has; any other is as if it were not
there, and is replaced when its content is made again. Files are written under another name first, so that readers never
meet half of one, and are for their owner alone.

To keep something: give it a `DerivedName`, read it with `Archive.read_derived`, bring what was read up to date by the
change log (`Derived.position`), and write it with `Archive.write_derived` when it was made, or differs much from what
is kept. A file may hold what reports and labels say. So a removal, and a change of a report or a label, deletes all of
them; what was made before one is not read, and not left behind when it is written after it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from index_store.atomic_write import private_folder, sync_folder, write_durably
from index_store.catalog.change_log import is_of_this_log, removed_since
from index_store.vectors import LogPosition

if TYPE_CHECKING:
    from index_store.catalog.catalog import Catalog

SUFFIX = ".derived"
BUILDING = ".building"
"""Part of the name of a file that is not whole yet."""
_HEADER = " header"
_KINDS = {
    **{"BOOL": "?", "U8": "u1", "I8": "i1", "F16": "<f2", "F32": "<f4", "F64": "<f8"},
    **{f"{kind}{bits}": f"<{kind.lower()}{bits // 8}" for kind in "IU" for bits in (16, 32, 64)},
}
"""By the names of safetensors, the types of arrays that are kept."""
_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class DerivedName:
    """What something derived is."""

    kind: str
    """Small letters and hyphens; the beginning of its files' names."""
    format: int
    """To be raised when arrays or values get another meaning, or are computed otherwise."""
    key: str = ""
    """All that decides the content beside the records: an encoder's fingerprint, a filter. Only its hash is stored."""
    keep: int = 1
    """How many files of this kind are kept, the last that were written."""

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.kind}-{self.key_hash[:16]}{SUFFIX}"

    @property
    def key_hash(self) -> str:
        """SHA-256 of the key, hex."""
        return hashlib.sha256(self.key.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, eq=False)
class Derived:
    """Something made of the records."""

    position: LogPosition
    """The last entry of the change log that is in it. The log has entries of images, labels and reports, not of the
    vectors of reports."""
    arrays: Mapping[str, npt.NDArray[Any]]
    """Numbers and truth values of any shape, by name. As read, they are not to be written to."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What JSON can hold."""


class UnfitFile(Exception):
    """Why a file is not used, as the end of a sentence."""


class DerivedFiles:
    """The derived files of one archive. Safe to share between threads and processes."""

    def __init__(self, folder: Path, archive: str, catalog: Catalog, *, writes: bool) -> None:
        """
        Args:
            folder: the archive's folder `index/`; made when something is written.
            archive: the archive's uuid.
            writes: whether anything may be written or deleted.
        """
        self._folder = folder
        self._archive = archive
        self._catalog = catalog
        self.writes = writes
        self._later = ThreadPoolExecutor(1, thread_name_prefix="derived-files")

    def read(self, session: Session, name: DerivedName, *, before_removals: bool = False) -> Derived | None:
        """What is kept under this name, as of a place in the log that `session` sees; None: it has to be made.

        Args:
            before_removals: also read what was made before an image was removed or changed, because the caller leaves
                no trace of that when it writes again.
        """
        try:
            header, found = _read(self._folder / name.file)
        except (OSError, UnfitFile):
            return None
        if header != self._header(name) or not is_of_this_log(session, found.position):
            return None
        return found if before_removals or not removed_since(session, found.position) else None

    def write(self, name: DerivedName, derived: Derived) -> bool:
        """Keep it for the next process, in place of what is kept under this name. Returns whether it is kept.

        Not where nothing may be written, the disk refuses, or an image was removed or changed since: all of these only
        cost the next process its time.
        """
        if not self.writes:
            return False
        path = self._folder / name.file
        try:
            private_folder(self._folder)
            _unlink(self._folder.glob(f"{name.kind}-*{BUILDING}*"))
            building = path.with_name(f"{path.stem}-{secrets.token_hex(4)}{BUILDING}")
            write_durably(building, lambda file: file.writelines(_packed(self._header(name), derived)))
            building.replace(path)
            sync_folder(self._folder)
            # Whoever removes something deletes these files after its transaction: it did, or is seen here.
            with self._catalog.reading(anew=True) as session:
                if removed_since(session, derived.position):
                    path.unlink(missing_ok=True)
                    return False
            _unlink(_latest_first(self._folder.glob(f"{name.kind}-*{SUFFIX}"))[name.keep :])
        except OSError:
            return False
        return True

    def write_later(self, name: DerivedName, make: Callable[[], Derived]) -> None:
        """As `write`, of what `make` gives, in a thread, one after the other: only `close` waits for it. An error that
        `write` would raise is logged."""
        if self.writes:
            self._later.submit(lambda: self.write(name, make())).add_done_callback(Future.result)

    def close(self) -> None:
        """Wait for what is still to be written."""
        self._later.shutdown()

    def erase(self, session: Session, *, but: DerivedName) -> bool:
        """Delete the files that were made before something was removed or changed, but not the one of this name.
        Returns whether that is one of them. What cannot be deleted is not read any more: the log has moved on."""
        outdated = [path for path in self._folder.glob(f"*{SUFFIX}") if _is_outdated(path, session)]
        _unlink(path for path in outdated if path.name != but.file)
        return any(path.name == but.file for path in outdated)

    def sweep(self) -> None:
        """Delete what killed processes have left. One that is at work meanwhile keeps nothing, and lives on."""
        with contextlib.suppress(OSError):
            _unlink(self._folder.glob(f"*{BUILDING}*"))

    def _header(self, name: DerivedName) -> dict[str, object]:
        return {"archive": self._archive, "kind": name.kind, "format": name.format, "key": name.key_hash}


def unfit_files(session: Session, folder: Path, archive: str) -> Iterator[tuple[Path, str]]:
    """The derived files in this folder that no process will use, and why, as the end of a sentence."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            header, found = _read(path)
            if header["archive"] != archive:
                raise UnfitFile("it is of another archive")
            if not is_of_this_log(session, found.position):
                raise UnfitFile("it is of other records (restored from a backup?)")
            if removed_since(session, found.position):
                raise UnfitFile("images were removed or changed since")
        except FileNotFoundError:
            continue  # replaced meanwhile
        except OSError as error:
            yield path, f"it cannot be read ({type(error).__name__})"
        except UnfitFile as reason:
            yield path, str(reason)


def _is_outdated(path: Path, session: Session) -> bool:
    """Whether a file was made before a removal, or does not say when it was made. Reads its description alone."""
    try:
        with path.open("rb") as file:
            file.seek(_DIGEST)
            length = int.from_bytes(file.read(8), "little")
            first, last = json.loads(file.read(length))[_HEADER]["data_offsets"]
            file.seek(_DIGEST + 8 + length + first)
            position = json.loads(file.read(last - first))["position"]
        return removed_since(session, LogPosition(**position))
    except FileNotFoundError:  # replaced meanwhile
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True


def _packed(header: Mapping[str, object], derived: Derived) -> tuple[bytes, bytes]:
    from safetensors.numpy import save

    described = {**header, "position": asdict(derived.position), "values": dict(derived.values)}
    arrays = {name: np.ascontiguousarray(array) for name, array in derived.arrays.items()}
    data = save({**arrays, _HEADER: np.frombuffer(json.dumps(described).encode(), np.uint8)})
    return hashlib.sha256(data).digest(), data


def _read(path: Path) -> tuple[dict[str, object], Derived]:
    """The header (without position and values), and what was kept.

    Raises:
        OSError: there is no such file, or it cannot be read.
        UnfitFile: it is not what was written.
    """
    try:
        file = np.asarray(np.memmap(path, np.uint8, mode="r"))
    except ValueError as error:  # an empty file
        raise UnfitFile("it is empty") from error
    if hashlib.sha256(file[_DIGEST:].data).digest() != file[:_DIGEST].tobytes():
        raise UnfitFile("its checksum does not match")
    arrays = _mapped(file[_DIGEST:])
    header = json.loads(arrays.pop(_HEADER).tobytes())
    position, values = LogPosition(**header.pop("position")), header.pop("values")
    return header, Derived(position, arrays, values)


def _mapped(data: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a safetensors file where they are: its own reader copies them, and a process would hold both.

    A file is never changed after it got its name, and one that is replaced or deleted stays as long as it is mapped.
    """
    start = 8 + int.from_bytes(data[:8].tobytes(), "little")
    described = json.loads(data[8:start].tobytes())
    arrays = {}
    for name, entry in described.items():
        first, last = entry["data_offsets"]
        kind = np.dtype(_KINDS[entry["dtype"]])
        arrays[name] = data[start + first : start + last].view(kind).reshape(entry["shape"])
    return arrays


def _latest_first(paths: Iterator[Path]) -> list[Path]:
    written: list[tuple[int, str, Path]] = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            written.append((path.stat().st_mtime_ns, path.name, path))
    return [path for _, _, path in sorted(written, reverse=True)]


def _unlink(paths: Collection[Path] | Iterator[Path]) -> None:
    for path in list(paths):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
