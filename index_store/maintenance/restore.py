"""Restore an archive from a backup: it gets its name only when it is copied and verified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from index_store.atomic_write import private_file
from index_store.catalog.catalog import Catalog
from index_store.catalog.databases.migrations import refuse_newer
from index_store.catalog.databases.sqlite_database import SqliteDatabase
from index_store.catalog.layout import DATABASE, explained
from index_store.errors import BackupError
from index_store.files.image_store import ImageStore
from index_store.maintenance.backup_folder import (
    CATALOG,
    IMAGES,
    UNFINISHED,
    BackupDescriptor,
    built,
    copy_images,
    copy_verified,
    read_descriptor,
    refuse_within,
)
from index_store.maintenance.file_checks import expected_files
from index_store.maintenance.findings import Examination, named
from index_store.maintenance.status import counts

if TYPE_CHECKING:
    from index_store.catalog.import_plan import Progress


@dataclass(frozen=True)
class Restoration:
    """A restored archive."""

    path: Path
    card: BackupDescriptor
    """The description of the backup."""
    examination: Examination
    """The examination of the restored archive."""


def restore(
    backup: Path,
    target: Path,
    examine: Callable[[Path], Examination],
    *,
    allow_damaged: bool,
    progress: Progress | None,
) -> Restoration:
    """See `Archive.restore`.

    Args:
        backup: the backup's folder.
        target: the new folder.
        examine: makes the index of the archive in a folder, and examines it.
        allow_damaged: restore what is intact.
        progress: called with how many pictures were copied, and of how many.
    """
    descriptor = read_descriptor(backup)
    refuse_newer(descriptor.schema_version, f"The archive in the backup {backup}")
    refuse_within(target, backup)
    with explained(target), built(target) as folder:
        private_file(folder / UNFINISHED)
        _copy_catalog(backup, folder, descriptor)
        damaged = _copy_images(backup, folder, descriptor, progress)
        unknown = [name for name in damaged if name not in descriptor.damaged]
        if unknown and not allow_damaged:
            raise BackupError(
                f"{len(unknown)} pictures of the backup {backup} are missing or altered ({', '.join(named(unknown))}), "
                "so nothing was restored. Use another backup, or restore it without them (--incomplete)."
            )
        examination = examine(folder)
        left = [
            finding
            for finding in examination.findings
            if not finding.harmless and not (finding.check == "files" and ("in place" in finding.what or damaged))
        ]
        if left:
            raise BackupError(
                f"The archive restored from {backup} is not sound ({left[0].what}: {left[0].count}), so it was not put "
                "in place. Use another backup."
            )
        (folder / UNFINISHED).unlink()
    return Restoration(target, descriptor, examination)


def _copy_catalog(backup: Path, folder: Path, descriptor: BackupDescriptor) -> None:
    try:
        sound = copy_verified(backup / CATALOG, folder / DATABASE, descriptor.catalog_sha256)
    except FileNotFoundError:
        sound = False
    if not sound:
        raise BackupError(
            f"The database of the backup {backup} is missing, or not what it was (its checksum differs), so nothing "
            "was restored. Use another backup."
        )


def _copy_images(backup: Path, folder: Path, descriptor: BackupDescriptor, progress: Progress | None) -> list[str]:
    """Copy the pictures; returns the names of those that are missing or altered."""
    catalog = Catalog(SqliteDatabase(folder / DATABASE, still=True))
    try:
        with catalog.reading() as session:
            files = [f for f in expected_files(session, ImageStore(backup / IMAGES)) if not f.in_place]
            counted = counts(session)
    finally:
        catalog.close()
    if counted != (descriptor.patients, descriptor.cases, descriptor.images):
        raise BackupError(f"The backup {backup} does not hold what it says it does. Use another backup.")
    copies = {file.path: folder / IMAGES / file.path.relative_to(backup / IMAGES) for file in files}
    damaged = copy_images(files, folder / IMAGES, copies, progress=progress)
    return [file.path.relative_to(backup / IMAGES).as_posix() for file in damaged]
