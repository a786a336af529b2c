"""A catalog on a PostgreSQL server: several machines read the archive, one at a time writes.

Readers see a snapshot (REPEATABLE READ, read-only). Writing transactions come one after the other by a lock that the
server keeps for the transaction: without it, the numbers of the change log could be assigned in one order and become
visible in another, and a reader that had followed up to a number would never see a smaller one.

A password is never part of the URL, which is stored and shown: libpq finds it in `PGPASSWORD`, in the file that
`PGPASSFILE` or `passfile=` names, or in `~/.pgpass`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, ProgrammingError

from index_store.catalog.databases.postgres_lock import ALONE, OPENED, TURN_KEY, AdvisoryLock
from index_store.errors import ArchiveBusyError, ArchiveError, BackupError, StorageError

CONNECT_SECONDS = 10
MORE_CONNECTIONS = 45
"""Beside the five that are kept open. A server takes a hundred in all, unless it is told otherwise."""
SCHEMES = ("postgresql", "postgresql+psycopg")
SECRETS = ("password", "sslpassword")
REFUSED_CLASSES = ("25006", "28", "3D", "42501", "53", "57P")
"""SQLSTATEs caused by the server or the account: read-only server, login refused, no such database, missing privilege,
out of disk or memory, shutting down. (A failed connection has none, and is no `ProgrammingError`.)"""


class PostgresDatabase:
    """A `Database` (see there) on a server.

    Raises:
        StorageError: the URL is invalid, or holds a password.
    """

    reading: Final[Mapping[str, Any]] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    # Not a snapshot: a writer that waited must see what was committed meanwhile.
    writing: Final[Mapping[str, Any]] = {"isolation_level": "READ COMMITTED", "coin_writes": True}

    still = False

    def __init__(self, url: str) -> None:
        self._url = checked_url(url)
        self._lock = AdvisoryLock(_engine(self._url, pooled=False), self.name, self.explained)

    @property
    def name(self) -> str:
        """See `Database`."""
        return self.url

    @property
    def url(self) -> str:
        """The URL to store, without a password."""
        return self._url.render_as_string(hide_password=True)

    def engine(self, *, read_only: bool, alone: bool = False) -> Engine:
        """See `Database`."""
        engine = _engine(self._url)

        @event.listens_for(engine, "connect")
        def _announce(connection: Any, _record: Any) -> None:
            # A lock of the session: it ends with it, however that ends.
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT {ALONE if alone else OPENED}")
                if alone and not cursor.fetchone()[0]:
                    raise ArchiveBusyError(
                        f"The archive in {self.name} is open in another process, on this host or another. End all "
                        "views, searches and other commands on it, then repeat."
                    )
            connection.commit()

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            if connection.get_execution_options().get("coin_writes"):
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({TURN_KEY})")
                self._lock.confirm(connection)

        return engine

    def check_encoding(self, connection: Connection) -> None:
        """Raise `StorageError` where the database is not in UTF-8, or has no schema for tables."""
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
        if encoding != "UTF8":
            raise StorageError(f"{self.name} is encoded as {encoding}. Create it WITH ENCODING 'UTF8'.")
        if connection.exec_driver_sql("SELECT current_schema()").scalar() is None:
            raise StorageError(f"{self.name} has no schema to put tables in. Create the one that it names.")

    def writer_lock(self, folder: Path) -> AdvisoryLock:
        """See `Database`; the lock is the server's, whatever the folder."""
        return self._lock

    def explained(self, error: DatabaseError) -> str | None:
        """See `Database`."""
        state = getattr(error.orig, "sqlstate", None) or ""
        ours = isinstance(error, IntegrityError | ProgrammingError) and state != ""
        if ours and not state.startswith(REFUSED_CLASSES):
            return None
        return (
            f"The catalog {self.name} could not be read or written ({_reason(error)}). Nothing of this step was "
            "stored, and nothing before it is lost. Check the server, the account and its password (PGPASSWORD or "
            "~/.pgpass), then repeat."
        )

    def erase_removed(self, engine: Engine) -> None:
        """Do nothing: the server's autovacuum removes deleted rows. Its write-ahead log and its backups keep them until
        they are recycled, as its administrator decides (see docs/cluster.md)."""

    def check_copyable(self) -> None:
        """Raise `BackupError`."""
        raise BackupError(
            f"The records are in {self.name}, which its server backs up: use pg_dump or a base backup, and copy the "
            "archive's folder, while nobody writes (see docs/cluster.md)."
        )

    def copy_to(self, engine: Engine, target: Path) -> None:
        """Raise `BackupError`."""
        self.check_copyable()


def checked_url(text: str) -> URL:
    """`text` as the URL of a PostgreSQL database in SQLAlchemy's form, with psycopg as driver.

    Raises:
        StorageError: it is no such URL, or holds a password. The message does not repeat it.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in SCHEMES:
        raise StorageError(
            "A catalog's URL looks like postgresql://USER@HOST/DATABASE; what was given does not. "
            "Leave it out for a catalog in the archive's folder (SQLite)."
        )
    if url.password is not None or any(name in url.query for name in SECRETS):
        raise StorageError(
            "The catalog's URL holds a password, and is stored and shown. Leave the password out, and give it as "
            "PGPASSWORD or in ~/.pgpass."
        )
    return url.set(drivername="postgresql+psycopg")


def _engine(url: URL, *, pooled: bool = True) -> Engine:
    arguments: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "application_name": "coin"}
    try:
        return create_engine(
            url,
            connect_args={name: value for name, value in arguments.items() if name not in url.query},
            hide_parameters=True,
            # A reader outlives a restart of the server: each connection is tried before it is used.
            # A search that meets a change takes a second connection: with few, searches could wait for each other.
            **({"pool_pre_ping": True, "max_overflow": MORE_CONNECTIONS} if pooled else {"poolclass": NullPool}),
        )
    except ImportError as error:
        raise ArchiveError(
            "psycopg is not installed. Install the extra `postgres` to use a PostgreSQL catalog."
        ) from error


def _reason(error: DatabaseError) -> str:
    """The server's message on one line, without its details, which may quote rows."""
    diagnosis = getattr(error.orig, "diag", None)
    words = getattr(diagnosis, "message_primary", None) or str(error.orig)
    return " ".join(words.split())
