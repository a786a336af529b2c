"""`Archive`: the one door to cases, images, vectors and search.

A folder holds all of it:

    archive.sqlite    cases, images, reports, embeddings, change log: the truth
    images/           the stored pictures, by content (none for images added in place)
    index/            the saved vector index: derived, may be deleted at any time
    writer.lock       held by whoever writes (writer.txt says who)
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from . import loose_files
from .case_reader import CaseReader, in_chunks
from .case_writer import CaseWriter, delete_case
from .catalog import Catalog
from .durable import sync_folder
from .encoders import active_encoder, register_encoder, require_encoder
from .errors import (
    AlreadyAnArchiveError,
    ArchiveError,
    ImageNotFoundError,
    NotAnArchiveError,
    ReadOnlyArchiveError,
    StorageError,
)
from .image_store import EncodedImage, ImageStore, StoredImage, encode_for_store
from .index_follower import VECTOR_TYPE, log_changes, log_head, stored_vectors
from .indexed_search import IndexedSearch
from .locks import WriterLock
from .migrations import current_version
from .models import ADDED, REMOVED, ArchiveRow, CaseRow, EmbeddingRow, EncoderRow, ImageRow, PatientRow
from .plan import NewImage, Plan, PlannedImage, Progress, make_plan
from .records import ArchiveStatus, Case, EncoderInfo, Hit, Image
from .vector_index import Vectors, checked_vectors

if TYPE_CHECKING:
    from .filters import CaseFilter
    from .manifest import ManifestRow

DATABASE = "archive.sqlite"
LOCK_FILES = {"writer.lock", "writer.txt"}


class Archive:
    """Cases and their images, searchable by unit vectors. Made by `create` or `open`; a context manager.

    Reading and searching are safe from many threads and processes. Changes are made by one writer at a time, each call
    in one transaction: what it acknowledged is there after any crash, and what it did not is not.
    """

    def __init__(self, path: Path, catalog: Catalog) -> None:
        """Not for callers: use `create` or `open`."""
        self.path = path
        self._catalog = catalog
        self._images = ImageStore(path / "images")
        self._writer_lock = WriterLock(path)
        with catalog.reading() as session:
            row = session.scalars(select(ArchiveRow)).one()
            self.name, self.uuid = row.name, row.uuid
        self._index = IndexedSearch(catalog, self._images, path / "index", self.uuid, self._writer_lock)

    @classmethod
    def create(cls, path: Path | str, *, name: str = "") -> Archive:
        """A new, empty archive in the folder `path`, which is made where it is missing.

        Raises:
            AlreadyAnArchiveError: the folder holds an archive, or other files.
            StorageError: it cannot be made there.
        """
        path = Path(path)
        building = path / f"{DATABASE}.new"
        with _explained(path):
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
        return cls.open(path)

    @classmethod
    def open(cls, path: Path | str, *, read_only: bool = False) -> Archive:
        """Open the archive in the folder `path`, bringing an older schema up to date unless `read_only`.

        A read-only archive writes nothing, not even a rebuilt index (SQLite's own `-shm` and `-wal` files aside).

        Raises:
            NotAnArchiveError, NewerArchiveError, OutdatedArchiveError, ArchiveBusyError, StorageError: as they say.
        """
        path = Path(path)
        if not (path / DATABASE).is_file():
            raise NotAnArchiveError(f"There is no archive in {path}. Check the folder, or create one there.")
        catalog = Catalog(path / DATABASE, read_only=read_only)
        try:
            if catalog.is_outdated():
                with WriterLock(path).hold():
                    catalog.migrate()
            return cls(path, catalog)
        except BaseException:
            catalog.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files and memory. Everything acknowledged is on disk already."""
        self._index.close()
        self._catalog.close()

    # Encoder

    @property
    def encoder(self) -> EncoderInfo | None:
        """The encoder that answers searches; None before the first is registered."""
        with self._catalog.reading() as session:
            encoder = active_encoder(session)
            return EncoderInfo(encoder.fingerprint, encoder.name, encoder.dim) if encoder else None

    def use_encoder(self, fingerprint: str, *, name: str, dim: int) -> None:
        """Say which encoder the vectors come from. The first one is registered, any other refused.

        Raises:
            EncoderMismatchError: the archive was embedded with another encoder.
        """
        if self.encoder is None:
            self._require_writable()
            with self._catalog.writing() as session:
                if active_encoder(session) is None:  # nobody was faster
                    register_encoder(session, fingerprint=fingerprint, name=name, dim=dim)
        with self._catalog.reading() as session:
            require_encoder(active_encoder(session), fingerprint=fingerprint, name=name)

    # Changing

    @contextmanager
    def writer(self, *, timeout: float = 0.0) -> Iterator[None]:
        """Hold the archive for writing over several calls; the index is saved once, at the end.

        Begins with finishing what a killed writer left behind.

        Raises:
            ArchiveBusyError: another writer did not finish within `timeout` seconds; names it.
            ReadOnlyArchiveError: the archive was opened read-only.
        """
        self._require_writable()
        outermost = not self._writer_lock.held
        with contextlib.ExitStack() as stack:
            with _explained(self.path):
                stack.enter_context(self._writer_lock.hold(timeout=timeout))
                if outermost:
                    loose_files.collect(self._catalog, self._images)
            try:
                yield
            finally:
                if outermost:
                    self._index.save()

    def pending(self, rows: Sequence[ManifestRow], *, progress: Progress | None = None) -> Plan:
        """What adding these rows would have to do. Reads and hashes their files, decodes nothing, changes nothing."""
        return make_plan(self._catalog, rows, progress=progress)

    def add(self, items: Sequence[NewImage], vectors: object, *, fingerprint: str, in_place: bool = False) -> int:
        """Add images with their vectors: all of them, durably, or none.

        Args:
            items: from `PlannedImage.load`. One that is there already (same case, same content) is passed over.
            vectors: float32[len(items), dim], rows of unit length.
            fingerprint: of the encoder that made the vectors; must be the archive's (`use_encoder`).
            in_place: reference the files where they are instead of storing the pictures.

        Returns:
            How many images were added.

        Raises:
            VectorError, EncoderMismatchError, ArchiveBusyError, ReadOnlyArchiveError: nothing was added.
            StorageError: the disk is full or failing; nothing was added, and what was there before still is.
        """
        with self._catalog.reading() as session:
            encoder = require_encoder(active_encoder(session), fingerprint=fingerprint)
        rows = checked_vectors(vectors, dim=encoder.dim, count=len(items))
        with self.writer():
            self._index.follow()  # from here on it has seen everything, and need not be read anew afterwards
            encoded = {} if in_place else self._encode(items)
            names = [image.stored.name for image in encoded.values()]
            if names:
                with self._catalog.writing() as session:
                    loose_files.note(session, names)
            try:
                with _explained(self.path):
                    self._images.write(encoded.values())
                with self._catalog.writing() as session:
                    added = self._insert(session, encoder.id, items, rows, in_place, encoded)
                    loose_files.cross_out(session, names)
            except BaseException:
                # Take back what lies there without a row; if even that fails, the next writer does it.
                with contextlib.suppress(ArchiveError, OSError):
                    loose_files.collect(self._catalog, self._images)
                raise
            self._index.follow()
        return added

    def update(self, items: Sequence[PlannedImage]) -> int:
        """Bring reports and particulars up to date (`Plan.changed`), without touching images or vectors.

        Returns how many rows were applied. Raises like `add`.
        """
        applied = 0
        with self.writer(), self._catalog.writing() as session:
            cases = CaseWriter(session, [item.row for item in items])
            for item in items:
                image = cases.image(item.row, item.sha256)
                if image is not None:
                    cases.update_image(image, item.row)
                    applied += 1
        return applied

    def remove(self, case_key: str) -> int:
        """Take a case out of records, index and disk. Files added in place, and pictures that another case shows
        too, stay where they are. Returns how many images it had.

        Raises:
            CaseNotFoundError: with similar keys. Otherwise like `add`.
        """
        with self.writer():
            with self._catalog.writing() as session:
                CaseReader(session, self._images).case(case_key)
                case = session.scalars(select(CaseRow).where(CaseRow.key == case_key)).one()
                embedded = session.execute(
                    select(EmbeddingRow.encoder_id, EmbeddingRow.image_id)
                    .join(ImageRow, ImageRow.id == EmbeddingRow.image_id)
                    .where(ImageRow.case_id == case.id)
                )
                by_encoder: dict[int, list[int]] = {}
                for encoder_id, image_id in embedded:
                    by_encoder.setdefault(encoder_id, []).append(image_id)
                for encoder_id, image_ids in by_encoder.items():
                    log_changes(session, encoder_id, image_ids, REMOVED)
                removed = delete_case(session, case)
            self._index.follow()
            with _explained(self.path):
                loose_files.collect(self._catalog, self._images)
            self._catalog.erase_removed()
        return len(removed)

    # Reading

    def search(self, vectors: object, k: int, *, where: CaseFilter | None = None, fingerprint: str) -> list[list[Hit]]:
        """The `k` nearest permitted images of each query, best first, exactly; fewer where there are fewer.

        The filter holds before ranking. Equal scores are ordered by image id. Sees every change that was committed
        before the call, by whichever process.

        Args:
            vectors: float32[n, dim], rows of unit length.
            fingerprint: of the encoder that made them.

        Raises:
            VectorError, EncoderMismatchError: these vectors cannot be compared with the archive's.
            IndexDriftError: the index answered with an image that is gone or not permitted.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, not {k}")
        return self._index.search(vectors, k, where=where, fingerprint=fingerprint)

    def case(self, key: str) -> Case:
        """Raises `CaseNotFoundError`, naming similar keys."""
        with self._reader() as reader:
            return reader.case(key)

    def cases(self, where: CaseFilter | None = None, *, limit: int | None = None, offset: int = 0) -> list[Case]:
        """Cases with at least one image that `where` permits, in the order they were added."""
        with self._reader() as reader:
            return reader.cases(where, limit=limit, offset=offset)

    def cases_of_images(self, image_ids: Iterable[int]) -> dict[int, Case]:
        """The case of each image. An image that was removed meanwhile is left out."""
        with self._reader() as reader:
            return reader.cases_of_images(image_ids)

    def image(self, image_id: int) -> Image:
        """Raises `ImageNotFoundError`."""
        with self._reader() as reader:
            return reader.image(image_id)

    def image_path(self, image_id: int) -> Path:
        """Where the image's file is. One added in place is as it came: show it through `decode_image`.

        Raises:
            ImageNotFoundError: no such image, or its file is gone.
        """
        path = self.image(image_id).path
        if not path.is_file():
            raise ImageNotFoundError(f"The file of image {image_id} is gone: {path}. Put it back, or remove its case.")
        return path

    def vectors_of(self, image_ids: Sequence[int], fingerprint: str) -> Vectors:
        """The stored vectors, float32[len(image_ids), dim], in the order asked for.

        Raises:
            ImageNotFoundError: one of them has no vector.
        """
        wanted = np.array(image_ids, dtype=np.int64)
        with self._catalog.reading() as session:
            encoder = require_encoder(active_encoder(session), fingerprint=fingerprint)
            ids, vectors = stored_vectors(session, encoder.id, np.unique(wanted), encoder.dim)
        missing = np.setdiff1d(wanted, ids)
        if missing.size:
            raise ImageNotFoundError(f"Image {missing[0]} has no vector in this archive. It may have been removed.")
        return vectors[np.searchsorted(ids, wanted)]

    def facets(self) -> dict[str, dict[str, int]]:
        """What can be filtered by: for site, system, category, stain, preparation, kind and source, the values that
        occur with their number of cases, most frequent first."""
        with self._reader() as reader:
            return reader.facets()

    @property
    def notes(self) -> tuple[str, ...]:
        """What happened to the index since opening (such as "rebuilt, because …"). Loads it where it is not yet."""
        self._index.follow()
        return tuple(self._index.notes)

    def status(self) -> ArchiveStatus:
        """The archive in figures."""
        follower = self._index.follow()
        with self._catalog.reading() as session:

            def count(table: type[PatientRow | CaseRow | ImageRow]) -> int:
                return session.scalar(select(func.count()).select_from(table)) or 0

            encoder = active_encoder(session)
            embeddings = session.execute(
                select(EncoderRow.fingerprint, func.count(EmbeddingRow.image_id))
                .outerjoin(EmbeddingRow)
                .group_by(EncoderRow.id)
            )
            facets = CaseReader(session, self._images).facets()
            return ArchiveStatus(
                path=self.path,
                name=self.name,
                uuid=self.uuid,
                schema_version=current_version(),
                patients=count(PatientRow),
                cases=count(CaseRow),
                images=count(ImageRow),
                encoder=EncoderInfo(encoder.fingerprint, encoder.name, encoder.dim) if encoder else None,
                embeddings=dict(embeddings.all()),
                indexed=follower.index.count if follower else 0,
                log_sequence=log_head(session).sequence,
                index_sequence=follower.position.sequence if follower else 0,
                sites=facets["site"],
                categories=facets["category"],
                notes=tuple(self._index.notes),
            )

    # Within

    @contextmanager
    def _reader(self) -> Iterator[CaseReader]:
        with self._catalog.reading() as session:
            yield CaseReader(session, self._images)

    def _require_writable(self) -> None:
        if self._catalog.read_only:
            raise ReadOnlyArchiveError(f"{self.path} was opened read-only. Open it for writing to change it.")

    def _encode(self, items: Sequence[NewImage]) -> dict[str, EncodedImage]:
        """What must be written to the store, by content: not what another case has brought already."""
        with self._catalog.reading() as session:
            known = _stored(session, {item.sha256 for item in items})
        return {
            item.sha256: encode_for_store(item.image, item.source, item.sha256)
            for item in items
            if item.sha256 not in known or not self._images.holds(known[item.sha256].name)
        }

    def _insert(
        self,
        session: Session,
        encoder_id: int,
        items: Sequence[NewImage],
        vectors: Vectors,
        in_place: bool,
        encoded: dict[str, EncodedImage],
    ) -> int:
        stored = {} if in_place else _stored(session, {item.sha256 for item in items})
        stored |= {sha256: image.stored for sha256, image in encoded.items()}
        cases = CaseWriter(session, [item.row for item in items])
        added: list[tuple[ImageRow, bytes]] = []
        for item, vector in zip(items, vectors, strict=True):
            if cases.image(item.row, item.sha256) is None:
                image = cases.add_image(item, None if in_place else stored[item.sha256])
                added.append((image, vector.astype(VECTOR_TYPE, copy=False).tobytes()))
        session.flush()  # gives the images their ids
        session.add_all(EmbeddingRow(encoder_id=encoder_id, image_id=image.id, vector=data) for image, data in added)
        log_changes(session, encoder_id, [image.id for image, _ in added], ADDED)
        return len(added)


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


def _stored(session: Session, contents: set[str]) -> dict[str, StoredImage]:
    """The stored files of these contents, as far as there are any."""
    query = select(ImageRow.sha256, ImageRow.file, ImageRow.file_sha256).where(ImageRow.file != "")
    found: dict[str, StoredImage] = {}
    for part in in_chunks(contents):
        for sha256, file, file_sha256 in session.execute(query.where(ImageRow.sha256.in_(part))):
            found[sha256] = StoredImage(file, file_sha256)
    return found


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a `StorageError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StorageError(
            f"{path} could not be written ({reason}). Nothing of this step was stored, and nothing before it is lost. "
            "Check space and permissions, then repeat."
        ) from error
