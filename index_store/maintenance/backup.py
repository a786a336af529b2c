"""Back up an archive in use: everything as it was at one moment, while others read and write.

The database is copied first, as it is at one moment (SQLite's online backup). The stored pictures that it names never
change, so they can be copied after it, each with its checksum compared. Only a removal can delete one: then the
database is copied anew, and the pictures that were copied already stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from index_store.catalog.catalog import Catalog
from index_store.catalog.databases.sqlite_database import SqliteDatabase
from index_store.catalog.layout import explained
from index_store.catalog.models import ArchiveRow
from index_store.errors import BackupError
from index_store.files.image_store import ImageStore
from index_store.files.source_file import content_hash
from index_store.maintenance.backup_folder import (
    CATALOG,
    FORMAT,
    IMAGES,
    BackupDescriptor,
    built,
    copy_images,
    refuse_within,
    write_descriptor,
)
from index_store.maintenance.file_checks import Expected, expected_files, still_wanted
from index_store.maintenance.findings import named
from index_store.maintenance.record_checks import check_database
from index_store.maintenance.status import counts

if TYPE_CHECKING:
    from index_store.catalog.import_plan import Progress

ROUNDS = 20
"""How often to begin anew because a case was removed meanwhile. Each round copies only what is new."""


def back_up(
    path: Path,
    catalog: Catalog,
    target: Path,
    *,
    allow_damaged: bool,
    linked: bool = False,
    progress: Progress | None,
) -> BackupDescriptor:
    """See `Archive.back_up`. `linked`: the pictures are the archive's files under second names, where that can be."""
    refuse_within(target, path)
    catalog.check_copyable()
    with explained(target), built(target) as folder:
        for _round in range(ROUNDS):
            (folder / CATALOG).unlink(missing_ok=True)
            catalog.copy_to(folder / CATALOG)
            copied = Catalog(SqliteDatabase(folder / CATALOG, still=True))
            try:
                with copied.reading() as session:
                    _refuse_damaged_database(session, path)
                    files = expected_files(session, ImageStore(path / "images"))
                    stored = [file for file in files if not file.in_place]
                    copies = {file.path: folder / IMAGES / file.path.relative_to(path / "images") for file in stored}
                    damaged = copy_images(stored, folder / IMAGES, copies, linked=linked, progress=progress)
                    with catalog.reading() as now:
                        wanted = still_wanted(now, damaged)
                    if len(wanted) < len(damaged):
                        continue  # removed meanwhile: the copied database is out of date
                    if damaged and not allow_damaged:
                        _refuse(damaged)
                    names = tuple(file.path.relative_to(path / "images").as_posix() for file in damaged)
                    descriptor = _descriptor(session, files, names, content_hash(folder / CATALOG), copied.version())
            finally:
                copied.close()
            write_descriptor(folder, descriptor)
            return descriptor
        raise BackupError(f"{path} changed faster than it could be copied. Repeat it while less is removed.")


def _descriptor(
    session: Session, files: Sequence[Expected], damaged: tuple[str, ...], sha256: str, version: int
) -> BackupDescriptor:
    archive = session.execute(select(ArchiveRow.uuid, ArchiveRow.name)).one()  # of whichever version
    patients, cases, images = counts(session)
    return BackupDescriptor(
        format=FORMAT,
        archive=archive.uuid,
        name=archive.name,
        schema_version=version,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        patients=patients,
        cases=cases,
        images=images,
        files=sum(not file.in_place for file in files) - len(damaged),
        in_place=sum(file.in_place for file in files),
        damaged=damaged,
        catalog_sha256=sha256,
    )


def _refuse_damaged_database(session: Session, path: Path) -> None:
    found = check_database(session)
    if found:
        raise BackupError(
            f"The database of {path} is damaged ({found[0].finding.examples[0]}), so no backup was made. "
            f"{found[0].finding.advice}"
        )


def _refuse(damaged: Sequence[Expected]) -> None:
    raise BackupError(
        f"{len(damaged)} stored pictures are missing or altered ({'; '.join(named(damaged))}), so no backup was made. "
        "Put them right (`coin doctor` names them all), or make a backup without them (--incomplete)."
    )
