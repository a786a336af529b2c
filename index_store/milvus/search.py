"""The engine on a server: an archive whose vectors are in Milvus."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.orm import Session

from index_store.catalog.case_reader import CaseReader
from index_store.catalog.change_log import log_head
from index_store.catalog.encoders import encoder_of, require_serving, serving_encoders
from index_store.catalog.filters import CaseFilter
from index_store.catalog.models import EncoderRow
from index_store.errors import ArchiveBusyError, IndexDriftError, StorageError
from index_store.milvus.connection import TOKEN, MilvusServer, is_milvus_address
from index_store.milvus.sync import MilvusSync
from index_store.records import IMAGE, Hit, Role
from index_store.search.protocols import ArchiveParts, VectorEngine
from index_store.vectors import IndexIdentity, checked_vectors

ATTEMPTS = 5
"""Transactions that a search tries before it ranks from the records: more than a writer can overtake in its time."""

PAUSE = 0.2
"""Seconds between two looks at a collection that is behind the log."""


class MilvusSearch:
    """A `VectorSearch` by a collection for each encoder that has a role. The process holds no vectors, so that many
    readers cost no memory."""

    def __init__(self, archive: ArchiveParts, server: MilvusServer) -> None:
        self.notes: list[str] = []
        self._archive = archive
        self._catalog = archive.catalog
        self._server = server
        self._syncs: dict[int, MilvusSync] = {}

    def search(self, vectors: object, k: int, *, where: CaseFilter | None, fingerprint: str) -> list[list[Hit]]:
        """See `Archive.search`."""
        for attempt in range(ATTEMPTS):
            with self._catalog.reading(anew=True) as session:
                encoder = require_serving(session, fingerprint)
                queries = checked_vectors(vectors, dim=encoder.dim)
                reader = CaseReader(session, self._archive.images)
                rankings = self._sync_of(encoder).search(
                    session, reader, queries, k, where, last=attempt == ATTEMPTS - 1
                )
                if rankings is not None:
                    return [[*map(Hit._make, ranking)] for ranking in rankings]
        raise IndexDriftError("The vector index does not come to rest. Repeat the search.")

    def sync(self) -> Mapping[Role, MilvusSync]:
        """Apply the log up to its end to the collection of each role's encoder, where this process may write. Empty
        where the archive has no encoder yet.

        A server that does not answer is noted: the records are the truth, and the next writer applies the log.
        """
        with contextlib.ExitStack() as stack:
            # The lock first: what is applied must not be older than what another writer has applied.
            may_write = self._may_write(stack)
            session = stack.enter_context(self._catalog.reading(anew=True))
            found = {role: self._sync_of(encoder) for role, encoder in serving_encoders(session).items()}
            for current in dict.fromkeys(found.values()):
                try:
                    if may_write:
                        current.follow(session)
                    else:
                        self._refresh(current)
                except StorageError as error:
                    if str(error) not in self.notes:
                        self.notes.append(str(error))
            return found

    def _refresh(self, current: MilvusSync) -> None:
        """Look at a collection that only a writer may change, and note where it followed another log."""
        current.refresh()
        # A transaction that begins now sees all that a writer has applied to the collection.
        with self._catalog.reading(anew=True) as session:
            problem = current.foreign(session)
        if problem and problem not in self.notes:
            self.notes.append(problem)

    @contextmanager
    def synced(self, role: Role = IMAGE) -> Iterator[tuple[Session, EncoderRow, MilvusSync] | None]:
        """The collection of the role's encoder, at the end of the log where a writer has brought it there, with a
        session that reads the same state. None where the archive has no encoder yet. Other processes may write
        meanwhile.

        Raises:
            ArchiveBusyError: on leaving, where another process wrote: the caller may have seen two states.
            StorageError: the server does not answer.
        """
        self.sync()
        for attempt in range(ATTEMPTS):
            with self._catalog.reading(anew=True) as session:
                encoder = encoder_of(session, role)
                if encoder is None:
                    yield None
                    return
                current = self._sync_of(encoder)
                current.refresh()
                if current.position != log_head(session) and attempt < ATTEMPTS - 1:
                    time.sleep(PAUSE)  # a writer is about to apply what it has committed
                    continue
                yield session, encoder, current
                if not self._archive.writer_lock.held and not current.is_unchanged():
                    raise ArchiveBusyError(
                        f"The vectors in Milvus at {self._server.uri} were changed meanwhile, or a writer was killed "
                        "while it changed them. Wait until nobody writes, and repeat; the next writer puts them right."
                    )
                return

    def save(self) -> None:
        """Bring the collections up to date. Needs the writer's lock."""
        self.sync()

    def prepare(self, encoder: EncoderRow) -> None:
        """Build the collection of the encoder that gets a role next, so that no search waits for it. Needs the
        writer's lock."""
        upcoming = self._milvus_sync(encoder, notes=[])  # that there was none yet needs no note
        with self._catalog.reading(anew=True) as session:
            upcoming.follow(session)

    def discard(self, encoder: EncoderRow) -> None:
        """Drop the collection of an encoder whose vectors are dropped. Needs the writer's lock."""
        self._syncs.pop(encoder.id, None)
        self._milvus_sync(encoder, notes=[]).discard()

    def close(self) -> None:
        """Close the connection. The next call opens it again."""
        self._syncs.clear()
        self._server.close()

    def _may_write(self, stack: contextlib.ExitStack) -> bool:
        """Whether nobody else applies the log meanwhile."""
        if self._catalog.read_only:
            return False
        try:
            stack.enter_context(self._archive.writer_lock.hold())
        except ArchiveBusyError:
            return False
        return True

    def _sync_of(self, encoder: EncoderRow) -> MilvusSync:
        if encoder.id not in self._syncs:
            self._syncs[encoder.id] = self._milvus_sync(encoder, notes=self.notes)
        return self._syncs[encoder.id]

    def _milvus_sync(self, encoder: EncoderRow, *, notes: list[str]) -> MilvusSync:
        identity = IndexIdentity(self._archive.uuid, encoder.fingerprint, encoder.dim)
        return MilvusSync(self._server, identity, encoder.id, notes)


MILVUS = VectorEngine(
    name="Milvus",
    accepts=is_milvus_address,
    open=lambda archive, address: MilvusSearch(archive, MilvusServer(address, archive.folder)),
    address_form="http://HOST:19530 (or https://…), or a file of milvus-lite, NAME.db",
    login_variable=TOKEN,
)
