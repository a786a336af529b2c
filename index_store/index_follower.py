"""Keeps a vector index in step with the change log.

The index is a function of the log: at position p it holds exactly the vectors whose last change up to p is an addition.
Whatever does not fit (file missing or damaged, a log that is not the one the index followed, a count that is off) is
answered by rebuilding from SQL, and said in `notes`.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from .errors import IndexDriftError
from .faiss_index import FaissIndex
from .index_file import IndexFile, IndexFileProblem, IndexIdentity, LogPosition
from .models import ADDED, REMOVED, ChangeRow, EmbeddingRow
from .vector_index import Ids, Vectors

VECTOR_TYPE = np.dtype("<f4")
"""How a vector is stored: little-endian float32 on every machine."""
CHUNK = 10_000
"""Rows fetched at a time (at 512 dimensions 20 MB); also below SQLite's limit of bound values."""


def log_changes(session: Session, encoder_id: int, image_ids: Iterable[int], operation: str) -> None:
    """Write to the change log, in the transaction of the change itself."""
    rows = [
        {"encoder_id": encoder_id, "image_id": image_id, "operation": operation, "token": secrets.randbits(62)}
        for image_id in image_ids
    ]
    if rows:
        session.execute(insert(ChangeRow), rows)


def log_head(session: Session) -> LogPosition:
    """The last entry of the log."""
    row = session.execute(
        select(ChangeRow.sequence, ChangeRow.token).order_by(ChangeRow.sequence.desc()).limit(1)
    ).first()
    return LogPosition(*row) if row else LogPosition()


def stored_vectors(session: Session, encoder_id: int, image_ids: Ids, dim: int) -> tuple[Ids, Vectors]:
    """The vectors stored for these images, in order of id; images without one are left out."""
    found: list[tuple[int, bytes]] = []
    for start in range(0, len(image_ids), CHUNK):
        wanted = [int(i) for i in image_ids[start : start + CHUNK]]
        found += session.execute(
            select(EmbeddingRow.image_id, EmbeddingRow.vector)
            .where(EmbeddingRow.encoder_id == encoder_id, EmbeddingRow.image_id.in_(wanted))
            .order_by(EmbeddingRow.image_id)
        )
    return _arrays(found, dim)


class IndexFollower:
    """A FAISS index, the place in the log it stands at, and the way from there to the log's end.

    Not locked: `follow` needs exclusion, everything else may run side by side.
    """

    def __init__(self, folder: Path, identity: IndexIdentity, encoder_id: int, notes: list[str]) -> None:
        self.index = FaissIndex(identity.dim)
        self.position = LogPosition()
        self._file = IndexFile(folder, identity)
        self._encoder_id = encoder_id
        self._dim = identity.dim
        self._notes = notes
        self._saved: LogPosition | None = None

    def load(self, session: Session) -> None:
        """Begin with what was saved, and catch up."""
        try:
            self.index, self.position = self._file.read()
            self._saved = self.position
        except IndexFileProblem as problem:
            if log_head(session) != LogPosition():
                self.rebuild(session, str(problem))
            return
        self.follow(session)

    def is_current(self, session: Session) -> bool:
        return self.position == log_head(session)

    def follow(self, session: Session) -> None:
        """Apply what the log holds beyond our position, as `session` sees it."""
        head = log_head(session)
        if self.position != head:
            if not self._knows_this_log(session):
                self.rebuild(session, "the records are not those it had followed (restored from a backup?)")
                return
            self._apply_changes(session)
            self.position = head
        if self.index.count != self._stored_count(session):
            self.rebuild(session, "its number of vectors did not match")

    def rebuild(self, session: Session, reason: str) -> None:
        """Begin anew from the stored vectors."""
        self._notes.append(f"The vector index was rebuilt from the archive's records: {reason}.")
        self.index = FaissIndex(self._dim)
        for ids, vectors in self._all_vectors(session):
            self.index.add(ids, vectors)
        self.position = log_head(session)
        self._saved = None
        if self.index.count != self._stored_count(session):
            raise IndexDriftError("The index does not match the records even when rebuilt. Report this.")

    @property
    def count(self) -> int:
        """Vectors in the index."""
        return self.index.count

    @property
    def is_worth_saving(self) -> bool:
        """Whether the next opening would have to do over again what this one did."""
        return self.position not in (self._saved, LogPosition())

    def save(self) -> None:
        """Write the index file, unless it is up to date. Failing is no loss, and is noted: the log is the truth."""
        if self._saved == self.position:
            return
        try:
            self._file.write(self.index, self.position)
            self._saved = self.position
        except OSError as error:
            self._notes.append(
                f"The vector index could not be saved ({error.strerror}); it will be brought up to date when the "
                "archive is opened next."
            )

    def _knows_this_log(self, session: Session) -> bool:
        if self.position == LogPosition():
            return True
        token = session.scalar(select(ChangeRow.token).where(ChangeRow.sequence == self.position.sequence))
        return token == self.position.token

    def _apply_changes(self, session: Session) -> None:
        changes = session.execute(
            select(ChangeRow.image_id, ChangeRow.operation)
            .where(ChangeRow.encoder_id == self._encoder_id, ChangeRow.sequence > self.position.sequence)
            .order_by(ChangeRow.sequence)
        )
        removed: set[int] = set()
        last: dict[int, str] = {}
        for image_id, operation in changes:
            last[image_id] = operation
            if operation == REMOVED:
                removed.add(image_id)
        if removed:
            self.index.remove(np.array(sorted(removed), dtype=np.int64))
        added = np.array(sorted(i for i, operation in last.items() if operation == ADDED), dtype=np.int64)
        for start in range(0, len(added), CHUNK):
            part = added[start : start + CHUNK]
            self.index.add(*stored_vectors(session, self._encoder_id, part, self._dim))

    def _stored_count(self, session: Session) -> int:
        query = select(func.count()).select_from(EmbeddingRow).where(EmbeddingRow.encoder_id == self._encoder_id)
        return session.scalar(query) or 0

    def _all_vectors(self, session: Session) -> Iterator[tuple[Ids, Vectors]]:
        rows = session.execute(
            select(EmbeddingRow.image_id, EmbeddingRow.vector)
            .where(EmbeddingRow.encoder_id == self._encoder_id)
            .order_by(EmbeddingRow.image_id)
            .execution_options(yield_per=CHUNK)
        )
        for part in rows.partitions():
            yield _arrays(part, self._dim)


def _arrays(rows: Iterable[tuple[int, bytes]], dim: int) -> tuple[Ids, Vectors]:
    pairs = list(rows)
    ids = np.array([image_id for image_id, _ in pairs], dtype=np.int64)
    data = np.frombuffer(b"".join(vector for _, vector in pairs), dtype=VECTOR_TYPE)
    return ids, data.reshape(len(pairs), dim).astype(np.float32, copy=False)
