"""The right to change an archive: one writer at a time among the processes of one machine."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from index_store.errors import ArchiveBusyError


class WriterLock:
    """The right to change an archive, as a file: a `Lock` (see there) among the processes of one machine.

    The operating system releases it when its holder dies, however it dies.
    """

    def __init__(self, folder: Path, *, name: str = "writer") -> None:
        self._folder = folder
        self._lock = FileLock(folder / f"{name}.lock", thread_local=True)
        self._holder = folder / f"{name}.txt"

    @property
    def held(self) -> bool:
        """Whether the calling thread holds it."""
        return self._lock.is_locked

    @contextmanager
    def hold(self, *, timeout: float = 0.0) -> Iterator[None]:
        """Hold the lock, waiting `timeout` seconds for another holder to finish.

        Raises:
            ArchiveBusyError: it did not; names the holder.
        """
        try:
            self._lock.acquire(timeout=timeout)
        except Timeout as error:
            raise ArchiveBusyError(
                f"{self._folder} is being written by {self._who()}. Wait until that is done, then repeat."
            ) from error
        try:
            if self._lock.lock_counter == 1:
                # The file only names the holder in others' messages: a full disk must not stop a writer.
                with contextlib.suppress(OSError):
                    self._holder.write_text(", ".join((*signature(), _since())), "utf-8")
            yield
        finally:
            if self._lock.lock_counter == 1:
                with contextlib.suppress(OSError):
                    self._holder.unlink()
            self._lock.release()

    def _who(self) -> str:
        try:
            return self._holder.read_text("utf-8") or "another process"
        except OSError:  # between taking the lock and writing the file, or after deleting it
            return "another process"


def signature() -> tuple[str, str]:
    """User and host, and the process: how messages of others name this writer."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # no such account, as in some containers
        user = "somebody"
    return f"{user}@{socket.gethostname()}", f"process {os.getpid()}"


def _since() -> str:
    return f"since {datetime.now():%Y-%m-%d %H:%M}"
