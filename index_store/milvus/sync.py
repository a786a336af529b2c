"""Keeps a collection in Milvus in step with the change log, and searches it as of one position in the log.

One writer applies the log to it, and readers on any host search it, each for the state of the catalog that its
transaction reads. Changes that the collection may or may not hold are ranked from the stored vectors instead:

    applied: up to low │ perhaps applied: low … high │ not applied: high … the reader's head
    searched in Milvus │ excluded there, and ranked from the stored vectors

Where the writer is beyond the reader's head, the reader searches again in a new transaction: a result has one state.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from index_store.catalog.case_reader import CHUNK, CaseReader
from index_store.catalog.catalog import has_scale
from index_store.catalog.change_log import is_of_this_log, log_head, stored_count, stored_vectors
from index_store.catalog.filters import CaseFilter, conditions
from index_store.catalog.models import REMOVED, ChangeRow, EmbeddingRow, ImageRow
from index_store.errors import IndexDriftError, StorageError
from index_store.index.storage import MISSING
from index_store.milvus.collection import MilvusIndex, TooManyError, ranked
from index_store.milvus.connection import MilvusServer
from index_store.milvus.filter_fields import filter_expression, filter_fields
from index_store.milvus.sync_position import SyncPosition, SyncPositions
from index_store.search.protocols import REBUILT_NOTE
from index_store.vectors import Ids, IndexIdentity, LogPosition, Vectors

OTHER_LOG = "the records are not those it had followed (restored from a backup?)"
Ranking = list[tuple[int, float]]
MAX_EXCLUDED = 100_000
"""Ids that a search excludes by name: 1 MB of expression."""
LAYOUT = "m"  # begins the last part of a collection's name since it has the field `mpp`; before, that was hexadecimal
MAX_FROM_RECORDS = 1_000_000
"""Vectors that a search reads from the records before it gives up: at 512 dimensions 2 GB."""


class MilvusSync:
    """The collection of one encoder. Searching is safe from many threads; `follow` and `rebuild` need the writer's
    lock."""

    def __init__(self, server: MilvusServer, identity: IndexIdentity, encoder_id: int, notes: list[str]) -> None:
        """`notes`: to which what happens to the collection is added, as sentences."""
        self.position = LogPosition()
        self.count = 0
        self.positions = SyncPositions(server, identity.archive)
        """The sync positions of the archive's collections."""
        self._server = server
        self._encoder_id = encoder_id
        self._dim = identity.dim
        self._notes = notes
        self._refreshed: SyncPosition | None = None
        self._collection: MilvusIndex | None = None
        self._loaded: set[str] = set()
        self._counted: SyncPosition | None = None

    def refresh(self) -> None:
        """Read how far the collection has applied the log, and how many vectors it holds."""
        self._refreshed = synced = self.positions.read(self._encoder_id)
        if synced is None or not self._exists(synced):
            self.position, self.count, self._collection = LogPosition(), 0, None
            return
        self._collection = self._index(synced)
        self.position, self.count = synced.low, self._collection.count

    def foreign(self, session: Session) -> str:
        """What to note where the collection, as `refresh` saw it, followed another log than that of the records; else
        the empty string. It counts as not filled then: searches do not use it."""
        if is_of_this_log(session, self.position):
            return ""
        self.position, self.count = LogPosition(), 0
        return (
            f"The collection in Milvus at {self._server.uri} is not used: {OTHER_LOG}. The next command that writes, "
            "or `coin doctor --repair`, makes it anew; until then the records answer, more slowly."
        )

    @property
    def index(self) -> MilvusIndex:
        """The collection as of the last `refresh`. It exists where `count` is not 0."""
        assert self._collection is not None
        return self._collection

    def verify(self, session: Session) -> None:
        """Nothing is read of files."""

    def status(self) -> None:
        """None: the server holds the index, and this process does not measure it."""

    def is_unchanged(self) -> bool:
        """Whether the collection is where `refresh` saw it, and nobody was changing it then."""
        before = self._refreshed
        return self.positions.read(self._encoder_id) == before and (before is None or before.low == before.high)

    def follow(self, session: Session) -> None:
        """Apply what the log, as `session` sees it, holds beyond the collection's position."""
        head = log_head(session)
        synced = self.positions.read(self._encoder_id)
        if synced is None:
            self.rebuild(session, "" if head == LogPosition() else MISSING)
        elif not self._exists(synced):
            self.rebuild(session, MISSING)
        elif not is_of_this_log(session, synced.low):
            self.rebuild(session, OTHER_LOG)
        elif not self._has_scale(synced):
            self.rebuild(session, "it lacked the scale of images")
        elif synced.low != head or synced.high != head:
            self._apply(session, synced, head)
        self.refresh()
        if self.count != stored_count(session, self._encoder_id):
            self.rebuild(session, "its number of vectors did not match")
            self.refresh()

    def rebuild(self, session: Session, reason: str) -> None:
        """Fill a new collection with the stored vectors, beside the one that is searched, and put it in its place. Note
        the reason, if any."""
        if reason:
            self._notes.append(f"{REBUILT_NOTE} from the archive's records: {reason}.")
        head = log_head(session)
        index = MilvusIndex.create(self._server, f"{self._name_prefix}{LAYOUT}{secrets.token_hex(4)}", self._dim)
        for ids in self._stored_ids(session):
            self._add(session, index, ids, head)
        self.positions.write(self._encoder_id, SyncPosition(index.collection, head, head))
        self._drop_all_but(index.collection)
        self.refresh()

    def discard(self) -> None:
        """Delete the collection and its sync position."""
        self.positions.forget(self._encoder_id)
        self._drop_all_but("")
        self.refresh()

    def search(
        self, session: Session, reader: CaseReader, queries: Vectors, k: int, where: CaseFilter | None, *, last: bool
    ) -> list[Ranking] | None:
        """The k best permitted images of each query, as `session` sees the archive.

        Args:
            queries: float32[n, dim], rows of unit length.
            last: rank from the records, rather than return None.

        Returns:
            None where the collection holds a newer state already: repeat with a new transaction.

        Raises:
            IndexDriftError: the collection holds images that it should not, or lacks so many that a writer is needed.
            StorageError: the server does not answer.
        """
        head = log_head(session)
        synced = self.positions.read(self._encoder_id)
        ahead = synced is not None and synced.high.sequence > head.sequence
        if ahead and not last:
            return None
        if synced is None or ahead or not is_of_this_log(session, synced.low):
            return self._from_records(session, queries, k, where)
        changed, removed = self._changes_since(session, synced.low)
        if len(removed) > MAX_EXCLUDED or (where is not None and where.mpp and not self._has_scale(synced)):
            return self._from_records(session, queries, k, where)
        expressions = [filter_expression(session, where)]
        if changed.size:
            expressions.append(f"sequence <= {synced.low.sequence}")
        if removed.size:
            expressions.append(f"image_id not in {removed.tolist()}")
        complete = True
        candidates: list[Ids] = []
        try:
            index = self._index(synced)
            candidates = index.candidates(queries, k, " and ".join(filter(None, expressions)))
            if synced.low == synced.high == head and synced != self._counted:
                complete = index.count == stored_count(session, self._encoder_id)
        except TooManyError:
            return self._from_records(session, queries, k, where)
        except StorageError:
            if self._exists(synced):
                raise
            complete = False  # rebuilt meanwhile, or lost
        after = self.positions.read(self._encoder_id)
        moved = after is None or after.collection != synced.collection or after.high.sequence > head.sequence
        if moved and not last:
            return None
        if moved or not complete:
            return self._from_records(session, queries, k, where)
        self._counted = synced
        self._refuse_strays(reader, candidates, where)
        newer = self._nearest(session, queries, k, _permitted(reader, changed.tolist(), where))
        return [
            self._ranked(session, query, np.union1d(ids, more), k)
            for query, ids, more in zip(queries, candidates, newer, strict=True)
        ]

    def _apply(self, session: Session, synced: SyncPosition, head: LogPosition) -> None:
        """Write each image that changed as it is now. Doing so twice does no harm."""
        self.positions.write(self._encoder_id, SyncPosition(synced.collection, synced.low, head))
        index = self._index(synced)
        changed, _ = self._changes_since(session, synced.low)
        index.remove(changed)
        for start in range(0, len(changed), CHUNK):
            self._add(session, index, changed[start : start + CHUNK], head)
        self.positions.write(self._encoder_id, SyncPosition(synced.collection, head, head))

    def _add(self, session: Session, index: MilvusIndex, image_ids: Ids, head: LogPosition) -> None:
        ids, vectors = stored_vectors(session, self._encoder_id, image_ids, self._dim)
        fields = filter_fields(session, ids)
        index.add(ids, vectors, fields=[fields[i] for i in ids.tolist()], sequence=head.sequence)

    @property
    def _name_prefix(self) -> str:
        """What the names of this encoder's collections begin with."""
        return f"{self.positions.prefix}_{self._encoder_id}_"

    def _drop_all_but(self, collection: str) -> None:
        with self._server.explained():
            for name in self._server.client.list_collections():
                if name.startswith(self._name_prefix) and name != collection:
                    self._server.client.drop_collection(name)

    def _index(self, synced: SyncPosition) -> MilvusIndex:
        if synced.collection not in self._loaded:
            with self._server.explained():
                self._server.client.load_collection(synced.collection)
            self._loaded.add(synced.collection)
        return MilvusIndex(self._server, synced.collection, self._dim)

    def _has_scale(self, synced: SyncPosition) -> bool:
        return synced.collection.startswith(f"{self._name_prefix}{LAYOUT}")

    def _exists(self, synced: SyncPosition) -> bool:
        with self._server.explained():
            return bool(self._server.client.has_collection(synced.collection))

    def _changes_since(self, session: Session, position: LogPosition) -> tuple[Ids, Ids]:
        """Images with an entry in the log after `position`, ascending, and those of them with a removal: the collection
        may hold them as they were."""
        query = select(ChangeRow.image_id).where(
            ChangeRow.encoder_id == self._encoder_id, ChangeRow.sequence > position.sequence
        )
        changed = session.scalars(query.distinct()).all()
        removed = session.scalars(query.where(ChangeRow.operation == REMOVED).distinct()).all()
        return np.array(sorted(changed), dtype=np.int64), np.array(sorted(removed), dtype=np.int64)

    def _refuse_strays(self, reader: CaseReader, candidates: list[Ids], where: CaseFilter | None) -> None:
        """Check every candidate and not only the k best: one that should not be there has displaced another."""
        ids = {int(image_id) for ids in candidates for image_id in ids}
        strays = ids - _permitted(reader, ids, where)
        if strays:
            raise IndexDriftError(
                f"The vectors in Milvus at {self._server.uri} hold {len(strays)} images that the records do not "
                f"permit; no answer was given. Drop the collections {self.positions.prefix}_… there, open the archive "
                "once for writing (they are rebuilt), and report this."
            )

    def _ranked(self, session: Session, query: Vectors, ids: Ids, k: int) -> Ranking:
        return ranked(query, *stored_vectors(session, self._encoder_id, ids, self._dim), k)

    def _from_records(self, session: Session, queries: Vectors, k: int, where: CaseFilter | None) -> list[Ranking]:
        """The search without Milvus: exact, and slow."""
        note = "The vectors in Milvus could not be used for every search; the records answered in their place."
        if note not in self._notes:
            self._notes.append(note)
        query = select(ImageRow.id).where(*conditions(where or CaseFilter(), scaled=has_scale(session)))
        nearest = self._nearest(session, queries, k, set(session.scalars(query)))
        return [self._ranked(session, query_, ids, k) for query_, ids in zip(queries, nearest, strict=True)]

    def _nearest(self, session: Session, queries: Vectors, k: int, image_ids: set[int]) -> list[Ids]:
        """For each query the ids of the k best of these images, from the stored vectors."""
        if len(image_ids) > MAX_FROM_RECORDS:
            raise IndexDriftError(
                f"The vectors in Milvus at {self._server.uri} lack {len(image_ids)} images of this search. Open the "
                "archive once for writing: they are brought up to date, or rebuilt."
            )
        best: list[Ranking] = [[] for _ in queries]
        wanted = np.array(sorted(image_ids), dtype=np.int64)
        for start in range(0, len(wanted), CHUNK):
            ids, vectors = stored_vectors(session, self._encoder_id, wanted[start : start + CHUNK], self._dim)
            for i, query in enumerate(queries):
                best[i] = sorted([*best[i], *ranked(query, ids, vectors, k)], key=lambda hit: (-hit[1], hit[0]))[:k]
        return [np.array([image_id for image_id, _ in ranking], dtype=np.int64) for ranking in best]

    def _stored_ids(self, session: Session) -> Iterator[Ids]:
        last = -1
        while True:
            query = select(EmbeddingRow.image_id).where(
                EmbeddingRow.encoder_id == self._encoder_id, EmbeddingRow.image_id > last
            )
            ids = session.scalars(query.order_by(EmbeddingRow.image_id).limit(CHUNK)).all()
            if not ids:
                return
            last = ids[-1]
            yield np.array(ids, dtype=np.int64)


def _permitted(reader: CaseReader, image_ids: Iterable[int], where: CaseFilter | None) -> set[int]:
    """Those of the images that the catalog has and `where` permits."""
    confirmed = reader.confirmed(image_ids, where)
    return confirmed - set(reader.excluded(where).tolist()) if where is not None and where.excludes else confirmed
