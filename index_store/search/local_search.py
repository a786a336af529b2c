"""The engine within the process: FAISS indexes in step with the catalog, and the check of their results.

Index and catalog are read at the same position of the log, under a lock that keeps the index there: a result belongs to
one state of the archive, never to a mixture of two.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Select, bindparam, or_, select
from sqlalchemy.orm import Session

from index_store.catalog.case_reader import CaseReader
from index_store.catalog.catalog import HAS_ROLES, current_revision
from index_store.catalog.encoders import encoder_of, require_serving, serving_encoders
from index_store.catalog.filters import CaseFilter
from index_store.catalog.models import ArchiveRow, ChangeRow, EncoderRow
from index_store.errors import ArchiveBusyError, IndexDriftError
from index_store.index.vector_file import DamagedRowsError
from index_store.records import COLOUR_FINGERPRINT, IMAGE, Hit, Role
from index_store.search.filter_cache import FilterCache
from index_store.search.index_sync import DAMAGED, IndexSync
from index_store.search.protocols import ArchiveParts, VectorEngine
from index_store.search.readers_writer_lock import ReadersWriterLock
from index_store.vectors import IndexIdentity, LogPosition, checked_vectors

_ENCODERS, _ARCHIVE, _CHANGES = EncoderRow.__table__.c, ArchiveRow.__table__.c, ChangeRow.__table__.c


def _last(column: ColumnElement[int]) -> ScalarSelect[int]:
    return select(column).order_by(_CHANGES.sequence.desc()).limit(1).scalar_subquery()


def _state(*roles: ColumnElement[int | None]) -> Select[*tuple[Any, ...]]:
    return (
        select(
            _ENCODERS.id,
            _ARCHIVE.revision,
            _last(_CHANGES.sequence).label("sequence"),
            _last(_CHANGES.token).label("token"),
        )
        .join_from(
            EncoderRow.__table__,
            ArchiveRow.__table__,
            or_(*(role == _ENCODERS.id for role in roles), _ENCODERS.fingerprint == COLOUR_FINGERPRINT),
        )
        .where(_ENCODERS.fingerprint == bindparam("fingerprint"))
    )


_STATE = _state(_ARCHIVE.active_encoder_id, _ARCHIVE.text_encoder_id)
"""What a search with an encoder (`fingerprint`) needs to know of the catalog's state, in one statement without the
object mapper, which takes longer than searching ten thousand vectors. No row where the encoder has no role."""

_STATE_WITHOUT_ROLES = _state(_ARCHIVE.active_encoder_id)
"""The same, of an archive of an earlier version that is open read-only."""


class LocalSearch:
    """A `VectorSearch` by a FAISS index for each encoder that has a role: loaded when first needed, in step with the
    log before each result, shared by threads."""

    def __init__(self, archive: ArchiveParts) -> None:
        self.notes: list[str] = []
        self.filters = FilterCache()
        self._archive = archive
        self._catalog = archive.catalog
        self._folder = archive.folder / "index"
        self._lock = ReadersWriterLock()
        self._indexes: dict[int, IndexSync] = {}
        """By encoder id: of encoders that have a role, and were needed."""

    def search(self, vectors: object, k: int, *, where: CaseFilter | None, fingerprint: str) -> list[list[Hit]]:
        """See `Archive.search`."""
        with self._lock.read(), self._catalog.reading() as session:
            statement = _STATE if session.info.get(HAS_ROLES, True) else _STATE_WITHOUT_ROLES
            now = session.execute(statement, {"fingerprint": fingerprint}).first()
            current = None if now is None else self._indexes.get(now.id)
            if (
                current is not None
                and now is not None
                and LogPosition(now.sequence or 0, now.token or 0) == current.position
            ):
                # A damaged row: or one that another process has removed, and zeroed, meanwhile. Look at the log again.
                with contextlib.suppress(DamagedRowsError):
                    return self._results(session, current, vectors, k, where, now.revision)
        # In a transaction that begins now: one that began before may see less than the index has applied.
        with self._lock.write(), self._catalog.reading(anew=True) as session:
            current = self._synced(session, require_serving(session, fingerprint))
            try:
                return self._results(session, current, vectors, k, where, current_revision(session))
            except DamagedRowsError:
                current.rebuild(session, DAMAGED)
                self._save_if_free(session, current)
                return self._results(session, current, vectors, k, where, current_revision(session))

    def sync(self) -> Mapping[Role, IndexSync]:
        """Apply the log up to its end to the index of each role's encoder. Empty where the archive has none yet."""
        with self._lock.write(), self._catalog.reading(anew=True) as session:
            serving = serving_encoders(session)
            ids = {encoder.id for encoder in serving.values()}
            self._indexes = {number: index for number, index in self._indexes.items() if number in ids}
            return {role: self._synced(session, encoder) for role, encoder in serving.items()}

    @contextmanager
    def synced(self, role: Role = IMAGE) -> Iterator[tuple[Session, EncoderRow, IndexSync] | None]:
        """The index of the role's encoder at the end of the log, with a session that reads the same state. None where
        the archive has no encoder yet."""
        with self._lock.write(), self._catalog.reading(anew=True) as session:
            encoder = encoder_of(session, role)
            yield (session, encoder, self._synced(session, encoder)) if encoder else None

    def save(self) -> None:
        """Bring the indexes up to date and write their files. Needs the writer's lock."""
        indexes = self.sync()
        # Only writers change an index from here on, and we are the writer: searches may run meanwhile.
        with self._lock.read(), self._catalog.reading(anew=True) as session:
            for index in indexes.values():
                index.save(session)

    def prepare(self, encoder: EncoderRow) -> None:
        """Build and save the index of the encoder that gets a role next, so that no search waits for it. Needs the
        writer's lock."""
        upcoming = self._index_sync(encoder, notes=[])  # that there was no file yet needs no note
        with self._catalog.reading(anew=True) as session:
            upcoming.load(session)
            upcoming.save(session)

    def discard(self, encoder: EncoderRow) -> None:
        """Delete the saved index of an encoder whose vectors are dropped. Needs the writer's lock."""
        self._index_sync(encoder, notes=[]).discard()

    def close(self) -> None:
        """Release the index. The next call loads it again."""
        with self._lock.write():
            self._indexes = {}

    def _synced(self, session: Session, encoder: EncoderRow) -> IndexSync:
        """The index of this encoder, in step with what `session` reads. Needs exclusion."""
        if encoder.id in self._indexes:
            self._indexes[encoder.id].follow(session)
            return self._indexes[encoder.id]
        loaded = self._index_sync(encoder, notes=self.notes)
        loaded.load(session)
        self._indexes[encoder.id] = loaded
        self._save_if_free(session, loaded)
        return loaded

    def _index_sync(self, encoder: EncoderRow, *, notes: list[str]) -> IndexSync:
        identity = IndexIdentity(self._archive.uuid, encoder.fingerprint, encoder.dim)
        spill = None if self._catalog.read_only else self._folder
        return IndexSync(self._folder, identity, encoder.id, notes, spill=spill)

    def _save_if_free(self, session: Session, current: IndexSync) -> None:
        """Save what was rebuilt or applied while opening, so that the next process need not repeat it."""
        if self._catalog.read_only or not current.is_worth_saving:
            return
        try:
            with self._archive.writer_lock.hold():
                current.save(session)
        except ArchiveBusyError:
            return  # the process that is writing saves it at its end

    def _results(
        self,
        session: Session,
        current: IndexSync,
        vectors: object,
        k: int,
        where: CaseFilter | None,
        revision: int,
    ) -> list[list[Hit]]:
        """The results of the index, checked against the catalog.

        Raises:
            IndexDriftError: the index ranked images that the catalog does not permit.
        """
        queries = checked_vectors(vectors, dim=current.index.dim)
        reader = CaseReader(session, self._archive.images)
        labels = self._archive.labels.at(current.position)
        selection, excluded = self.filters.selection(reader, where, revision, labels)
        rankings = current.index.search(queries, k, selection=selection)
        ids = {image_id for ranking in rankings for image_id, _ in ranking}
        # The filter once more, in SQL and on the result: whichever engine ranked, this holds.
        strays = ids - reader.confirmed(ids, where) | ids.intersection(excluded.tolist())
        if strays:
            raise IndexDriftError(
                f"The vector index found {len(strays)} images that the records do not permit; no answer was given. "
                f"Delete the folder {self._folder}, open the archive again (it is rebuilt), and report this."
            )
        return [[*map(Hit._make, ranking)] for ranking in rankings]


FAISS = VectorEngine(
    name="FAISS within the process",
    accepts=lambda address: not address,
    open=lambda archive, _: LocalSearch(archive),
)
