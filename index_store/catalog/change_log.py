"""The change log in SQL: written with every change of an embedding, read by an index to catch up."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

import numpy as np
from sqlalchemy import bindparam, func, insert, select
from sqlalchemy.orm import Session

from index_store.catalog.catalog import once
from index_store.catalog.models import REMOVED, ChangeRow, EmbeddingRow, ImageRow
from index_store.errors import StorageError
from index_store.vectors import Ids, LogPosition, Vectors

VECTOR_TYPE = np.dtype("<f4")
"""The type of stored vectors: little-endian float32 on every machine."""

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


_CHANGES = ChangeRow.__table__.c
_HEAD = select(_CHANGES.sequence, _CHANGES.token).order_by(_CHANGES.sequence.desc()).limit(1)


def log_head(session: Session) -> LogPosition:
    """The position of the last entry of the log."""
    row = once(session, "log_head", lambda: session.execute(_HEAD).first())
    return LogPosition(*row) if row else LogPosition()


def is_of_this_log(session: Session, position: LogPosition) -> bool:
    """Whether the log has this entry: an index at another position followed the log of another database."""
    if position == LogPosition():
        return True
    token = session.scalar(select(ChangeRow.token).where(ChangeRow.sequence == position.sequence))
    return token == position.token


def removed_since(session: Session, position: LogPosition) -> bool:
    """Whether an image was removed since a position of this log, or a label or report of one was changed."""
    later = select(ChangeRow.sequence).where(ChangeRow.sequence > position.sequence, ChangeRow.operation == REMOVED)
    return session.scalar(later.limit(1)) is not None


def changed_cases(session: Session, position: LogPosition) -> Ids | None:
    """int64[n], ascending: the cases with an image that the log names since a position; cases that are gone are not
    among them. None where the position is not of this log."""
    if not is_of_this_log(session, position):
        return None
    changed = select(ChangeRow.image_id).where(ChangeRow.sequence > position.sequence)
    query = select(ImageRow.case_id).where(ImageRow.id.in_(changed)).distinct().order_by(ImageRow.case_id)
    return np.array(session.scalars(query).all(), dtype=np.int64)


def stored_count(session: Session, encoder_id: int) -> int:
    """Number of vectors stored for an encoder."""
    query = select(func.count()).select_from(EmbeddingRow).where(EmbeddingRow.encoder_id == encoder_id)
    return session.scalar(query) or 0


_EMBEDDINGS = EmbeddingRow.__table__.c
_VECTORS = (
    select(_EMBEDDINGS.image_id, _EMBEDDINGS.vector)
    .where(
        _EMBEDDINGS.encoder_id == bindparam("encoder"), _EMBEDDINGS.image_id.in_(bindparam("images", expanding=True))
    )
    .order_by(_EMBEDDINGS.image_id)
)


def stored_vectors(session: Session, encoder_id: int, image_ids: Ids, dim: int) -> tuple[Ids, Vectors]:
    """The stored vectors of these images, as ids, int64[n], ascending, and vectors, float32[n, dim]; images without a
    vector are left out.

    Raises:
        StorageError: a stored vector does not have `dim` values.
    """
    found: list[tuple[int, bytes]] = []
    for start in range(0, len(image_ids), CHUNK):
        wanted = [int(i) for i in image_ids[start : start + CHUNK]]
        found += session.execute(_VECTORS, {"encoder": encoder_id, "images": wanted})
    return vectors_from_rows(found, dim)


def vectors_from_rows(rows: Iterable[tuple[int, bytes]], dim: int) -> tuple[Ids, Vectors]:
    """Rows of (id, stored vector) as arrays: int64[n] and float32[n, dim].

    Raises:
        StorageError: a stored vector does not have `dim` dimensions.
    """
    pairs = list(rows)
    ids = np.array([image_id for image_id, _ in pairs], dtype=np.int64)
    damaged = [image_id for image_id, vector in pairs if len(vector) != dim * VECTOR_TYPE.itemsize]
    if damaged:
        raise StorageError(
            f"The stored vector of image {damaged[0]} is damaged, {len(damaged)} in all. Run `coin doctor --repair`, "
            "then `coin reembed`."
        )
    data = np.frombuffer(b"".join(vector for _, vector in pairs), dtype=VECTOR_TYPE)
    return ids, data.reshape(len(pairs), dim).astype(np.float32, copy=False)
