"""What a catalog asks of the database that holds it, whichever that is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError


class Lock(Protocol):
    """The right to change an archive: held by one thread of one process at a time, and re-entrant there.

    Whoever keeps it (the operating system, the server) lets go of it when its holder dies, however that dies.
    """

    @property
    def held(self) -> bool:
        """Whether the calling thread holds it."""

    def hold(self, *, timeout: float = 0.0) -> AbstractContextManager[None]:
        """Hold the lock, waiting `timeout` seconds for another holder to finish.

        Raises:
            ArchiveBusyError: it did not; names the holder.
        """


class Database(Protocol):
    """One kind of database, and where it is."""

    @property
    def name(self) -> str:
        """What messages call it. Holds no password."""

    @property
    def reading(self) -> Mapping[str, Any]:
        """Execution options of a transaction that reads: it sees one state of the archive throughout."""

    @property
    def writing(self) -> Mapping[str, Any]:
        """Execution options of a transaction that writes: one at a time, so that the change log's sequence is the order
        in which its entries can be seen."""

    @property
    def still(self) -> bool:
        """Whether nobody changes it, such as a backup's: it is read, and nothing is made beside it."""

    def engine(self, *, read_only: bool) -> Engine: ...

    def writer_lock(self, folder: Path) -> Lock:
        """The lock of whoever writes to the archive in `folder`."""

    def explained(self, error: DatabaseError) -> str | None:
        """What the database cannot do, for a `StorageError`; None where the mistake is ours."""

    def erase_removed(self, engine: Engine) -> None:
        """See to it that removed reports do not linger in what the database has on disk, as far as can be done."""

    def check_copyable(self) -> None:
        """Raises `BackupError` where the database is not ours to copy."""

    def copy_to(self, engine: Engine, target: Path) -> None:
        """Write a copy of it, as it is at one moment, into the new file `target`, durably. Raises like
        `check_copyable`."""
