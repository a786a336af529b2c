"""Files of images as bytes: read once, within a limit, and only where they are regular files."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

from index_store.errors import ImageProblem

MAX_BYTES = 512 * 1024**2


def read_source(source: Path | bytes | BinaryIO, *, max_bytes: int = MAX_BYTES, follow_links: bool = False) -> bytes:
    """The bytes of an image file, read once and within a limit.

    Args:
        follow_links: whether `source` may be a symbolic link: yes where a person named it, no where a record names it.

    Raises:
        ImageProblem: empty, too large, not a regular file (a folder, a pipe, a device, a link), or unreadable.
    """
    name = source_name(source)
    if isinstance(source, bytes):
        data = source
    elif isinstance(source, Path):
        try:
            with _open_file(source, follow_links=follow_links) as file:
                data = file.read(max_bytes + 1)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ImageProblem(f"{name} cannot be read ({reason}). Check that it is there.") from error
    else:
        data = source.read(max_bytes + 1)
    if not data:
        raise ImageProblem(f"{name} is empty (0 bytes). Export or copy it again.")
    if len(data) > max_bytes:
        raise ImageProblem(f"{name} is larger than {max_bytes / 1024**2:.0f} MB. Cut out fields and add those instead.")
    return data


def content_hash(source: Path | bytes, *, max_bytes: int = MAX_BYTES) -> str:
    """SHA-256 (hex) of a file's bytes, undecoded: by it an image is recognised as known.

    Raises:
        ImageProblem: larger than `max_bytes`, or not a regular file. OSError: it cannot be read.
    """
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with _open_file(source) as file:
        if os.fstat(file.fileno()).st_size > max_bytes:
            raise ImageProblem(f"{source.name} is larger than {max_bytes / 1024**2:.0f} MB. Cut out fields instead.")
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_file(path: Path, *, follow_links: bool = False) -> io.BufferedReader:
    """Open a regular file for reading, and nothing else.

    Its type is checked before, since opening a device can have effects (and a named pipe would block for ever), and
    after, since the file may have been replaced in between.
    """
    refusal = ImageProblem(f"{path.name} is not a file (a folder or a device). Name an image file.")
    if not stat.S_ISREG((path.stat() if follow_links else path.lstat()).st_mode):
        if path.is_symlink() and not follow_links:
            raise ImageProblem(f"{path.name} is a link by now. Put the file itself in its place.")
        raise refusal
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not follow_links:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise refusal
    return os.fdopen(descriptor, "rb")


def source_name(source: Path | bytes | BinaryIO) -> str:
    """What messages call it."""
    return source.name if isinstance(source, Path) else "The image"
