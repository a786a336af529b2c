"""`Archive`: the API of cases, images, vectors and search.

A folder holds all of it:

    archive.sqlite    cases, images, reports, embeddings, change log: authoritative
    images/           the stored pictures, named by content (none for images added in place)
    index/            the saved vector index and what else is derived: may be deleted at any time
    writer.lock       held by the writer, whom writer.txt names; the folder itself is locked as well

or `archive.json` names servers in place of a part: PostgreSQL for the catalog, and with it the writer's lock; Milvus
for the vectors. The folder must then be readable on every machine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from index_store.archive_maintenance import ArchiveMaintenance
from index_store.catalog import orphan_files
from index_store.catalog.case_reader import CaseReader
from index_store.catalog.case_writer import remove_case
from index_store.catalog.catalog import Catalog, advance_revision
from index_store.catalog.descriptor import DESCRIPTOR_FILE, ArchiveDescriptor
from index_store.catalog.encoders import activate, active_encoder, register_encoder, require_encoder
from index_store.catalog.import_plan import Plan, PlannedImage, Progress, make_plan
from index_store.catalog.insert import encode_missing, insert_images, update_images
from index_store.catalog.layout import catalog_of, explained, make_archive
from index_store.catalog.models import ArchiveRow
from index_store.errors import ArchiveError, NotAnArchiveError
from index_store.files.image_store import ImageStore
from index_store.maintenance.backup_folder import refuse_others
from index_store.maintenance.migrate import Migration, migrate
from index_store.maintenance.restore import Restoration, restore
from index_store.records import NewImage
from index_store.search.derived_files import DerivedFiles
from index_store.search.image_table_sync import ImageTableSync
from index_store.search.protocols import ArchiveParts
from index_store.vector_engines import engine_for
from index_store.vectors import checked_vectors

if TYPE_CHECKING:
    from index_store.maintenance.findings import Examination
    from index_store.records import ManifestRow
    from index_store.slide_records import SlideCut
    from index_store.slides.field import FieldChoice


class Archive(ArchiveMaintenance):
    """Cases and their images, searchable by unit vectors. Made by `create` or `open`; a context manager.

    Reading and searching are safe from many threads and processes. Changes are made by one writer at a time, each call
    in one transaction: after any crash, exactly the acknowledged changes are there.
    """

    def __init__(
        self, path: Path, catalog: Catalog, descriptor: ArchiveDescriptor | None = None, *, keeps_derived: bool
    ) -> None:
        """Internal: use `create` or `open`."""
        self.path, self._catalog = path, catalog
        self._images, self._writer_lock = ImageStore(path / "images"), catalog.writer_lock(path)
        with catalog.reading() as session:
            row = session.scalars(select(ArchiveRow)).one()
            self.name, self.uuid = row.name, row.uuid
        if descriptor is not None and descriptor.archive != self.uuid:
            raise NotAnArchiveError(
                f"{catalog.name} holds another archive ({self.name}) than the one that {path} belongs to. Put right "
                f"what {path / DESCRIPTOR_FILE} says."
            )
        self._derived = DerivedFiles(path / "index", self.uuid, catalog, writes=keeps_derived)
        self._image_table = ImageTableSync(self._derived)
        address = descriptor.vectors if descriptor else ""
        parts = ArchiveParts(path, self.uuid, catalog, self._images, self._writer_lock, self._image_table)
        self._index = engine_for(address).open(parts, address)

    @classmethod
    def create(cls, path: Path | str, *, name: str = "", catalog: str = "", vectors: str = "") -> Archive:
        """A new, empty archive in the folder `path`, which is made where it is missing.

        Args:
            name: its name in listings; by default the folder's.
            catalog: URL of a PostgreSQL database, without a password (see `postgres_database.py`), that keeps the
                records in place of a SQLite file in the folder. One archive to a database or schema.
            vectors: address of a Milvus server that searches in place of FAISS, without a login (see
                `milvus/connection.py`); or the name of a milvus-lite file in the folder, to try it. Other engines have
                addresses of their own (`vector_engines.py`).

        Raises:
            AlreadyAnArchiveError: the folder holds an archive, or other files; or the database does.
            StorageError: it cannot be made there.
        """
        engine_for(vectors)  # an address that cannot be meant is refused before anything is made
        make_archive(Path(path), name, catalog=catalog, vectors=vectors)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path | str, *, read_only: bool = False, keep_derived: bool | None = None) -> Archive:
        """Open the archive in the folder `path`.

        Args:
            read_only: write nothing, not even a rebuilt index (SQLite's own `-shm` and `-wal` files aside).
            keep_derived: whether what else is made of the records (labels as columns, calibrations) is kept in the
                folder `index/` for the next process, where that can be written; None: unless `read_only`.

        Raises:
            NotAnArchiveError: the folder holds no archive.
            NewerArchiveError: it was written by a newer version.
            OutdatedArchiveError: it must be migrated first (`migrate`). One of the version before is read as it is.
            StorageError: the disk or the database refuses.
        """
        refuse_others(Path(path))
        return cls._open(Path(path), read_only=read_only, keep_derived=keep_derived)

    @classmethod
    def migrate(
        cls,
        path: Path | str,
        *,
        backup: Path | str | None = None,
        backed_up: bool = False,
        progress: Progress | None = None,
    ) -> Migration:
        """Bring an archive of an earlier version up to date, after a backup. Does nothing where it is up to date.

        Args:
            backup: a new folder for it (`maintenance/migrate.py`); by default beside the archive, named by the schema.
            backed_up: there is a backup already, and none is made: a server backs up its catalog itself.
            progress: called with how many pictures the backup has, and of how many.

        Raises:
            ArchiveBusyError: somebody has it open, to read or to write.
            BackupError: no backup could be made; nothing was migrated. Otherwise like `open`.
        """
        refuse_others(Path(path))
        return migrate(Path(path), backup=Path(backup) if backup else None, backed_up=backed_up, progress=progress)

    @classmethod
    def restore(
        cls,
        backup: Path | str,
        target: Path | str,
        *,
        allow_damaged: bool = False,
        progress: Progress | None = None,
    ) -> Restoration:
        """Make the archive of a backup in the new folder `target`.

        Checksums and counts are compared, the index is made, and the archive is examined, before the folder gets its
        name. Interrupted, it is `target`.partial, which cannot be opened, and the same call resumes it.

        Args:
            allow_damaged: restore what is intact where pictures of the backup are missing or altered.
            progress: called with how many pictures were copied, and of how many.

        Raises:
            BackupError: the backup is damaged or unfinished, or the target holds something.
            NewerArchiveError: it was made by a newer version.
            StorageError: the disk refuses.
        """

        def examine(folder: Path) -> Examination:  # a copy that nobody else knows yet
            migrate(folder, backup=None, backed_up=True, progress=None)
            with cls._open(folder, read_only=False) as archive:
                archive.rebuild_index()
                archive.recount()
                return archive.examine(checksums=False)

        return restore(Path(backup), Path(target), examine, allow_damaged=allow_damaged, progress=progress)

    @classmethod
    def _open(cls, path: Path, *, read_only: bool, keep_derived: bool | None = None) -> Archive:
        catalog, descriptor = catalog_of(path, read_only=read_only)
        try:
            if catalog.is_outdated():
                raise catalog.outdated()
            keeps = not catalog.read_only if keep_derived is None else keep_derived
            return cls(path, catalog, descriptor, keeps_derived=keeps)
        except BaseException:
            catalog.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release files and memory."""
        self._derived.close()
        self._index.close()
        self._catalog.close()

    # Changing

    def use_encoder(self, fingerprint: str, *, name: str, dim: int) -> None:
        """Set the encoder that the vectors come from. The first is registered, any other refused: `begin_encoder` adds
        another one.

        Raises:
            EncoderMismatchError: the archive was embedded with another encoder.
        """
        if self.encoder is None:
            self._require_writable()
            with self._catalog.writing() as session:
                if active_encoder(session) is None:  # no other process was faster
                    activate(session, register_encoder(session, fingerprint=fingerprint, name=name, dim=dim))
        with self._catalog.reading() as session:
            require_encoder(active_encoder(session), fingerprint=fingerprint, name=name)

    def pending(
        self, rows: Sequence[ManifestRow], *, choice: FieldChoice | None = None, progress: Progress | None = None
    ) -> Plan:
        """Plan the addition of these rows (of slides by `choice`): hashes, decodes nothing, changes nothing."""
        return make_plan(self._catalog, rows, choice=choice, progress=progress)

    def add(
        self,
        items: Sequence[NewImage],
        vectors: object,
        *,
        fingerprint: str,
        in_place: bool = False,
        slides: Sequence[SlideCut] = (),
    ) -> int:
        """Add images with their vectors: all of them, durably, or none. Returns how many were added.

        Args:
            items: from `load` of what was planned. One that is stored already (same case, same content) is skipped.
            vectors: float32[len(items), dim], rows of unit length.
            fingerprint: of the encoder that made the vectors; must be the archive's (`use_encoder`).
            in_place: reference the files where they are, and store no pictures but fields of slides.
            slides: those that some of the images are fields of; one that their case has already is left as it is.

        Raises:
            VectorError, EncoderMismatchError, ArchiveBusyError, ReadOnlyArchiveError: nothing was added.
            StorageError: the disk is full or failing; nothing was added, and nothing is lost.
        """
        with self._catalog.reading() as session:
            encoder = require_encoder(active_encoder(session), fingerprint=fingerprint)
        rows = checked_vectors(vectors, dim=encoder.dim, count=len(items))
        with self.writer():
            self._index.sync()  # up to date: afterwards only this addition is applied
            encoded = encode_missing(self._catalog, self._images, items, slides, in_place=in_place)
            if names := [image.stored.name for image in encoded.values()]:
                with self._catalog.writing() as session:
                    orphan_files.note(session, names)
            try:
                with explained(self.path):
                    self._images.write(encoded.values())
                with self._catalog.writing() as session:
                    # Checked again, now that nobody else can write: another process may have switched encoders.
                    require_encoder(active_encoder(session), fingerprint=fingerprint)
                    added = insert_images(
                        session, encoder.id, items, rows, in_place=in_place, encoded=encoded, slides=slides
                    )
                    orphan_files.clear(session, names)
            except BaseException:  # delete the orphaned files; if even that fails, the next writer does it
                with contextlib.suppress(ArchiveError, OSError):
                    orphan_files.collect(self._catalog, self._images)
                raise
            self._index.sync()
        return added

    def update(self, items: Sequence[PlannedImage], *, drop_rescaled: bool = False) -> int:
        """Update reports and attributes (`Plan.changed`) without changing images.

        `drop_rescaled`: an image that gets another scale loses its vectors, which depend on it: embed it anew.

        Returns how many rows were applied. Raises like `add`.
        """
        with self.writer(), self._catalog.writing() as session:
            applied = update_images(session, items, drop_rescaled=drop_rescaled)
            if applied:
                advance_revision(session)
        if applied:
            self._catalog.erase_removed()  # a report may have been replaced because it named a person
        return applied

    def remove(self, case_key: str) -> int:
        """Remove a case from records, index and disk. Files added in place, and pictures that another case has too,
        stay. Returns how many images it had.

        Raises:
            CaseNotFoundError: there is no such case; names similar keys. Otherwise like `add`.
        """
        with self.writer():
            with self._catalog.writing() as session:
                CaseReader(session, self._images).case(case_key)
                removed = remove_case(session, case_key)
                advance_revision(session)
            self._index.sync()
            with explained(self.path):
                orphan_files.collect(self._catalog, self._images)
            self._catalog.erase_removed()
        return removed
