"""The right to change an archive whose catalog is on a PostgreSQL server: an advisory lock, across hosts.

The server keeps it for one session and releases it when that session ends, however it ends. It may end unnoticed (a
network failure, an administrator): the next holder waits for the transaction in progress, and every later transaction
of the former holder is refused, because its lock is gone (`confirm`). So two writers never overlap.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DatabaseError

from index_store.errors import ArchiveBusyError, StorageError
from index_store.files.locks import signature

# One archive to a schema: its name tells the locks of two archives in one database apart.
_KEY = "hashtextextended('coin-retrieval {} ' || coalesce(current_schema(), ''), 0)"
WRITER_KEY, TURN_KEY = _KEY.format("writer"), _KEY.format("turn")
OPENED, ALONE = (
    f"{function}({_KEY.format('open')})" for function in ("pg_advisory_lock_shared", "pg_try_advisory_lock")
)
"""What every session that has the archive open holds, and what one takes that needs it for itself."""
POLL_SECONDS = 0.1
NAME_BYTES = 63
"""Bytes of an application's name that the server keeps."""

_HOLDER = text(
    f"""
    SELECT pid, application_name, backend_start FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((classid::bigint << 32) | objid::bigint) = {WRITER_KEY}
    """
)
# A host that lost its power is noticed in half a minute and not in the operating system's two hours.
_KEEPALIVE = ("tcp_keepalives_idle = 10", "tcp_keepalives_interval = 5", "tcp_keepalives_count = 4")


class _Held(threading.local):
    """The calling thread's session, its process id on the server, and how often the thread has acquired the lock."""

    connection: Connection | None = None
    backend: int = 0
    depth: int = 0


class AdvisoryLock:
    """A `Lock` (see there). Each thread holds it by a session of its own, from an engine without a pool."""

    def __init__(self, engine: Engine, where: str, explained: Callable[[DatabaseError], str | None]) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._where = where
        self._explained = explained
        self._mine = _Held()

    @property
    def held(self) -> bool:
        """See `Lock`."""
        return self._mine.depth > 0

    @contextmanager
    def hold(self, *, timeout: float = 0.0) -> Iterator[None]:
        """See `Lock`."""
        if not self.held:
            try:
                self._take(timeout)
            except DatabaseError as error:
                raise StorageError(self._explained(error) or str(error.orig)) from error
        self._mine.depth += 1
        try:
            yield
        finally:
            self._mine.depth -= 1
            if not self.held:
                self._release()

    def confirm(self, connection: Connection) -> None:
        """Refuse a write transaction of a thread that should hold the lock and does not hold it any more.

        Raises:
            StorageError: the session that held it was lost.
        """
        if not self.held:
            return
        holder = connection.execute(_HOLDER).first()
        if holder is None or holder.pid != self._mine.backend:
            raise StorageError(
                f"The connection to {self._where} that held the right to write was lost. Nothing of this step was "
                "stored, and nothing before it is lost. Repeat."
            )

    def _take(self, timeout: float) -> None:
        until = time.monotonic() + timeout
        connection = self._engine.connect()
        try:
            connection.execute(text("SELECT set_config('application_name', :name, false)"), {"name": _name()})
            for setting in _KEEPALIVE:
                connection.exec_driver_sql(f"SET {setting}")
            while not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({WRITER_KEY})").scalar():
                if time.monotonic() >= until:
                    raise ArchiveBusyError(
                        f"{self._where} is being written by {_who(connection)}. Wait until that is done, then repeat."
                    )
                time.sleep(POLL_SECONDS)
            # Wait for the former holder's last transaction, if it is still in progress.
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({TURN_KEY})")
            self._mine.backend = int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar() or 0)
        except BaseException:
            connection.close()
            raise
        self._mine.connection = connection

    def _release(self) -> None:
        connection, self._mine.connection = self._mine.connection, None
        assert connection is not None
        # Explicitly, since the server notices the end of the session a little later.
        with contextlib.suppress(DatabaseError):
            connection.exec_driver_sql(f"SELECT pg_advisory_unlock({WRITER_KEY})")
        with contextlib.suppress(DatabaseError):
            connection.close()


def _name() -> str:
    """The name of the session, which others' messages show."""
    who, process = signature()
    space = NAME_BYTES - len(process.encode()) - 2
    return f"{who[:space]}, {process}"


def _who(connection: Connection) -> str:
    holder = connection.execute(_HOLDER).first()
    if holder is None:  # released just now
        return "another process"
    since = f", since {holder.backend_start:%Y-%m-%d %H:%M %Z}" if holder.backend_start else ""
    return f"{holder.application_name or 'another process'}{since}"
