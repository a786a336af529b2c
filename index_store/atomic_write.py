"""Writing a file so that it is there whole, or not at all: also after a crash or a power cut."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def temporary_name(path: Path) -> Path:
    """Where `write_durably` builds `path`. One writer at a time, so the name needs no randomness,
    and what a crash leaves under it is found again."""
    return path.with_name(path.name + ".tmp")


def write_durably(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Create or replace `path` with what `write` puts into the file it is given.

    The content is on disk before the name appears. The name itself is durable only after `sync_folder`,
    which is left to the caller so that a batch of files pays for it once. On failure nothing is left.
    """
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        # On a full disk even `unlink` may be refused; the first error is the one to report.
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def sync_file(path: Path) -> None:
    """Make the content of a file durable that something else wrote."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable (POSIX; Windows does so by itself and cannot open folders)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
