"""Ratings of a blinded reader study: one SQLite file, each answer on disk before it is acknowledged.

Answers are stored one by one, so that two tabs of one reader never overwrite what the other one stored of another
question; the last answer to a question counts. Whether a reader has closed is checked in the transaction that changes
a rating: nothing is stored after the closing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from retrieval.errors import ReaderStudyClosedError, ReaderStudyError

if TYPE_CHECKING:
    from sqlalchemy import Connection

SCORES: Final = (1, 2, 3, 4, 5)
AXES: Final = ("anatomic", "diagnostic")
GUESSES: Final = ("real", "generated")
LONGEST_NAME: Final = 60
LONGEST_COMMENT: Final = 2_000
_SCHEMA: Final = (
    """CREATE TABLE readers (
        name TEXT PRIMARY KEY NOT NULL, pseudonym INTEGER NOT NULL, began TEXT NOT NULL, closed TEXT
    )""",
    """CREATE TABLE ratings (
        reader TEXT NOT NULL REFERENCES readers (name), picture TEXT NOT NULL,
        anatomic INTEGER CHECK (anatomic BETWEEN 1 AND 5), diagnostic INTEGER CHECK (diagnostic BETWEEN 1 AND 5),
        guess TEXT CHECK (guess IN ('real', 'generated')), comment TEXT NOT NULL DEFAULT '', rated TEXT NOT NULL,
        PRIMARY KEY (reader, picture)
    )""",
)
_SET: Final = {
    name: f"INSERT INTO ratings (reader, picture, {name}, rated) VALUES (?, ?, ?, ?) "
    f"ON CONFLICT (reader, picture) DO UPDATE SET {name} = excluded.{name}, rated = excluded.rated"
    for name in (*AXES, "guess", "comment")
}


@dataclass(frozen=True)
class Rating:
    """One reader's answers about one picture. None: not answered."""

    anatomic: int | None = None
    diagnostic: int | None = None
    guess: str | None = None
    comment: str = ""
    rated: str = ""
    """When the last answer came; ISO 8601, UTC."""

    @property
    def is_complete(self) -> bool:
        """Whether both axes are rated; guess and comment may be left out."""
        return self.anatomic is not None and self.diagnostic is not None


@dataclass(frozen=True)
class Reader:
    """A reader of the study."""

    name: str
    pseudonym: bool
    """As stated when beginning."""
    began: str
    closed: str = ""
    """When the reader closed; empty while the reader still rates."""


class Ratings:
    """The ratings of one study. Safe for many threads and processes."""

    def __init__(self, path: Path, pictures: Sequence[str]) -> None:
        """`pictures` are the ids of the study's pictures. Raises ReaderStudyError where there is no file."""
        from index_store.catalog.databases.sqlite_database import SqliteDatabase

        if not path.is_file():
            raise ReaderStudyError(f"{path} is missing: the ratings of this reading are not there. Restore the folder.")
        self._pictures = frozenset(pictures)
        self._database = SqliteDatabase(path)
        self._engine = self._database.engine(read_only=False)

    def close(self) -> None:
        """Release the file. Every rating is on disk already."""
        self._engine.dispose()

    def begin(self, name: str, *, pseudonym: bool) -> Reader:
        """Begin under a name, or resume under it; `pseudonym` counts when beginning.

        Raises:
            ReaderStudyError: it is not a valid name.
        """
        known = reader_name(name)

        def insert(connection: Connection) -> None:
            connection.exec_driver_sql(
                "INSERT INTO readers (name, pseudonym, began) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (known, int(pseudonym), _now()),
            )

        self._write(insert)
        return self.reader(known)

    def reader(self, name: str) -> Reader:
        """The reader of that name. Raises ReaderStudyError where there is none."""
        found = next((reader for reader in self.readers() if reader.name == name), None)
        if found is None:
            raise ReaderStudyError(f"Nobody has read under the name '{name}'. `coin reading list` says who has.")
        return found

    def readers(self) -> tuple[Reader, ...]:
        """All readers, in the order in which they began."""
        rows = self._read("SELECT name, pseudonym, began, closed FROM readers ORDER BY began, name")
        return tuple(Reader(name, bool(pseudonym), began, closed or "") for name, pseudonym, began, closed in rows)

    def of(self, reader: str) -> dict[str, Rating]:
        """A reader's ratings by picture; pictures without an answer are left out."""
        rows = self._read(
            "SELECT picture, anatomic, diagnostic, guess, comment, rated FROM ratings WHERE reader = ?", (reader,)
        )
        return {picture: Rating(*answers) for picture, *answers in rows}

    def rate(self, reader: str, picture: str, question: str, answer: int | str | None) -> None:
        """Store one answer, durably: to "anatomic" or "diagnostic" (1 to 5), "guess" ("real", "generated"), or
        "comment" (text). None withdraws a score or a guess.

        Raises:
            ReaderStudyClosedError: the reader has closed.
            ReaderStudyError: no such reader, picture, question or answer.
        """
        if picture not in self._pictures:
            raise ReaderStudyError(f"This reading has no picture '{picture}'.")
        value = _checked(question, answer)

        def store(connection: Connection) -> None:
            _require_open(connection, reader)
            connection.exec_driver_sql(_SET[question], (reader, picture, value, _now()))

        self._write(store)

    def close_reader(self, name: str) -> Reader:
        """Freeze a reader's ratings for good. Raises ReaderStudyClosedError where they are already."""

        def close(connection: Connection) -> None:
            _require_open(connection, name)
            connection.exec_driver_sql("UPDATE readers SET closed = ? WHERE name = ?", (_now(), name))

        self._write(close)
        return self.reader(name)

    def _read(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._explained(), self._engine.connect() as connection:
            return list(connection.exec_driver_sql(query, values).all())

    def _write(self, change: Callable[[Connection], None]) -> None:
        with self._explained(), self._engine.connect() as plain:
            # The write lock is taken before anything is read: what was read is still true when it is changed.
            connection = plain.execution_options(**self._database.writing)
            with connection.begin():
                change(connection)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from sqlalchemy.exc import DatabaseError

        try:
            yield
        except DatabaseError as error:
            raise ReaderStudyError(
                self._database.explained(error) or f"A rating could not be stored ({error})."
            ) from error


def create_ratings(path: Path) -> None:
    """A new, empty file of ratings."""
    from index_store.catalog.databases.sqlite_database import SqliteDatabase

    engine = SqliteDatabase(path, create=True).engine(read_only=False)
    try:
        with engine.connect() as connection, connection.begin():
            for statement in _SCHEMA:
                connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


def reader_name(name: str) -> str:
    """A name in the form in which it is stored: composed letters, single spaces. Raises ReaderStudyError for others."""
    known = " ".join(unicodedata.normalize("NFC", name).split())
    if not known or len(known) > LONGEST_NAME or any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in known):
        raise ReaderStudyError(
            f"Give a name or a pseudonym of 1 to {LONGEST_NAME} letters, without control characters: your ratings are "
            "kept under it, and you go on under it."
        )
    return known


def _checked(question: str, answer: int | str | None) -> int | str | None:
    if question in AXES and (answer is None or (type(answer) is int and answer in SCORES)):
        return answer
    if question == "guess" and (answer is None or answer in GUESSES):
        return answer
    if question == "comment" and isinstance(answer, str):
        return answer.encode("utf-8", "replace").decode()[:LONGEST_COMMENT]
    raise ReaderStudyError(
        f"This is no answer to '{question}': {', '.join(AXES)} take {SCORES[0]} to {SCORES[-1]}, guess takes "
        f"{' or '.join(GUESSES)}, comment takes text."
    )


def _require_open(connection: Connection, reader: str) -> None:
    row = connection.exec_driver_sql("SELECT closed FROM readers WHERE name = ?", (reader,)).first()
    if row is None:
        raise ReaderStudyError(f"Nobody reads under the name '{reader}': begin first.")
    if row[0]:
        raise ReaderStudyClosedError(f"'{reader}' has closed this reading: its ratings are frozen.")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
