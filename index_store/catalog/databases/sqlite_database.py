"""A catalog in a SQLite file: no server, one machine.

SQLite runs in write-ahead mode: readers continue while one process writes, and each read transaction sees one state of
the archive from its beginning to its end. Every commit is on disk before it is acknowledged.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, IntegrityError, ProgrammingError

from index_store.atomic_write import private_file, sync_file
from index_store.errors import ArchiveBusyError
from index_store.files.locks import WriterLock

ALONE_SECONDS = 0.5
"""How long to wait for others to close the database, where nobody else may have it open."""
BUSY_SECONDS = 30.0
"""How long a statement waits for another process's commit, which takes milliseconds."""


class SqliteDatabase:
    """A `Database` (see there) in a file.

    Args:
        path: the file.
        create: make it where it is missing.
        still: nobody changes the file, so that it is read without making others beside it.
    """

    reading: Final[Mapping[str, Any]] = {"coin_begin": "BEGIN"}
    writing: Final[Mapping[str, Any]] = {"coin_begin": "BEGIN IMMEDIATE"}

    def __init__(self, path: Path, *, create: bool = False, still: bool = False) -> None:
        self.path = path
        self.still = still
        self._create = create

    @property
    def name(self) -> str:
        """See `Database`."""
        return str(self.path)

    def engine(self, *, read_only: bool, alone: bool = False) -> Engine:
        """See `Database`."""
        if self._create and not self.path.exists():
            private_file(self.path)  # SQLite takes an empty file for a new database; its log has the same permissions
        mode = "ro" if read_only else "rwc" if self._create else "rw"
        return _engine(self.path, mode=mode, still=self.still, alone=alone)

    def writer_lock(self, folder: Path) -> WriterLock:
        """See `Database`."""
        return WriterLock(folder)

    def explained(self, error: DatabaseError) -> str | None:
        """See `Database`."""
        if isinstance(error, IntegrityError | ProgrammingError):
            return None
        reason = str(error.orig)
        if "not a database" in reason or "malformed" in reason:
            return f"{self.path} is damaged ({reason}). Restore the folder from a backup."
        if "full" in reason:
            return (
                f"The disk of {self.path} is full. Nothing of this step was stored, and nothing before it is lost. "
                "Free space, then repeat."
            )
        return f"{self.path} could not be read or written ({reason}). Check the disk and its permissions, then repeat."

    def erase_removed(self, engine: Engine) -> None:
        """Merge the write-ahead log into the database, so that removed reports are not left in it.

        (`secure_delete` has overwritten them in the database itself.) While others read, SQLite merges what it can, and
        the rest is left to the next removal or to the last process that closes the archive: waiting for a long
        evaluation would delay every writer.
        """
        with contextlib.closing(engine.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute("PRAGMA busy_timeout = 0")
            try:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")

    def check_copyable(self) -> None:
        """Every SQLite file can be copied."""

    def copy_to(self, engine: Engine, target: Path) -> None:
        """See `Database`; uses SQLite's online backup."""
        with contextlib.closing(engine.raw_connection()) as connection:
            source = connection.driver_connection
            assert isinstance(source, sqlite3.Connection)
            private_file(target)
            with contextlib.closing(sqlite3.connect(target)) as copy:
                source.backup(copy)
        sync_file(target)


def _engine(path: Path, *, mode: str, still: bool, alone: bool) -> Engine:
    query = {"mode": mode, "uri": "true"}
    if mode == "ro" and (still or _is_still(path)):
        query["immutable"] = "1"
    url = URL.create("sqlite", database=f"file:{quote(str(path))}", query=query)
    timeout = ALONE_SECONDS if alone else BUSY_SECONDS
    # A search that meets a change takes a second connection: with a limit, searches could wait for each other.
    engine = create_engine(url, connect_args={"timeout": timeout}, hide_parameters=True, max_overflow=-1)

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: Any) -> None:
        # The driver opens transactions only before writes; a consistent view needs one around reads too.
        connection.isolation_level = None
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")  # deleted reports are overwritten in the file
        if mode == "rwc":
            connection.execute("PRAGMA journal_mode = WAL")  # remembered in the file
        if alone:
            _keep_others_out(connection, path)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("coin_begin", "BEGIN"))

    return engine


def _keep_others_out(connection: sqlite3.Connection, path: Path) -> None:
    """Lock the file until the connection is closed. In write-ahead mode every connection, also of earlier versions and
    of other programs, holds a shared lock on it for as long as it is open."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    try:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        connection.close()
        raise ArchiveBusyError(
            f"{path.parent} is open in another process, or twice in this one. End all views, searches and other "
            "commands on it, then repeat."
        ) from error


def _is_still(path: Path) -> bool:
    """Whether the file is on a read-only medium: SQLite cannot keep its shared memory there, and nobody writes."""
    return not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
