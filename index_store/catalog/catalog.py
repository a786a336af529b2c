"""The catalog of an archive: transactions, schema version and revision, over a `Database`.

Each reading transaction sees one state of the archive from its beginning to its end, while others write. Writing
transactions come one after the other. Every commit is durable before it is acknowledged.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, event, select, update
from sqlalchemy.exc import DatabaseError, DataError
from sqlalchemy.orm import Session

from index_store.catalog.databases.database import Database, Lock
from index_store.catalog.databases.migrations import (
    COUNTS_VERSION,
    ROLES_VERSION,
    SCALE_VERSION,
    SLIDES_VERSION,
    apply_next,
    current_version,
    is_readable,
    refuse_newer,
    schema_version,
)
from index_store.catalog.models import ArchiveRow
from index_store.catalog.place import Place
from index_store.errors import ArchiveError, NotAnArchiveError, OutdatedArchiveError, StorageError

_UNSTORABLE = (
    "A name, key or value holds characters that no record can hold (NUL, or bytes that are no UTF-8). Give it in UTF-8."
)
T = TypeVar("T")
READS = "reads"
"""In `Session.info`: that the session only reads."""
HAS_ROLES = "has_roles"
"""In `Session.info`: whether the archive's row has the column `text_encoder_id`. True where it is not set."""
HAS_COUNTS = "has_counts"
"""Likewise whether it has the table of counts."""
HAS_SCALE = "has_scale"
"""The same of the columns `mpp` and `mpp_source` of images."""
HAS_SLIDES = "has_slides"
"""The same of the table of slides, and of the columns that name a place on one."""


class Catalog:
    """One database; safe to use from several threads."""

    def __init__(
        self, database: Database, *, read_only: bool = False, alone: bool = False, place: Place | None = None
    ) -> None:
        """`place`: looked at in each transaction, after its beginning, so that what it reads or writes belongs to the
        archive that was opened."""
        self.read_only = read_only or database.still
        self._database = database
        self._engine = database.engine(read_only=self.read_only, alone=alone)
        self._reader = self._engine.execution_options(**database.reading)
        self._writer = self._engine.execution_options(**database.writing)
        self._info = {READS: True, HAS_ROLES: True, HAS_SCALE: True, HAS_COUNTS: True, HAS_SLIDES: True}
        self._place = place
        self._view = threading.local()
        event.listen(self._engine, "begin", lambda _connection: self.check_place())

    @property
    def name(self) -> str:
        """The path of the database file, or a server's URL without a password."""
        return self._database.name

    def check_place(self) -> None:
        """Raise `ArchiveReplacedError` where the folder holds another archive than the one that was opened."""
        if self._place is not None:
            self._place.check()

    def writer_lock(self, folder: Path) -> Lock:
        """The writer's lock of the archive in `folder`."""
        return self._database.writer_lock(folder)

    @contextmanager
    def reading(self, *, anew: bool = False) -> Iterator[Session]:
        """A read transaction: one consistent view of the archive. Within `one_view` that one.

        `anew`: a transaction of its own, which sees what was committed before it.
        """
        shared: Session | None = None if anew else getattr(self._view, "session", None)
        with self._explained():
            if shared is not None:
                yield shared
            else:
                with Session(self._reader, info=dict(self._info)) as session:
                    yield session

    @contextmanager
    def one_view(self) -> Iterator[None]:
        """Within it, all that this thread reads is read in one transaction: begun once, and of one state."""
        if getattr(self._view, "session", None) is not None:
            yield
            return
        with self.reading() as session:
            self._view.session = session
            try:
                yield
            finally:
                self._view.session = None

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A write transaction: all of it is committed at the end, or nothing.

        Raises:
            StorageError: full disk, damaged or unreachable database; nothing of the transaction was stored.
        """
        with self._explained(), Session(self._writer) as session, session.begin():
            yield session

    @contextmanager
    def changing_schema(self) -> Iterator[Connection]:
        """Like `writing`, with a plain connection for schema changes."""
        with self._explained(), self._writer.begin() as connection:
            yield connection

    def version(self) -> int:
        """The schema version; 0 where the database holds no archive."""
        with self._explained(), self._reader.connect() as connection:
            return schema_version(connection)

    def migrate(self) -> None:
        """Bring the schema up to date, each step in its own transaction."""
        while self.version() < current_version():
            with self.changing_schema() as connection:
                apply_next(connection)

    def is_outdated(self) -> bool:
        """Whether `migrate` has work to do.

        Raises:
            NotAnArchiveError: the database holds no archive.
            NewerArchiveError: it was written by a newer version.
            OutdatedArchiveError: it cannot be read before it is migrated. One that only lacks what may be empty
                (`migrations.OPTIONAL_FOR_READERS`) is read as it is.
        """
        where = f"The archive in {self.name}"
        version = self.version()
        if version == 0:
            raise NotAnArchiveError(f"{self.name} is a database but not an archive. Name an archive's folder.")
        refuse_newer(version, where)
        if self.read_only and is_readable(version):
            self._info = {
                READS: True,
                HAS_ROLES: version >= ROLES_VERSION,
                HAS_SCALE: version >= SCALE_VERSION,
                HAS_COUNTS: version >= COUNTS_VERSION,
                HAS_SLIDES: version >= SLIDES_VERSION,
            }
            return False
        if version < current_version() and self.read_only:
            raise self.outdated()
        return version < current_version()

    def outdated(self) -> OutdatedArchiveError:
        """The error that names the command by which the archive is brought up to date."""
        return OutdatedArchiveError(
            f"The archive in {self.name} was made by an earlier version (schema {self.version()}; this one writes "
            f"{current_version()}). Nothing was touched. Run `coin migrate` once nobody has it open; it makes a backup "
            "first."
        )

    def erase_removed(self) -> None:
        """Erase removed reports from what the database has on disk, as far as possible."""
        with self._explained():
            self._database.erase_removed(self._engine)

    def check_copyable(self) -> None:
        """Raise `BackupError` where `copy_to` cannot copy this kind of database."""
        self._database.check_copyable()

    def copy_to(self, target: Path) -> None:
        """Copy the database, as it is at one moment, into the new file `target`; others may read and write meanwhile.

        Raises:
            OSError, StorageError: a part of the copy may be left.
        """
        with self._explained():
            self._database.copy_to(self._engine, target)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn an error of the database into a `StorageError`; an error of this program is raised as it is."""
        try:
            yield
        except UnicodeEncodeError as error:
            raise ArchiveError(_UNSTORABLE) from error
        except DatabaseError as error:
            if isinstance(error, DataError) and "NUL" in str(error.orig):
                raise ArchiveError(_UNSTORABLE) from error
            explanation = self._database.explained(error)
            if explanation is None:
                raise
            raise StorageError(explanation) from error
        except sqlite3.DatabaseError as error:  # of the driver, below SQLAlchemy
            wrapped = DatabaseError("", None, error)
            raise StorageError(self._database.explained(wrapped) or str(error)) from error


_REVISION = select(ArchiveRow.__table__.c.revision)
"""Without the object mapper, like all statements of a search: it takes longer than the database."""


def has_scale(session: Session) -> bool:
    """Whether the archive knows the scale of images: one of an earlier version that is open read-only does not."""
    return bool(session.info.get(HAS_SCALE, True))


def has_slides(session: Session) -> bool:
    """Likewise whether it knows fields of whole slides."""
    return bool(session.info.get(HAS_SLIDES, True))


def current_revision(session: Session) -> int:
    """The archive's revision as `session` sees it: a number that grows by one with every change; 0 before the first.

    It grows with changes of cases, images, reports and report vectors, by whichever process, but not when an encoder is
    registered. What is derived from the records and kept in memory is out of date when the revision has changed.
    """
    return once(session, "revision", lambda: int(session.execute(_REVISION).scalar_one()))


def once(session: Session, name: str, read: Callable[[], T]) -> T:
    """What `read` gives, read once by a session that only reads: it sees one state."""
    if not session.info.get(READS):
        return read()
    if name not in session.info:
        session.info[name] = read()
    value: T = session.info[name]
    return value


def advance_revision(session: Session) -> None:
    """Increase the revision by one, in the transaction of the change."""
    session.execute(update(ArchiveRow).values(revision=ArchiveRow.revision + 1))
