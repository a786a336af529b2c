"""Whether an archive's folder still holds the archive that was opened there.

A folder may be given another name and another archive its own, or a backup be restored over it, while a reader has it
open. The reader's database connection would go on reading the old records, and find the new one's pictures and index.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import quote

from index_store.catalog.descriptor import DESCRIPTOR_FILE, ArchiveDescriptor
from index_store.errors import ArchiveReplacedError

FileIdentity = tuple[int, int]


class Place:
    """The file by which an archive's folder is recognised, as it was when the archive was opened."""

    def __init__(self, file: Path) -> None:
        """`file`: the database, or the descriptor where the database is on a server. Raises `OSError`."""
        self._file = file
        self._identity, self._written = _state(file)
        self._holds = _held(file)
        self._descriptor = ArchiveDescriptor.read(file) if file.name == DESCRIPTOR_FILE else None

    def check(self) -> None:
        """Raise `ArchiveReplacedError` where the folder was moved, or holds another archive by now."""
        try:
            now, written = _state(self._file)
        except OSError as error:
            raise ArchiveReplacedError(
                f"{self._file.parent} was moved or deleted since it was opened ({error.strerror}). Open it where it "
                "is now."
            ) from error
        if now == self._identity and (written == self._written or self._still_holds(written)):
            return
        # A descriptor may be another file of the same content: a network's file system that was mounted anew.
        if self._descriptor is not None and ArchiveDescriptor.read(self._file) == self._descriptor:
            self._identity = now
            return
        raise ArchiveReplacedError(
            f"{self._file.parent} holds another archive, or was restored, since it was opened; no answer was given. "
            "Repeat, and open it again if this comes again."
        )

    def _still_holds(self, written: tuple[int, int]) -> bool:
        """Whether a database that was written to is still the same: `cp` keeps the file and changes what is in it.

        A copy of the same archive is known by its revision, which never goes back.
        """
        known, now = self._holds, _held(self._file)
        if known and now and (now[0] != known[0] or now[1] < known[1]):
            return False
        self._written, self._holds = written, now or known
        return True


def _state(file: Path) -> tuple[FileIdentity, tuple[int, int]]:
    """What tells the file from another, and when it was written to."""
    state = file.stat()
    return (state.st_dev, state.st_ino), (state.st_mtime_ns, state.st_size)


def _held(file: Path) -> tuple[str, int] | None:
    """Id and revision of the archive in a database; None where they cannot be read now.

    By a connection of its own, which has nothing in memory yet. The file is not opened besides: closing it would take
    the locks of this process's other connections away.
    """
    if file.name == DESCRIPTOR_FILE:
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", timeout=0, uri=True)) as connection:
            found: tuple[str, int] | None = connection.execute("SELECT uuid, revision FROM archive").fetchone()
            return found
    except sqlite3.Error:  # locked, not made yet, of an earlier version, or damaged, which every other reader says
        return None
