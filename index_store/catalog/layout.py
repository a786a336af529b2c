"""The folder of an archive: creating it, finding its catalog, and explaining errors of the disk."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from index_store.atomic_write import private_folder, sync_folder
from index_store.catalog import descriptor as descriptors
from index_store.catalog.catalog import Catalog
from index_store.catalog.databases.migrations import apply_next, current_version, schema_version
from index_store.catalog.databases.postgres_database import PostgresDatabase
from index_store.catalog.databases.sqlite_database import SqliteDatabase
from index_store.catalog.descriptor import DESCRIPTOR_FILE, ArchiveDescriptor
from index_store.catalog.models import ArchiveRow
from index_store.catalog.place import Place
from index_store.errors import AlreadyAnArchiveError, NotAnArchiveError, StorageError
from index_store.files.locks import WriterLock
from index_store.files.permissions import close_to_others

DATABASE = "archive.sqlite"
LOCK_FILES = {"writer.lock", "writer.txt"}


def make_archive(path: Path, name: str, *, catalog: str = "", vectors: str = "") -> None:
    """Make a new, empty archive in the folder `path`, completely or not at all. Raises like `Archive.create`."""
    database = PostgresDatabase(catalog) if catalog else None
    new = ArchiveDescriptor(str(uuid.uuid4()), database.url if database else "", vectors)
    with explained(path):
        is_new = not path.exists()
        private_folder(path)
        with WriterLock(path).hold():
            building = path / f"{DATABASE}.new"
            # An interrupted creation leaves nothing but these.
            ours = {*LOCK_FILES, *(building.name + ending for ending in ("", "-wal", "-shm", "-journal"))}
            ours |= descriptors.leftovers(path)
            descriptor = ArchiveDescriptor.read(path / DESCRIPTOR_FILE)
            if (path / DATABASE).exists() or (descriptor is not None and descriptor.catalog):
                raise AlreadyAnArchiveError(f"{path} is an archive already. Open it, or name another folder.")
            if any(entry.name not in ours for entry in path.iterdir()):
                raise AlreadyAnArchiveError(f"{path} holds other files. Name a new or empty folder.")
            close_to_others([path])  # an empty folder that somebody made for it
            for leftover in (*path.glob(f"{building.name}*"), path / DESCRIPTOR_FILE):
                leftover.unlink(missing_ok=True)
            if database:
                _build_on_server(path, database, name or path.resolve().name, new)
            else:
                _build(building, name or path.resolve().name, new.archive)
                if new.vectors:
                    descriptors.announce(path, new)
                    descriptors.publish(path)
                building.replace(path / DATABASE)
                sync_folder(path)
            if is_new:
                sync_folder(path.resolve().parent)


def catalog_of(path: Path, *, read_only: bool, alone: bool = False) -> tuple[Catalog, ArchiveDescriptor | None]:
    """The catalog of the archive in the folder `path`, not read yet, and the folder's descriptor, where it has one.

    `alone`: nobody else may have it open, or open it until it is closed (see `Database.engine`).

    Raises:
        NotAnArchiveError: there is none.
    """
    descriptor = ArchiveDescriptor.read(path / DESCRIPTOR_FILE)
    if descriptor is not None and descriptor.catalog:
        place = Place(path / DESCRIPTOR_FILE)
        return Catalog(PostgresDatabase(descriptor.catalog), read_only=read_only, alone=alone, place=place), descriptor
    if not (path / DATABASE).is_file():
        raise NotAnArchiveError(f"There is no archive in {path}. Check the folder, or create one there.")
    place = Place(path / DATABASE)
    return Catalog(SqliteDatabase(path / DATABASE), read_only=read_only, alone=alone, place=place), descriptor


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an `OSError` into a `StorageError` that says what to do."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StorageError(
            f"{path} could not be written ({reason}). Nothing of this step was stored, and nothing before it is lost. "
            "Check space and permissions, then repeat."
        ) from error


def _build(path: Path, name: str, archive_uuid: str) -> None:
    catalog = Catalog(SqliteDatabase(path, create=True))
    try:
        catalog.migrate()
        with catalog.writing() as session:
            session.add(_new_row(name, archive_uuid))
    finally:
        catalog.close()


def _build_on_server(folder: Path, database: PostgresDatabase, name: str, new: ArchiveDescriptor) -> None:
    """Announce the archive in the folder, make the catalog in one transaction, then publish the descriptor.

    A creation that was interrupted in between and is repeated finds its own archive in the database, and resumes.
    """
    catalog = Catalog(database)
    try:
        with catalog.writer_lock(folder).hold():
            begun = ArchiveDescriptor.read(descriptors.announced(folder))
            with catalog.changing_schema() as connection:
                database.check_encoding(connection)
                if schema_version(connection):
                    there = connection.scalar(select(ArchiveRow.uuid))
                    if begun is None or begun.archive != there or begun.catalog != database.url:
                        raise AlreadyAnArchiveError(
                            f"{database.name} holds an archive already. Name another database (or schema, by "
                            "?options=-csearch_path%3DNAME), or open the folder that belongs to it."
                        )
                elif inspect(connection).get_table_names():
                    raise AlreadyAnArchiveError(
                        f"{database.name} holds other tables. Give the archive a database or a schema of its own."
                    )
                else:
                    descriptors.announce(folder, new)
                    while schema_version(connection) < current_version():
                        apply_next(connection)
                    with Session(connection) as session:
                        session.add(_new_row(name, new.archive))
                        session.flush()
            descriptors.publish(folder)
    finally:
        catalog.close()


def _new_row(name: str, archive_uuid: str) -> ArchiveRow:
    return ArchiveRow(uuid=archive_uuid, name=name, created=datetime.now(UTC).isoformat(timespec="seconds"))
