"""Bring an archive of an earlier version up to date: by a call of its own, with a backup, while nobody has it open.

The backup is a folder as `back_up` makes it, and `restore` takes it. Its pictures are the archive's own files under
second names where the disk can do that, since no picture ever changes: it costs little, and guards against what the
migration does, not against the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from index_store.catalog.catalog import Catalog
from index_store.catalog.counts.kept import recount
from index_store.catalog.layout import catalog_of
from index_store.errors import BackupError
from index_store.maintenance.backup import back_up

if TYPE_CHECKING:
    from index_store.catalog.import_plan import Progress


@dataclass(frozen=True)
class Migration:
    """A migration that was done, or had nothing to do."""

    path: Path
    before: int
    """The schema version that the archive had."""
    after: int
    backup: Path | None
    """The folder of the backup; None where none was made."""


def migrate(path: Path, *, backup: Path | None, backed_up: bool, progress: Progress | None) -> Migration:
    """See `Archive.migrate`."""
    catalog, _ = catalog_of(path, read_only=False, alone=True)
    try:
        with catalog.writer_lock(path).hold():
            before = catalog.version()
            made = None
            if catalog.is_outdated():
                if not backed_up:
                    made = _backed_up(path, catalog, backup or _beside(path, before), progress)
                catalog.migrate()
                with catalog.changing_schema() as connection, Session(connection) as session:
                    recount(session)
            return Migration(path, before, catalog.version(), made)
    finally:
        catalog.close()


def _backed_up(path: Path, catalog: Catalog, target: Path, progress: Progress | None) -> Path:
    try:
        back_up(path, catalog, target, allow_damaged=True, linked=True, progress=progress)
    except BackupError as error:
        raise BackupError(
            f"{error} Nothing was migrated. With a backup of your own, say so: `coin migrate --backed-up`."
        ) from error
    return target


def _beside(path: Path, version: int) -> Path:
    """The folder of the backup, beside the archive; with a number where there is one already."""
    path = path.resolve()
    number, target = 1, path.with_name(f"{path.name}.schema-{version}")
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.schema-{version}-{number}")
    return target
