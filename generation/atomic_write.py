"""Files that are there whole or not at all, after a crash and on a full disk, too."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path


def write_whole(path: Path, data: bytes) -> Path:
    """Create or replace `path`; returns it. Raises `OSError`, and then the old file is as it was."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return path


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Windows does so by itself, and cannot open folders."""
    if os.name != "nt":
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
