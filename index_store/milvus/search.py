"""Searching an archive whose vectors are in Milvus: what `IndexedSearch` is for an index within the process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from index_store.catalog.case_reader import CaseReader
from index_store.catalog.catalog import Catalog
from index_store.catalog.change_log import log_head
from index_store.catalog.databases.database import Lock
from index_store.catalog.encoders import active_encoder, require_encoder
from index_store.catalog.filters import CaseFilter
from index_store.catalog.models import EncoderRow
from index_store.errors import ArchiveBusyError, IndexDriftError, StorageError
from index_store.files.image_store import ImageStore
from index_store.index.storage import IndexIdentity
from index_store.milvus.connection import MilvusServer
from index_store.milvus.sync import MilvusFollower
from index_store.records import Hit
from index_store.vectors import checked_vectors

ATTEMPTS = 5
"""Transactions that a search tries before it leaves Milvus out: more than a writer can overtake in its time."""

PAUSE = 0.2
"""Seconds between two looks at a collection that is behind."""


class SharedSearch:
    """The collection of the active encoder. It holds nothing in the process, so that many readers cost no memory."""

    def __init__(
        self, catalog: Catalog, store: ImageStore, server: MilvusServer, archive_uuid: str, writer_lock: Lock
    ) -> None:
        self.notes: list[str] = []
        self._catalog = catalog
        self._store = store
        self._server = server
        self._archive_uuid = archive_uuid
        self._writer_lock = writer_lock
        self._followers: dict[int, MilvusFollower] = {}

    def search(self, vectors: object, k: int, *, where: CaseFilter | None, fingerprint: str) -> list[list[Hit]]:
        """See `Archive.search`."""
        for attempt in range(ATTEMPTS):
            with self._catalog.reading() as session:
                encoder = require_encoder(active_encoder(session), fingerprint=fingerprint)
                queries = checked_vectors(vectors, dim=encoder.dim)
                found = self._follower(encoder).search(
                    session, CaseReader(session, self._store), queries, k, where, last=attempt == ATTEMPTS - 1
                )
                if found is not None:
                    return [[Hit(image_id, score) for image_id, score in ranking] for ranking in found]
        raise IndexDriftError("The vector index does not come to rest. Repeat the search.")

    def follow(self) -> MilvusFollower | None:
        """Bring the collection up to the log's end, where we may; None where there is no encoder yet. A server that
        does not answer is noted: the records are the truth, and the next writer makes up for it."""
        with contextlib.ExitStack() as stack:
            # The lock first: what is applied must not be older than what another writer has applied.
            may_write = self._may_write(stack)
            session = stack.enter_context(self._catalog.reading())
            encoder = active_encoder(session)
            if encoder is None:
                return None
            follower = self._follower(encoder)
            try:
                if may_write:
                    follower.follow(session)
                else:
                    follower.look()
            except StorageError as error:
                if str(error) not in self.notes:
                    self.notes.append(str(error))
            return follower

    @contextmanager
    def held(self) -> Iterator[tuple[Session, EncoderRow, MilvusFollower] | None]:
        """The collection as it stands, at the log's end where a writer has brought it there, with a session that sees
        the same state; None where there is no encoder yet. Other processes may write meanwhile.

        Raises:
            ArchiveBusyError: at the end, where one did: what was seen may be of two states.
            StorageError: the server does not answer.
        """
        self.follow()
        for attempt in range(ATTEMPTS):
            with self._catalog.reading() as session:
                encoder = active_encoder(session)
                if encoder is None:
                    yield None
                    return
                follower = self._follower(encoder)
                follower.look()
                if follower.position != log_head(session) and attempt < ATTEMPTS - 1:
                    time.sleep(PAUSE)  # a writer is about to apply what it has committed
                    continue
                yield session, encoder, follower
                if not self._writer_lock.held and not follower.is_unmoved():
                    raise ArchiveBusyError(
                        f"The vectors in Milvus at {self._server.uri} were changed meanwhile, or a writer was killed "
                        "while it changed them. Wait until nobody writes, and repeat; the next writer puts them right."
                    )
                return

    def save(self) -> None:
        """Bring the collection up to date. Needs the writer's lock."""
        self.follow()

    def prepare(self, encoder: EncoderRow) -> None:
        """Build the collection of an encoder that is to answer next, so that no search waits for it. Needs the
        writer's lock."""
        follower = self._make(encoder, notes=[])  # that there was none yet is no news
        with self._catalog.reading() as session:
            follower.follow(session)

    def discard(self, encoder: EncoderRow) -> None:
        """Drop the collection of an encoder whose vectors were dropped. Needs the writer's lock."""
        self._followers.pop(encoder.id, None)
        self._make(encoder, notes=[]).discard()

    def close(self) -> None:
        self._followers.clear()
        self._server.close()

    def _may_write(self, stack: contextlib.ExitStack) -> bool:
        """Whether nobody else applies the log meanwhile."""
        if self._catalog.read_only:
            return False
        try:
            stack.enter_context(self._writer_lock.hold())
        except ArchiveBusyError:
            return False
        return True

    def _follower(self, encoder: EncoderRow) -> MilvusFollower:
        if encoder.id not in self._followers:
            self._followers[encoder.id] = self._make(encoder, notes=self.notes)
        return self._followers[encoder.id]

    def _make(self, encoder: EncoderRow, *, notes: list[str]) -> MilvusFollower:
        identity = IndexIdentity(self._archive_uuid, encoder.fingerprint, encoder.dim)
        return MilvusFollower(self._server, identity, encoder.id, notes)
