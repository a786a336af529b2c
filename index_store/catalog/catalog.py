"""The catalog of an archive: transactions and schema version, over a `Database`.

Each reading transaction sees one state of the archive from its beginning to its end, while others write. Writing
transactions come one after the other. Every commit is durable before it is acknowledged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from index_store.catalog.databases.database import Database, Lock
from index_store.catalog.databases.migrations import apply_next, current_version, refuse_newer, schema_version
from index_store.catalog.models import ArchiveRow
from index_store.errors import NotAnArchiveError, OutdatedArchiveError, StorageError


class Catalog:
    """One database; safe to use from several threads."""

    def __init__(self, database: Database, *, read_only: bool = False) -> None:
        self.read_only = read_only or database.still
        self._database = database
        self._engine = database.engine(read_only=self.read_only)
        self._reader = self._engine.execution_options(**database.reading)
        self._writer = self._engine.execution_options(**database.writing)

    @property
    def name(self) -> str:
        """Where it is: a file, or a server's URL without a password."""
        return self._database.name

    def writer_lock(self, folder: Path) -> Lock:
        """The lock of whoever writes to the archive in `folder`."""
        return self._database.writer_lock(folder)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One consistent view of the archive."""
        with self._explained(), Session(self._reader) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction: all of it is committed at the end, or nothing.

        Raises:
            StorageError: full disk, damaged or unreachable database; nothing of the transaction was stored.
        """
        with self._explained(), Session(self._writer) as session, session.begin():
            yield session

    @contextmanager
    def changing_schema(self) -> Iterator[Connection]:
        """Like `writing`, below the models."""
        with self._explained(), self._writer.begin() as connection:
            yield connection

    def version(self) -> int:
        """The schema version; 0 where there is no archive in the database."""
        with self._explained(), self._reader.connect() as connection:
            return schema_version(connection)

    def migrate(self) -> None:
        """Bring the schema up to date, each step in its own transaction."""
        while self.version() < current_version():
            with self.changing_schema() as connection:
                apply_next(connection)

    def is_outdated(self) -> bool:
        """Whether `migrate` has work to do.

        Raises:
            NotAnArchiveError, NewerArchiveError, OutdatedArchiveError: it cannot be opened (this way).
        """
        where = f"The archive in {self.name}"
        version = self.version()
        if version == 0:
            raise NotAnArchiveError(f"{self.name} is a database but not an archive. Name an archive's folder.")
        refuse_newer(version, where)
        if version < current_version() and self.read_only:
            raise OutdatedArchiveError(
                f"{where} has schema {version} and must be brought to {current_version()} first. "
                "Open it once for writing."
            )
        return version < current_version()

    def erase_removed(self) -> None:
        """See to it that removed reports do not linger in what the database has on disk, as far as can be done."""
        with self._explained():
            self._database.erase_removed(self._engine)

    def check_copyable(self) -> None:
        """Raises `BackupError` where `copy_to` cannot copy this kind of database; says what does."""
        self._database.check_copyable()

    def copy_to(self, target: Path) -> None:
        """A whole copy of the database as it is at one moment; others may read and write meanwhile. An `OSError`, or a
        `StorageError`, leaves a part of it."""
        with self._explained():
            self._database.copy_to(self._engine, target)

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the database cannot do into a `StorageError`; what we did wrong passes as it is."""
        try:
            yield
        except DatabaseError as error:
            explanation = self._database.explained(error)
            if explanation is None:
                raise
            raise StorageError(explanation) from error
        except sqlite3.DatabaseError as error:  # of the driver, below SQLAlchemy
            wrapped = DatabaseError("", None, error)
            raise StorageError(self._database.explained(wrapped) or str(error)) from error


def current_revision(session: Session) -> int:
    """The revision as `session` sees it; 0 before the first change."""
    return session.scalars(select(ArchiveRow.revision)).one()


def advance_revision(session: Session) -> None:
    """The revision after this transaction is one more."""
    session.execute(update(ArchiveRow).values(revision=ArchiveRow.revision + 1))
