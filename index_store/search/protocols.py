"""What an archive asks of its vector search, whether it is within the process or on a server."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy.orm import Session

from index_store.catalog.filters import CaseFilter
from index_store.catalog.models import EncoderRow
from index_store.records import Hit
from index_store.vectors import LogPosition, VectorIndex


class Followed(Protocol):
    """A vector index that follows the change log."""

    position: LogPosition
    """Where in the log it stands."""

    @property
    def count(self) -> int:
        """Vectors in it."""

    @property
    def index(self) -> VectorIndex:
        """The index itself; there is one where `count` is not 0."""

    def rebuild(self, session: Session, reason: str) -> None:
        """Begin anew from the stored vectors, and note why."""


class Search(Protocol):
    """The index of the encoder that answers: within the process (`IndexedSearch`), or shared (`SharedSearch`)."""

    notes: list[str]
    """What happened to the index since opening, in words."""

    def search(self, vectors: object, k: int, *, where: CaseFilter | None, fingerprint: str) -> list[list[Hit]]: ...

    def follow(self) -> Followed | None:
        """Bring the index up to the log's end; None where there is no encoder yet."""

    def held(self) -> AbstractContextManager[tuple[Session, EncoderRow, Followed] | None]:
        """The index at the log's end, with a session that sees the same state; None where there is no encoder yet."""

    def save(self) -> None:
        """Leave the index up to date for whoever comes next. Needs the writer's lock."""

    def prepare(self, encoder: EncoderRow) -> None:
        """Build the index of an encoder that is to answer next, so that no search waits for it. Needs the writer's
        lock."""

    def discard(self, encoder: EncoderRow) -> None:
        """Delete the index of an encoder whose vectors were dropped. Needs the writer's lock."""

    def close(self) -> None:
        """Let go of memory and connections; the next call takes them up again."""
