"""Writing files atomically and durably: after a crash or a power cut a file has its old content or its new one.

Files and folders are for their owner alone from their first byte, whatever the umask: they hold patients' data.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing, for its owner alone, whatever the umask; returns it.

    One that is there already stays as it is. Raises `OSError`.
    """
    if not path.parent.is_dir():
        private_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    return path


def private_file(path: Path) -> None:
    """Make an empty file for its owner alone. Raises `FileExistsError` where there is something, also a link."""
    path.touch(0o600, exist_ok=False)


def temporary_name(path: Path) -> Path:
    """The name under which `write_durably` builds `path`.

    There is one writer at a time, so the name needs no random part, and what a crash leaves under it can be found.
    """
    return path.with_name(path.name + ".tmp")


def write_durably(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Create or replace `path` with what `write` writes into the open file that it is given.

    The content is on disk before the name appears. The name itself is durable only after `sync_folder`, which is left
    to the caller so that a batch of files pays for it once.

    Args:
        path: the file.
        write: called with the file, open for writing.

    Raises:
        OSError: it cannot be written. The file is then as it was, and nothing is left beside it.
    """
    temporary = temporary_name(path)
    temporary.unlink(missing_ok=True)
    try:
        private_file(temporary)
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


def append_durably(path: Path, offset: int, blocks: Iterable[memoryview]) -> None:
    """Write blocks into a file from `offset` on, in place of what a killed writer left there. Durable on return."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.truncate()
        file.writelines(blocks)
        file.flush()
        os.fsync(file.fileno())


def zero_durably(path: Path, offsets: Iterable[int], size: int) -> None:
    """Overwrite `size` bytes at each offset of a file with zeros. Durable on return."""
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            file.write(bytes(size))
        file.flush()
        os.fsync(file.fileno())


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
