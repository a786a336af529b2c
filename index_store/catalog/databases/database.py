"""The protocols of a database that holds a catalog, and of the writer's lock."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError


class Lock(Protocol):
    """The right to change an archive: held by one thread of one process at a time, and re-entrant there.

    Whoever keeps it (the operating system, the server) releases it when its holder dies, however that dies.
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
        """Its name in messages, without a password."""

    @property
    def reading(self) -> Mapping[str, Any]:
        """Execution options of a transaction that reads: it sees one state of the archive throughout."""

    @property
    def writing(self) -> Mapping[str, Any]:
        """Execution options of a transaction that writes: one at a time, so that the change log's sequence is the order
        in which its entries can be seen."""

    @property
    def still(self) -> bool:
        """Whether nobody changes it, such as that of a backup: it is read without making files beside it."""

    def engine(self, *, read_only: bool, alone: bool = False) -> Engine:
        """A new SQLAlchemy engine on it.

        Args:
            read_only: writes nothing.
            alone: its connection raises `ArchiveBusyError` where anybody else has the database open, reading or
                writing, and keeps others from opening it. For one thread.
        """

    def writer_lock(self, folder: Path) -> Lock:
        """The writer's lock of the archive in `folder`."""

    def explained(self, error: DatabaseError) -> str | None:
        """The text of a `StorageError` for what the database cannot do; None for an error of this program."""

    def erase_removed(self, engine: Engine) -> None:
        """Erase removed reports from what the database has on disk, as far as possible."""

    def check_copyable(self) -> None:
        """Raise `BackupError` where the database must be backed up by its own tools."""

    def copy_to(self, engine: Engine, target: Path) -> None:
        """Copy it durably, as it is at one moment, into the new file `target`. Raises like `check_copyable`."""
