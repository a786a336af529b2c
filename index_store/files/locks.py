"""The right to change an archive: one writer at a time among the processes of one machine."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from index_store.errors import ArchiveBusyError

POLL_SECONDS = 0.05


class _Held(threading.local):
    """The calling thread's descriptor of the folder, and how often it has acquired the lock."""

    descriptor: int | None = None
    depth: int = 0


class WriterLock:
    """The right to change an archive: a `Lock` (see there) among the processes of one machine.

    What is locked is the folder itself, which nobody can delete from under its holder as they could a file of that
    purpose. The file `writer.lock` is locked as well: earlier versions know no other lock, nor do file systems (some of
    networks) that lock no folders, and Windows. The operating system releases both when their holder dies, however it
    dies.
    """

    def __init__(self, folder: Path, *, name: str = "writer", locked: Path | None = None) -> None:
        """
        Args:
            folder: holds the files `name`.lock and `name`.txt, which names the holder.
            locked: the folder that is locked, by default the same.
        """
        self._folder = folder
        self._locked = locked or folder
        self._file = FileLock(folder / f"{name}.lock", thread_local=True, mode=0o600)
        self._holder = folder / f"{name}.txt"
        self._mine = _Held()

    @property
    def held(self) -> bool:
        """Whether the calling thread holds it."""
        return self._mine.depth > 0

    @contextmanager
    def hold(self, *, timeout: float = 0.0) -> Iterator[None]:
        """Hold the lock, waiting `timeout` seconds for another holder to finish.

        Raises:
            ArchiveBusyError: it did not; names the holder.
        """
        if not self.held:
            self._take(time.monotonic() + timeout)
            # The file only names the holder in others' messages: a full disk must not stop a writer.
            with contextlib.suppress(OSError):
                self._sign()
        self._mine.depth += 1
        try:
            yield
        finally:
            self._mine.depth -= 1
            if not self.held:
                with contextlib.suppress(OSError):
                    self._holder.unlink()
                self._release()

    def _take(self, until: float) -> None:
        self._mine.descriptor = self._lock_folder(until)
        try:
            self._file.acquire(timeout=max(0.0, until - time.monotonic()))
        except BaseException as error:
            self._release()
            if isinstance(error, Timeout):
                raise self._busy() from error
            raise

    def _lock_folder(self, until: float) -> int | None:
        """A descriptor of the locked folder; None where folders cannot be locked."""
        if os.name == "nt":
            return None
        import fcntl

        descriptor = os.open(self._locked, os.O_RDONLY)
        try:
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    if time.monotonic() >= until:
                        raise self._busy() from error
                    time.sleep(POLL_SECONDS)
                except OSError:  # a network's file system that locks no folders
                    os.close(descriptor)
                    return None
                else:
                    return descriptor
        except (ArchiveBusyError, KeyboardInterrupt):
            os.close(descriptor)
            raise

    def _release(self) -> None:
        descriptor, self._mine.descriptor = self._mine.descriptor, None
        self._file.release()
        if descriptor is not None:
            os.close(descriptor)

    def _sign(self) -> None:
        self._holder.unlink(missing_ok=True)
        self._holder.touch(0o600)
        self._holder.write_text(", ".join((*signature(), _since())), "utf-8")

    def _busy(self) -> ArchiveBusyError:
        return ArchiveBusyError(
            f"{self._folder} is being written by {self._who()}. Wait until that is done, then repeat."
        )

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
