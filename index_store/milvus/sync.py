"""Keeps a collection in Milvus in step with the change log, and answers from it as of one place in the log.

The collection is shared: one writer applies the log to it, and readers on any host search it, each for the state of the
catalog that its transaction sees. What the collection lacks of that state (the writer is at work, or was killed) a
reader takes from the records, and what it may hold beyond is left out of the search:

    written up to low │ perhaps written: low … high │ not written: high … the reader's head
    searched in Milvus│ left out there, and ranked from the stored vectors

Where the collection has begun to hold what lies beyond the reader's head, the reader looks again with a new
transaction. So an answer belongs to one state of the archive, whatever a writer does meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from index_store.catalog.case_reader import CHUNK, CaseReader
from index_store.catalog.change_log import log_head, stored_vectors
from index_store.catalog.filters import CaseFilter, conditions
from index_store.catalog.models import REMOVED, ChangeRow, EmbeddingRow, ImageRow
from index_store.errors import IndexDriftError, StorageError
from index_store.index.storage import IndexIdentity
from index_store.milvus.collection import MilvusIndex, TooManyError, ranked
from index_store.milvus.connection import MilvusServer
from index_store.milvus.filter_fields import filed_images, filter_expression
from index_store.milvus.sync_position import Standing, Standings
from index_store.search.index_sync import REBUILT_NOTE
from index_store.vectors import Ids, LogPosition, Vectors

Ranking = list[tuple[int, float]]

MOST_LEFT_OUT = 100_000
"""Ids that a search names as left out: 1 MB of expression."""
MOST_FROM_RECORDS = 1_000_000
"""Vectors that a search reads from the records before it gives up: at 512 dimensions 2 GB."""


class MilvusFollower:
    """The collection of one encoder. Reading is safe from many threads; `follow` needs the writer's lock."""

    def __init__(self, server: MilvusServer, identity: IndexIdentity, encoder_id: int, notes: list[str]) -> None:
        self.position = LogPosition()
        self.count = 0
        self._server = server
        self._standings = Standings(server, identity.archive)
        self._encoder_id = encoder_id
        self._dim = identity.dim
        self._notes = notes
        self._seen: Standing | None = None
        self._found: MilvusIndex | None = None
        self._loaded: set[str] = set()
        self._counted: Standing | None = None

    def look(self) -> None:
        """Learn where the collection stands, and how many vectors it holds."""
        self._seen = standing = self._standings.read(self._encoder_id)
        if standing is None or not self._is_there(standing):
            self.position, self.count, self._found = LogPosition(), 0, None
            return
        self._found = self._index(standing)
        self.position, self.count = standing.low, self._found.count

    @property
    def index(self) -> MilvusIndex:
        """The collection that `look` has found. There is one where `count` is not 0."""
        assert self._found is not None
        return self._found

    def is_unmoved(self) -> bool:
        """Whether the collection still stands where `look` found it, and nobody was changing it then."""
        seen = self._seen
        return self._standings.read(self._encoder_id) == seen and (seen is None or seen.low == seen.high)

    def follow(self, session: Session) -> None:
        """Apply what the log holds beyond the collection's place, as `session` sees it."""
        head = log_head(session)
        standing = self._standings.read(self._encoder_id)
        if standing is None:
            self.rebuild(session, "" if head == LogPosition() else "it was missing")
        elif not self._is_there(standing):
            self.rebuild(session, "it was missing")
        elif not self._knows_this_log(session, standing.low):
            self.rebuild(session, "the records are not those it had followed (restored from a backup?)")
        elif standing.low != head or standing.high != head:
            self._apply(session, standing, head)
        self.look()
        if self.count != self._stored_count(session):
            self.rebuild(session, "its number of vectors did not match")
            self.look()

    def rebuild(self, session: Session, reason: str) -> None:
        """Begin anew from the stored vectors, beside the collection that answers, and put it in its place."""
        if reason:
            self._notes.append(f"{REBUILT_NOTE} from the archive's records: {reason}.")
        head = log_head(session)
        index = MilvusIndex.create(self._server, f"{self._family}{secrets.token_hex(4)}", self._dim)
        for ids in self._stored_ids(session):
            self._add(session, index, ids, head)
        self._standings.write(self._encoder_id, Standing(index.collection, head, head))
        self._drop_all_but(index.collection)
        self.look()

    def discard(self) -> None:
        """Delete the collection, and what says where it stood."""
        self._standings.forget(self._encoder_id)
        self._drop_all_but("")
        self.look()

    def search(
        self, session: Session, reader: CaseReader, queries: Vectors, k: int, where: CaseFilter | None, *, last: bool
    ) -> list[Ranking] | None:
        """For each query the k best permitted images as `session` sees the archive; None where the collection holds a
        newer state already, so that another transaction is needed. `last`: answer from the records then.

        Raises:
            IndexDriftError: the collection holds what it should not, or lacks so much that only a writer can help.
            StorageError: the server does not answer.
        """
        head = log_head(session)
        standing = self._standings.read(self._encoder_id)
        ahead = standing is not None and standing.high.sequence > head.sequence
        if ahead and not last:
            return None
        if standing is None or ahead or not self._knows_this_log(session, standing.low):
            return self._from_records(session, queries, k, where)
        touched, gone = self._changes_since(session, standing.low)
        if len(gone) > MOST_LEFT_OUT:
            return self._from_records(session, queries, k, where)
        conditions = [filter_expression(session, where)]
        if touched.size:
            conditions.append(f"sequence <= {standing.low.sequence}")
        if gone.size:
            conditions.append(f"image_id not in {gone.tolist()}")
        whole = True
        try:
            index = self._index(standing)
            found = index.candidates(queries, k, " and ".join(filter(None, conditions)))
            if standing.low == standing.high == head and standing != self._counted:
                whole = index.count == self._stored_count(session)
        except TooManyError:
            return self._from_records(session, queries, k, where)
        except StorageError:
            if self._is_there(standing):
                raise
            whole = False  # rebuilt meanwhile, or lost
        after = self._standings.read(self._encoder_id)
        moved = after is None or after.collection != standing.collection or after.high.sequence > head.sequence
        if moved and not last:
            return None
        if moved or not whole:
            return self._from_records(session, queries, k, where)
        self._counted = standing
        self._refuse_strays(reader, found, where)
        newer = self._nearest(session, queries, k, _permitted(reader, touched.tolist(), where))
        return [
            self._ranked(session, query, np.union1d(ids, more), k)
            for query, ids, more in zip(queries, found, newer, strict=True)
        ]

    def _apply(self, session: Session, standing: Standing, head: LogPosition) -> None:
        """Of each image that was touched, write what there is of it now. Doing it twice does no harm."""
        self._standings.write(self._encoder_id, Standing(standing.collection, standing.low, head))
        index = self._index(standing)
        touched, _ = self._changes_since(session, standing.low)
        index.remove(touched)
        for start in range(0, len(touched), CHUNK):
            self._add(session, index, touched[start : start + CHUNK], head)
        self._standings.write(self._encoder_id, Standing(standing.collection, head, head))

    def _add(self, session: Session, index: MilvusIndex, image_ids: Ids, head: LogPosition) -> None:
        ids, vectors = stored_vectors(session, self._encoder_id, image_ids, self._dim)
        filed = filed_images(session, ids)
        index.add(ids, vectors, filed=[filed[i] for i in ids.tolist()], sequence=head.sequence)

    @property
    def _family(self) -> str:
        """What the names of this encoder's collections begin with."""
        return f"{self._standings.prefix}_{self._encoder_id}_"

    def _drop_all_but(self, collection: str) -> None:
        with self._server.explained():
            for name in self._server.client.list_collections():
                if name.startswith(self._family) and name != collection:
                    self._server.client.drop_collection(name)

    def _index(self, standing: Standing) -> MilvusIndex:
        if standing.collection not in self._loaded:
            with self._server.explained():
                self._server.client.load_collection(standing.collection)
            self._loaded.add(standing.collection)
        return MilvusIndex(self._server, standing.collection, self._dim)

    def _is_there(self, standing: Standing) -> bool:
        with self._server.explained():
            return bool(self._server.client.has_collection(standing.collection))

    def _knows_this_log(self, session: Session, position: LogPosition) -> bool:
        if position == LogPosition():
            return True
        token = session.scalar(select(ChangeRow.token).where(ChangeRow.sequence == position.sequence))
        return token == position.token

    def _changes_since(self, session: Session, position: LogPosition) -> tuple[Ids, Ids]:
        """Images that the log names after `position`, ascending; and those of them that may have been there before."""
        query = select(ChangeRow.image_id).where(
            ChangeRow.encoder_id == self._encoder_id, ChangeRow.sequence > position.sequence
        )
        touched = session.scalars(query.distinct()).all()
        gone = session.scalars(query.where(ChangeRow.operation == REMOVED).distinct()).all()
        return np.array(sorted(touched), dtype=np.int64), np.array(sorted(gone), dtype=np.int64)

    def _refuse_strays(self, reader: CaseReader, found: list[Ids], where: CaseFilter | None) -> None:
        """Every candidate is looked at and not only the best: one that should not be there has kept another one out."""
        ids = {int(image_id) for ids in found for image_id in ids}
        strays = ids - _permitted(reader, ids, where)
        if strays:
            raise IndexDriftError(
                f"The vectors in Milvus at {self._server.uri} hold {len(strays)} images that the records do not "
                f"permit; no answer was given. Drop the collections {self._standings.prefix}_… there, open the archive "
                "once for writing (they are rebuilt), and report this."
            )

    def _ranked(self, session: Session, query: Vectors, ids: Ids, k: int) -> Ranking:
        return ranked(query, *stored_vectors(session, self._encoder_id, ids, self._dim), k)

    def _from_records(self, session: Session, queries: Vectors, k: int, where: CaseFilter | None) -> list[Ranking]:
        """The answer without Milvus: exact, and slow."""
        note = "The vectors in Milvus could not be used for every search; the records answered in their place."
        if note not in self._notes:
            self._notes.append(note)
        query = select(ImageRow.id).where(*conditions(where or CaseFilter()))
        nearest = self._nearest(session, queries, k, set(session.scalars(query)))
        return [self._ranked(session, query_, ids, k) for query_, ids in zip(queries, nearest, strict=True)]

    def _nearest(self, session: Session, queries: Vectors, k: int, image_ids: set[int]) -> list[Ids]:
        """For each query the ids of the k best of these images, from the stored vectors."""
        if len(image_ids) > MOST_FROM_RECORDS:
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

    def _stored_count(self, session: Session) -> int:
        query = select(func.count()).select_from(EmbeddingRow).where(EmbeddingRow.encoder_id == self._encoder_id)
        return session.scalar(query) or 0

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
    """Those of the images that are there and that `where` permits."""
    confirmed = reader.confirmed(image_ids, where)
    return confirmed - set(reader.excluded(where).tolist()) if where is not None and where.excludes else confirmed
