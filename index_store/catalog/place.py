"""Whether an archive's folder still holds the archive that was opened there.

A folder may be given another name and another archive its own, or a backup be restored over it, while a reader has it
open. The reader's database connection would go on reading the old records, and find the new one's pictures and index.
"""

from __future__ import annotations

from pathlib import Path

from index_store.catalog.descriptor import DESCRIPTOR_FILE, ArchiveDescriptor
from index_store.errors import ArchiveReplacedError

FileIdentity = tuple[int, int]


class Place:
    """The file by which an archive's folder is recognised, as it was when the archive was opened."""

    def __init__(self, file: Path) -> None:
        """`file`: the database, or the descriptor where the database is on a server. Raises `OSError`."""
        self._file = file
        self._identity = _identity(file)
        self._descriptor = ArchiveDescriptor.read(file) if file.name == DESCRIPTOR_FILE else None

    def check(self) -> None:
        """Raise `ArchiveReplacedError` where the folder was moved, or holds another archive by now."""
        try:
            now = _identity(self._file)
        except OSError as error:
            raise ArchiveReplacedError(
                f"{self._file.parent} was moved or deleted since it was opened ({error.strerror}). Open it where it "
                "is now."
            ) from error
        if now == self._identity:
            return
        # A descriptor may be another file of the same content: a network's file system that was mounted anew.
        if self._descriptor is not None and ArchiveDescriptor.read(self._file) == self._descriptor:
            self._identity = now
            return
        raise ArchiveReplacedError(
            f"{self._file.parent} holds another archive, or was restored, since it was opened; no answer was given. "
            "Repeat, and open it again if this comes again."
        )


def _identity(file: Path) -> FileIdentity:
    state = file.stat()
    return state.st_dev, state.st_ino
