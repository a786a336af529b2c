"""The folder of an archive: what it is made of, and what is said where the disk refuses."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from .catalog import Catalog
from .durable import sync_folder
from .errors import AlreadyAnArchiveError, StorageError
from .locks import WriterLock
from .models import ArchiveRow

DATABASE = "archive.sqlite"
LOCK_FILES = {"writer.lock", "writer.txt"}


def make_archive(path: Path, name: str) -> None:
    """A new, empty archive in the folder `path`: wholly there, or not at all. Raises as `Archive.create` does."""
    building = path / f"{DATABASE}.new"
    with explained(path):
        is_new = not path.exists()
        path.mkdir(parents=True, exist_ok=True)
        with WriterLock(path).hold():
            # A creation that was cut short has left nothing but these.
            ours = {*LOCK_FILES, *(building.name + ending for ending in ("", "-wal", "-shm", "-journal"))}
            if (path / DATABASE).exists():
                raise AlreadyAnArchiveError(f"{path} is an archive already. Open it, or name another folder.")
            if any(entry.name not in ours for entry in path.iterdir()):
                raise AlreadyAnArchiveError(f"{path} holds other files. Name a new or empty folder.")
            for leftover in path.glob(f"{building.name}*"):
                leftover.unlink()
            _build(building, name or path.resolve().name)
            building.replace(path / DATABASE)
            sync_folder(path)
            if is_new:
                sync_folder(path.resolve().parent)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a `StorageError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StorageError(
            f"{path} could not be written ({reason}). Nothing of this step was stored, and nothing before it is lost. "
            "Check space and permissions, then repeat."
        ) from error


def _build(path: Path, name: str) -> None:
    catalog = Catalog(path, create=True)
    try:
        catalog.migrate()
        with catalog.writing() as session:
            session.add(
                ArchiveRow(uuid=str(uuid.uuid4()), name=name, created=datetime.now(UTC).isoformat(timespec="seconds"))
            )
    finally:
        catalog.close()
