"""Searching an archive: the vector index, kept in step with the catalog, and the check of what it answers.

Index and catalog are read at the same place in the log, under a lock that keeps the index there: an answer belongs to
one state of the archive, never to a mixture of two.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.orm import Session

from .case_reader import CaseReader
from .catalog import Catalog
from .database import Lock
from .encoders import active_encoder, require_encoder
from .errors import ArchiveBusyError, IndexDriftError
from .filters import CaseFilter
from .image_store import ImageStore
from .index_file import IndexIdentity
from .index_follower import IndexFollower
from .locks import SearchLock
from .models import EncoderRow
from .records import Hit
from .vector_index import checked_vectors


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
        self._follower: IndexFollower | None = None
        self._encoder_id: int | None = None

    def search(self, vectors: object, k: int, *, where: CaseFilter | None, fingerprint: str) -> list[list[Hit]]:
        """See `Archive.search`."""
        with self._lock.shared(), self._catalog.reading() as session:
            encoder = require_encoder(active_encoder(session), fingerprint=fingerprint)
            if self._follower and self._encoder_id == encoder.id and self._follower.is_current(session):
                return self._answer(session, self._follower, encoder, vectors, k, where)
        with self._lock.exclusive(), self._catalog.reading() as session:
            encoder = require_encoder(active_encoder(session), fingerprint=fingerprint)
            return self._answer(session, self._caught_up(session, encoder), encoder, vectors, k, where)

    def follow(self) -> IndexFollower | None:
        """Bring the index up to the log's end; None where there is no encoder yet."""
        with self._lock.exclusive(), self._catalog.reading() as session:
            encoder = active_encoder(session)
            return self._caught_up(session, encoder) if encoder else None

    def save(self) -> None:
        """Bring the index up to date and write its file. Needs the writer's lock."""
        follower = self.follow()
        if follower is not None:
            # Only writers change the index from here on, and we are the writer: searches may go on.
            with self._lock.shared():
                follower.save()

    def close(self) -> None:
        with self._lock.exclusive():
            self._follower = None

    def _caught_up(self, session: Session, encoder: EncoderRow) -> IndexFollower:
        if self._follower is not None and self._encoder_id == encoder.id:
            self._follower.follow(session)
            return self._follower
        identity = IndexIdentity(self._archive_uuid, encoder.fingerprint, encoder.dim)
        follower = IndexFollower(self._folder, identity, encoder.id, self.notes)
        follower.load(session)
        self._follower, self._encoder_id = follower, encoder.id
        self._save_if_free(follower)
        return follower

    def _save_if_free(self, follower: IndexFollower) -> None:
        """What was rebuilt or caught up at opening need not be again at the next."""
        if self._catalog.read_only or not follower.is_worth_saving:
            return
        try:
            with self._writer_lock.hold():
                follower.save()
        except ArchiveBusyError:
            return  # whoever is writing saves it when done

    def _answer(
        self,
        session: Session,
        follower: IndexFollower,
        encoder: EncoderRow,
        vectors: object,
        k: int,
        where: CaseFilter | None,
    ) -> list[list[Hit]]:
        queries = checked_vectors(vectors, dim=encoder.dim)
        reader = CaseReader(session, self._store)
        found = follower.index.search(queries, k, selection=reader.selection(where))
        ids = {image_id for ranking in found for image_id, _ in ranking}
        # The filter once more, in SQL and on the answer: whatever engine ranked, this is what holds.
        strays = ids - reader.confirmed(ids, where)
        if strays:
            raise IndexDriftError(
                f"The vector index found {len(strays)} images that the records do not permit; no answer was given. "
                f"Delete the folder {self._folder}, open the archive again (it is rebuilt), and report this."
            )
        return [[Hit(image_id, score) for image_id, score in ranking] for ranking in found]
