"""A crash within this process: from one step on, nothing more reaches the disk, and nobody tidies up.

Quicker than killing a process (which `test_faults.py` does), so that a property test can crash hundreds of times.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from sqlalchemy import Engine, event

from index_store import Archive
from index_store.files.locks import WriterLock


class Crashed(BaseException):  # not an error, and nothing must catch it
    """The process is dead from here on."""


@contextmanager
def crashing(step: int) -> Iterator[None]:
    """Let every durable step (fsync, rename, deletion, commit) from the `step`-th on raise `Crashed`."""
    left, lock = step, threading.Lock()

    def count(*_: object) -> None:
        nonlocal left
        with lock:
            left -= 1
            if left <= 0:
                raise Crashed

    def counted(name: str) -> object:
        original = getattr(os, name)

        def step_then_go(*arguments: object, **options: object) -> object:
            count()
            return original(*arguments, **options)

        return mock.patch.object(os, name, step_then_go)

    event.listen(Engine, "commit", count)
    try:
        with counted("fsync"), counted("replace"), counted("unlink"):
            yield
    finally:
        event.remove(Engine, "commit", count)


def abandon(archive: Archive) -> None:
    """What the operating system does for a dead process: its locks and files are released."""
    lock = archive._writer_lock
    if isinstance(lock, WriterLock):
        lock._mine.depth = 0
        lock._release()
    assert not lock.held
    archive.close()
