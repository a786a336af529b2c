"""The database of an archive: connections, transactions, schema version.

SQLite in write-ahead mode: readers go on while one process writes, and each reading transaction sees one state of
the archive from its beginning to its end. Every commit is on disk before it is acknowledged.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, IntegrityError, ProgrammingError
from sqlalchemy.orm import Session

from .errors import NotAnArchiveError, OutdatedArchiveError, StorageError
from .migrations import apply_next, current_version, refuse_newer, schema_version

BUSY_SECONDS = 30.0
"""How long a statement waits for another process's commit, which takes milliseconds."""
ERASING_SECONDS = 1.0
"""How long erasing waits for readers to end their transactions, which take milliseconds, before it is put off."""


class Catalog:
    """One database file; safe to use from several threads."""

    def __init__(self, path: Path, *, read_only: bool = False, create: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self._engine = _engine(path, mode="ro" if read_only else "rwc" if create else "rw")

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One consistent view of the archive."""
        with self._explained(), Session(self._engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction: all of it is committed at the end, or nothing.

        Raises:
            StorageError: full disk, damaged or unreachable database; nothing of the transaction was stored.
        """
        writer = self._engine.execution_options(coin_begin="BEGIN IMMEDIATE")
        with self._explained(), Session(writer) as session, session.begin():
            yield session

    def version(self) -> int:
        """The schema version; 0 where the file is no archive."""
        with self._explained(), self._engine.connect() as connection:
            return schema_version(connection)

    def migrate(self) -> None:
        """Bring the schema up to date, each step in its own transaction."""
        writer = self._engine.execution_options(coin_begin="BEGIN IMMEDIATE")
        while self.version() < current_version():
            with self._explained(), writer.begin() as connection:
                apply_next(connection)

    def is_outdated(self) -> bool:
        """Whether `migrate` has work to do.

        Raises:
            NotAnArchiveError, NewerArchiveError, OutdatedArchiveError: it cannot be opened (this way).
        """
        where = f"The archive {self.path.parent}"
        version = self.version()
        if version == 0:
            raise NotAnArchiveError(f"{self.path} is a database but not an archive. Name an archive's folder.")
        refuse_newer(version, where)
        if version < current_version() and self.read_only:
            raise OutdatedArchiveError(
                f"{where} has schema {version} and must be brought to {current_version()} first. "
                "Open it once for writing."
            )
        return version < current_version()

    def erase_removed(self) -> None:
        """Fold the write-ahead log into the database, so that removed reports are not left in it.

        (`secure_delete` has overwritten them in the database itself.) A reader that holds its transaction for longer
        than `ERASING_SECONDS` makes SQLite put it off, to the next removal or the last connection's end.
        """
        with self._explained(), contextlib.closing(self._engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {round(1000 * ERASING_SECONDS)}")
            try:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:  # the connection goes back to the pool, as patient as the others
                cursor.execute(f"PRAGMA busy_timeout = {round(1000 * BUSY_SECONDS)}")

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the database cannot do into a `StorageError`; what we did wrong passes as it is."""
        try:
            yield
        except (IntegrityError, ProgrammingError):
            raise
        except DatabaseError as error:
            raise StorageError(_explain(str(error.orig), self.path)) from error
        except sqlite3.DatabaseError as error:
            raise StorageError(_explain(str(error), self.path)) from error


def _explain(reason: str, path: Path) -> str:
    if "not a database" in reason or "malformed" in reason:
        return f"{path} is damaged ({reason}). Restore the folder from a backup."
    if "full" in reason:
        return (
            f"The disk of {path} is full. Nothing of this step was stored, and nothing before it is lost. "
            "Free space, then repeat."
        )
    return f"{path} could not be read or written ({reason}). Check the disk and its permissions, then repeat."


def _engine(path: Path, *, mode: str) -> Engine:
    query = {"mode": mode, "uri": "true"}
    if mode == "ro" and _is_still(path):
        query["immutable"] = "1"
    url = URL.create("sqlite", database=f"file:{quote(str(path))}", query=query)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        # The driver opens transactions only before writes; a consistent view needs one around reads too.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")  # a removed patient's report leaves no trace in the file
        if mode == "rwc":
            connection.execute("PRAGMA journal_mode = WAL")  # remembered in the file

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("coin_begin", "BEGIN"))

    return engine


def _is_still(path: Path) -> bool:
    """On a read-only medium SQLite cannot keep its shared memory beside the file; nobody else can write it either."""
    return not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
