"""Atomic writing: a file or folder appears whole or not at all, also after a crash and on a full disk.

Files are for their owner alone from their first byte, whatever the umask: images of a report tell of a patient.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import shutil
import time
import uuid
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

_UNFINISHED = re.compile(r"(.+)\.[0-9a-f]{32}\.tmp")
ABANDONED_AFTER = 3600.0
"""Seconds without a write after which an unfinished file counts as left by a process that was killed. Younger ones may
be another process's, which would fail if they were deleted."""


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing, for its owner alone, whatever the umask; returns it.

    One that is there already stays as it is. Raises `OSError`.
    """
    if not path.parent.is_dir():
        private_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    return path


@contextlib.contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` when the block ends without an error, and else vanishes.

    Several processes may write the same path at once: each has its own unfinished file, and the last one wins.

    Raises:
        OSError: the file cannot be written; then what was at `path` is unchanged.
    """
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        unfinished.touch(0o600, exist_ok=False)
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes) -> Path:
    """Create or replace the file `path`; returns it. Raises `OSError`, as `open_atomic`."""
    with open_atomic(path) as file:
        file.write(data)
    return path


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `path` (replacing it) when the block ends without an error.

    For one process at a time: what a killed one left unfinished is deleted first.
    """
    unfinished = path.with_name(f"{path.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    private_folder(unfinished)
    try:
        yield unfinished
        sync_folder(unfinished)
        shutil.rmtree(path, ignore_errors=True)
        unfinished.rename(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def fresh_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `path` when the block ends without an error, and else vanishes.

    What killed processes left beside it an hour ago or longer is deleted.

    Raises:
        FileExistsError: something is at `path`; nothing is changed.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow a link at `path` itself
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, "there is something already: name a new folder", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob(f"{glob.escape(path.name)}.*.tmp"):
        if unfinished_target(other.name) == path.name and other.stat().st_mtime < time.time() - ABANDONED_AFTER:
            shutil.rmtree(other, ignore_errors=True)
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    unfinished.mkdir()
    try:
        yield unfinished
        for below in sorted(unfinished.rglob("*")):
            if below.is_dir():
                sync_folder(below)
            else:
                with below.open("rb") as file:
                    os.fsync(file.fileno())
        sync_folder(unfinished)
        if os.path.lexists(path):  # made by another process meanwhile
            raise FileExistsError(errno.EEXIST, "there is something already: name a new folder", str(path))
        unfinished.rename(path)
        sync_folder(path.parent)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Windows does so by itself, and cannot open folders."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def unfinished_target(name: str) -> str | None:
    """The name of the file that an unfinished file of that name would have become; None for any other file."""
    match = _UNFINISHED.fullmatch(name)
    return match[1] if match else None


def foreign_files(folder: Path, ours: Collection[str]) -> list[str]:
    """The names in a folder, sorted, that are not among `ours`, nor unfinished files of these: another process writes
    one just now, or was killed while it did. Raises `OSError`."""
    return sorted(path.name for path in folder.iterdir() if (unfinished_target(path.name) or path.name) not in ours)


def remove_if_abandoned(unfinished: Path) -> None:
    """Delete an unfinished file, unless a process may still be writing it (see `ABANDONED_AFTER`)."""
    with contextlib.suppress(FileNotFoundError):  # finished, or deleted by another process meanwhile
        if unfinished.stat().st_mtime < time.time() - ABANDONED_AFTER:
            unfinished.unlink(missing_ok=True)
