"""Queries with a name, kept in a folder, one JSON file each: to be run again, also by others."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from generation.atomic_write import private_folder, write_atomic
from retrieval.errors import QueryError
from retrieval.search.query import Query, query_from_json, query_to_dict

if TYPE_CHECKING:
    from retrieval.search.results import SearchResult

NAME: Final = re.compile(r"[^\W_](?:[\w .()+-]{0,78}[\w)+])?")
"""Letters, digits and a few signs: what every file system takes as a name, and no way out of the folder."""
MAX_BYTES: Final = 256 * 1024**2


@dataclass(frozen=True)
class SavedAnswer:
    """The ranks that a query had when it was saved, and what they were made with."""

    ranks: Mapping[str, int]
    """By the case's key."""
    revision: int
    """The archive's."""
    fingerprint: str
    """Of the encoder of images."""
    text_fingerprint: str
    """Of that of texts, where it is another."""
    channels: tuple[str, ...]
    """Those that answered: with generated images the ranking is another."""

    def differs_by(self, other: SavedAnswer) -> tuple[str, ...]:
        """What was changed since, in words."""
        changed = (
            ("the archive", self.revision != other.revision),
            ("the encoder", self.fingerprint != other.fingerprint),
            ("the encoder of texts", self.text_fingerprint != other.text_fingerprint),
        )
        return tuple(name for name, differs in changed if differs)


def answer_of(result: SearchResult, revision: int) -> SavedAnswer:
    """What is kept of a result. `revision`: the archive's."""
    channels = tuple(answer.channel for answer in result.channels)
    return SavedAnswer(ranks_of(result), revision, result.fingerprint, result.text_fingerprint, channels)


def ranks_of(result: SearchResult) -> dict[str, int]:
    """The rank of each case, by its key."""
    return {ranked.case.key: ranked.rank for ranked in result.cases}


class SavedQueries:
    """Named queries in a folder that is made when the first is saved.

    They may hold report text and an image: the files are readable by their owner alone. An image is kept as its
    pixels and its scale, without other metadata; of a slide its path, so that it must lie there when the query is run.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def names(self) -> tuple[str, ...]:
        """The names of the saved queries, in alphabetical order."""
        return tuple(sorted(path.stem for path in self.folder.glob("*.json") if NAME.fullmatch(path.stem)))

    def save(self, name: str, query: Query, *, replace: bool = False) -> Path:
        """Keep a query under a name, durably or not at all.

        Raises QueryError for a name that cannot be one, and where it is taken, unless `replace`.
        """
        path = self._path(name)
        if path.exists() and not replace:
            raise QueryError(f"There is a query named '{name}' already: choose another name, or replace it.")
        private_folder(self.folder)
        document = query_to_dict(_with_pixels(query))
        data = json.dumps(document, ensure_ascii=False, indent=1).encode()
        self._answer_path(name).unlink(missing_ok=True)  # of the query that is replaced
        return write_atomic(path, data)

    def load(self, name: str) -> Query:
        """Raises QueryError where there is no such query, or its file is none."""
        path = self._path(name)
        if not path.is_file():
            known = ", ".join(self.names()) or "none is saved yet"
            raise QueryError(f"There is no saved query '{name}' (saved: {known}).")
        if path.stat().st_size > MAX_BYTES:
            raise QueryError(f"The saved query '{name}' is larger than {MAX_BYTES >> 20} MiB: delete it.")
        try:
            return query_from_json(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError as error:
            raise QueryError(f"The saved query '{name}' is no text: delete it.") from error
        except QueryError as error:
            raise QueryError(f"The saved query '{name}' cannot be run. {error} Its file: {path}.") from error

    def delete(self, name: str) -> None:
        """Forget a query. Raises QueryError where there is none of that name."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            raise QueryError(f"There is no saved query '{name}'.") from None
        self._answer_path(name).unlink(missing_ok=True)

    def keep_answer(self, name: str, answer: SavedAnswer) -> None:
        """Keep what a saved query answers now, in the place of an earlier answer. Raises as `load`."""
        self.load(name)
        write_atomic(self._answer_path(name), json.dumps(dataclasses.asdict(answer), ensure_ascii=False).encode())

    def answer(self, name: str) -> SavedAnswer | None:
        """The answer that was kept; None where there is none that can be read."""
        try:
            values = json.loads(self._answer_path(name).read_text(encoding="utf-8"))
            ranks = {str(key): int(rank) for key, rank in values.pop("ranks").items()}
            return SavedAnswer(ranks, **{**values, "channels": tuple(values["channels"])})
        except (OSError, KeyError, TypeError, ValueError, AttributeError):
            return None

    def _answer_path(self, name: str) -> Path:
        return self._path(name).with_name(f"{name}.answer")  # no `.json`: it is no query

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise QueryError(
                f"'{name}' cannot name a query: use up to 80 letters, digits, spaces and . ( ) + - _, "
                "beginning with a letter or digit."
            )
        return self.folder / f"{name}.json"


def _with_pixels(query: Query) -> Query:
    """The query by its picture's pixels, and by the scale that its file said, where none was given."""
    if not query.image:
        return query
    from index_store import decode_picture

    file, decoded = io.BytesIO(), decode_picture(query.image)
    decoded.image.save(file, "PNG")
    return dataclasses.replace(query, image=file.getvalue(), mpp=query.mpp or decoded.mpp)
