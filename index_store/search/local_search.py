"""Searching an archive: the vector index, kept in step with the catalog, and the check of what it answers.

Index and catalog are read at the same place in the log, under a lock that keeps the index there: an answer belongs to
one state of the archive, never to a mixture of two.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import ColumnElement, ScalarSelect, select
from sqlalchemy.orm import Session

from index_store.catalog.case_reader import CaseReader
from index_store.catalog.catalog import Catalog
from index_store.catalog.databases.database import Lock
from index_store.catalog.encoders import active_encoder, require_encoder
from index_store.catalog.filters import CaseFilter
from index_store.catalog.models import ArchiveRow, ChangeRow, EncoderRow
from index_store.catalog.revision import current_revision
from index_store.errors import ArchiveBusyError, IndexDriftError
from index_store.files.image_store import ImageStore
from index_store.files.locks import SearchLock
from index_store.index.storage import IndexIdentity
from index_store.index.vector_file import DamagedRowsError
from index_store.records import Hit
from index_store.search.filter_cache import FilterCache
from index_store.search.index_sync import DAMAGED, IndexFollower
from index_store.vectors import LogPosition, checked_vectors

_ENCODERS, _ARCHIVE, _CHANGES = EncoderRow.__table__.c, ArchiveRow.__table__.c, ChangeRow.__table__.c


def _last(column: ColumnElement[int]) -> ScalarSelect[int]:
    return select(column).order_by(_CHANGES.sequence.desc()).limit(1).scalar_subquery()


_NOW = select(
    _ENCODERS.id,
    _ENCODERS.fingerprint,
    _ARCHIVE.revision,
    _last(_CHANGES.sequence).label("sequence"),
    _last(_CHANGES.token).label("token"),
).join_from(EncoderRow.__table__, ArchiveRow.__table__, _ARCHIVE.active_encoder_id == _ENCODERS.id)
"""What a search must know of the records, in one statement without the object mapper, which takes longer than to search
ten thousand vectors. No row before the first encoder."""


class IndexedSearch:
    """The index of the active encoder: loaded when first needed, caught up before each answer, shared by threads."""

    def __init__(self, catalog: Catalog, store: ImageStore, folder: Path, archive_uuid: str, writer_lock: Lock) -> None:
        self.notes: list[str] = []
        self._catalog = catalog
        self._store = store
        self._folder = folder
        self._archive_uuid = archive_uuid
        self._writer_lock = writer_lock
        self._lock = SearchLock()
        self._filters = FilterCache()
        self._follower: IndexFollower | None = None
        self._encoder_id: int | None = None

    def search(self, vectors: object, k: int, *, where: CaseFilter | None, fingerprint: str) -> list[list[Hit]]:
        """See `Archive.search`."""
        with self._lock.shared(), self._catalog.reading() as session:
            follower, now = self._follower, session.execute(_NOW).first()
            if (
                follower is not None
                and now is not None
                and (now.id, now.fingerprint) == (self._encoder_id, fingerprint)
                and LogPosition(now.sequence or 0, now.token or 0) == follower.position
            ):
                # Else: damaged, or a writer has wiped meanwhile what it removed. Look again at what is there now.
                with contextlib.suppress(DamagedRowsError):
                    return self._answer(session, follower, vectors, k, where, now.revision)
        with self._lock.exclusive(), self._catalog.reading() as session:
            encoder = require_encoder(active_encoder(session), fingerprint=fingerprint)
            follower = self._caught_up(session, encoder)
            try:
                return self._answer(session, follower, vectors, k, where, current_revision(session))
            except DamagedRowsError:
                follower.rebuild(session, DAMAGED)
                self._save_if_free(session, follower)
                return self._answer(session, follower, vectors, k, where, current_revision(session))

    def follow(self) -> IndexFollower | None:
        """Bring the index up to the log's end; None where there is no encoder yet."""
        with self._lock.exclusive(), self._catalog.reading() as session:
            encoder = active_encoder(session)
            return self._caught_up(session, encoder) if encoder else None

    @contextmanager
    def held(self) -> Iterator[tuple[Session, EncoderRow, IndexFollower] | None]:
        """The index at the log's end, with a session that sees the same state; None where there is no encoder yet.
        Nobody else of this process searches meanwhile."""
        with self._lock.exclusive(), self._catalog.reading() as session:
            encoder = active_encoder(session)
            yield (session, encoder, self._caught_up(session, encoder)) if encoder else None

    def save(self) -> None:
        """Bring the index up to date and write its file. Needs the writer's lock."""
        follower = self.follow()
        if follower is not None:
            # Only writers change the index from here on, and we are the writer: searches may go on.
            with self._lock.shared(), self._catalog.reading() as session:
                follower.save(session)

    def prepare(self, encoder: EncoderRow) -> None:
        """Build and save the index of an encoder that is to answer next, so that no search waits for it. Needs the
        writer's lock."""
        follower = self._make(encoder, notes=[])  # that there was no file yet is no news
        with self._catalog.reading() as session:
            follower.load(session)
            follower.save(session)

    def discard(self, encoder: EncoderRow) -> None:
        """Delete the saved index of an encoder whose vectors were dropped. Needs the writer's lock."""
        self._make(encoder, notes=[]).discard()

    def close(self) -> None:
        with self._lock.exclusive():
            self._follower = None

    def _caught_up(self, session: Session, encoder: EncoderRow) -> IndexFollower:
        if self._follower is not None and self._encoder_id == encoder.id:
            self._follower.follow(session)
            return self._follower
        follower = self._make(encoder, notes=self.notes)
        follower.load(session)
        self._follower, self._encoder_id = follower, encoder.id
        self._save_if_free(session, follower)
        return follower

    def _make(self, encoder: EncoderRow, *, notes: list[str]) -> IndexFollower:
        identity = IndexIdentity(self._archive_uuid, encoder.fingerprint, encoder.dim)
        spill = None if self._catalog.read_only else self._folder
        return IndexFollower(self._folder, identity, encoder.id, notes, spill=spill)

    def _save_if_free(self, session: Session, follower: IndexFollower) -> None:
        """What was rebuilt or caught up at opening need not be again at the next."""
        if self._catalog.read_only or not follower.is_worth_saving:
            return
        try:
            with self._writer_lock.hold():
                follower.save(session)
        except ArchiveBusyError:
            return  # whoever is writing saves it when done

    def _answer(
        self,
        session: Session,
        follower: IndexFollower,
        vectors: object,
        k: int,
        where: CaseFilter | None,
        revision: int,
    ) -> list[list[Hit]]:
        queries = checked_vectors(vectors, dim=follower.index.dim)
        reader = CaseReader(session, self._store)
        selection, left_out = self._filters.selection(reader, where, revision)
        found = follower.index.search(queries, k, selection=selection)
        ids = {image_id for ranking in found for image_id, _ in ranking}
        # The filter once more, in SQL and on the answer: whatever engine ranked, this is what holds.
        strays = ids - reader.confirmed(ids, where) | ids.intersection(left_out.tolist())
        if strays:
            raise IndexDriftError(
                f"The vector index found {len(strays)} images that the records do not permit; no answer was given. "
                f"Delete the folder {self._folder}, open the archive again (it is rebuilt), and report this."
            )
        return [[Hit(image_id, score) for image_id, score in ranking] for ranking in found]
