"""Queries with a name, kept in a folder, one JSON file each: to be run again, also by others."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Final

from generation.atomic_write import private_folder, write_atomic
from retrieval.errors import QueryError
from retrieval.search.query import Query, query_from_json, query_to_dict

NAME: Final = re.compile(r"[^\W_](?:[\w .()+-]{0,78}[\w)+])?")
"""Letters, digits and a few signs: what every file system takes as a name, and no way out of the folder."""
MAX_BYTES: Final = 256 * 1024**2


class SavedQueries:
    """Named queries in a folder that is made when the first is saved.

    They may hold report text and an image: the files are readable by their owner alone. An image is kept as its
    pixels, without the metadata it came with; of a slide its path, so that it must lie there when the query is run.
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
        document = query_to_dict(dataclasses.replace(query, image=_pixels(query.image)))
        data = json.dumps(document, ensure_ascii=False, indent=1).encode()
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

    def _path(self, name: str) -> Path:
        if not NAME.fullmatch(name):
            raise QueryError(
                f"'{name}' cannot name a query: use up to 80 letters, digits, spaces and . ( ) + - _, "
                "beginning with a letter or digit."
            )
        return self.folder / f"{name}.json"


def _pixels(source: bytes) -> bytes:
    if not source:
        return source
    from index_store import decode_image

    file = io.BytesIO()
    decode_image(source).save(file, "PNG")
    return file.getvalue()
