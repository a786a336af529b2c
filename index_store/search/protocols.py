"""What an archive needs of a vector engine, whether it runs within the process or on a server.

An engine is a `VectorEngine` in a module of its own, listed in `index_store/vector_engines.py`. It opens a
`VectorSearch` for an archive, which keeps a `SyncedIndex` for each encoder in step with the catalog's change log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy.orm import Session

from index_store.archive_status import IndexStatus
from index_store.catalog.catalog import Catalog
from index_store.catalog.databases.database import Lock
from index_store.catalog.filters import CaseFilter
from index_store.catalog.models import EncoderRow
from index_store.files.image_store import ImageStore
from index_store.records import IMAGE, Hit, Role
from index_store.search.image_table_sync import ImageTableSync
from index_store.vectors import LogPosition, VectorIndex

REBUILT_NOTE = "The vector index was rebuilt"
"""What the note on a rebuild begins with, whichever engine rebuilt it."""


class SyncedIndex(Protocol):
    """The vector index of one encoder, kept in step with the change log."""

    position: LogPosition
    """The last entry of the log that the index has applied."""

    @property
    def count(self) -> int:
        """Number of vectors in it."""

    @property
    def index(self) -> VectorIndex:
        """The index itself; it exists where `count` is not 0."""

    def rebuild(self, session: Session, reason: str) -> None:
        """Build it anew from the stored vectors, and note the reason."""

    def verify(self, session: Session) -> None:
        """Compare what this process reads of files with its checksums, all of it; build anew what is damaged."""

    def status(self) -> IndexStatus | None:
        """Mode, recall and memory of an index that this process holds; None where a server holds it."""


class VectorSearch(Protocol):
    """Searches one archive by the indexes of the encoders that have a role in it: one or two."""

    notes: list[str]
    """What happened to the index since the archive was opened, as sentences for the user."""

    def search(self, vectors: object, k: int, *, where: CaseFilter | None, fingerprint: str) -> list[list[Hit]]:
        """See `Archive.search`."""

    def sync(self) -> Mapping[Role, SyncedIndex]:
        """Apply the log up to its end to the index of each role's encoder: twice the same where one encoder has both
        roles, empty where the archive has no encoder yet."""

    def synced(self, role: Role = IMAGE) -> AbstractContextManager[tuple[Session, EncoderRow, SyncedIndex] | None]:
        """The index of the role's encoder at the end of the log, with a session that reads the same state. None where
        the archive has no encoder yet."""

    def save(self) -> None:
        """Leave the indexes up to date for the next process. Needs the writer's lock."""

    def prepare(self, encoder: EncoderRow) -> None:
        """Build the index of the encoder that gets a role next, so that no search waits for it. Needs the writer's
        lock."""

    def discard(self, encoder: EncoderRow) -> None:
        """Delete the index of an encoder whose vectors are dropped. Needs the writer's lock."""

    def close(self) -> None:
        """Release memory and connections. The next call takes them up again."""


@dataclass(frozen=True)
class ArchiveParts:
    """The parts of an open archive that a vector search works with."""

    folder: Path
    uuid: str
    catalog: Catalog
    images: ImageStore
    writer_lock: Lock
    labels: ImageTableSync


@dataclass(frozen=True)
class VectorEngine:
    """One way to keep and search vectors, as the registry lists it."""

    name: str
    accepts: Callable[[str], bool]
    """Whether an address, the descriptor's `vectors`, belongs to this engine."""
    open: Callable[[ArchiveParts, str], VectorSearch]
    """The search of an archive whose vectors are at this address. Connects when first used, not before."""
    address_form: str = ""
    """What its addresses look like, for a message. Empty where it needs none."""
    login_variable: str = ""
    """The environment variable that holds the login, which is never part of the address."""
