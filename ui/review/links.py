"""The queries that sessions of the view searched, each under a key that cannot be guessed: what a page's address names.

A report may hold identifiers, and addresses go into logs and histories: the address has the key alone. A query is kept
in a file for the owner alone, a picture as its pixels once for all queries by it, and both are deleted after a time.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ui.errors import ReviewError
from ui.review.pinning import without_report
from ui.review.store import hashed
from ui.text.query import filter_words, query_words

if TYPE_CHECKING:
    from index_store import Archive
    from retrieval import Query

DAYS: Final = 90
"""That a query is kept after it was searched last."""
MOST: Final = 1_000
"""Queries of one user."""
PICTURES_MB: Final = 512
"""Of one user."""
_KEY: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class PastQuery:
    """A query that was searched."""

    key: str
    words: str
    """What it asked, in a line, with its filters."""


class QueryLinks:
    """The searched queries of one user. Whoever has a key can read its query, another user of the archive, too."""

    def __init__(self, folder: Path | str, archive: Archive, user: str) -> None:
        """`folder`: of all users' queries of that archive."""
        self._all = Path(folder)
        self._archive = archive
        self.folder = self._all / hashed(user)

    def keep(self, query: Query) -> str:
        """Keep a query; returns its key. Raises OSError."""
        from generation import private_folder, write_atomic
        from retrieval import query_to_dict

        private_folder(self.folder)
        self._forget_old()
        plain, with_report = without_report(self._archive, query)
        if plain.image:
            document = self._with_picture(plain)
        else:
            document = {"with_report": with_report, "picture": "", "query": query_to_dict(plain)}
        document["words"] = " · ".join((query_words(plain), *filter_words(plain.where)))
        key = secrets.token_hex(20)
        write_atomic(self.folder / f"{key}.json", json.dumps(document, ensure_ascii=False).encode(errors="replace"))
        return key

    def load(self, key: str) -> Query:
        """The query of a key.

        Raises:
            ReviewError: there is none, or not any more.
            index_store.CaseNotFoundError: it was by a case with its report, and that case was removed.
        """
        from retrieval import RetrievalError, query_from_dict

        path = next(self._all.glob(f"*/{key}.json"), None) if _KEY.fullmatch(key) else None
        if path is None:
            raise ReviewError(
                "This address names a query that is not kept, or not any more: search again. Queries are kept for "
                f"{DAYS} days, on this server and for this archive."
            )
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            values = document["query"]
            if document["picture"]:
                data = (path.parent / f"{document['picture']}.png").read_bytes()
                values["image"] = base64.b64encode(data).decode("ascii")
            query = query_from_dict(values)
        except (KeyError, TypeError, ValueError, OSError, RetrievalError) as error:
            raise ReviewError(f"The query of this address cannot be read ({error}): search again.") from error
        return replace(query, text=self._archive.case(query.case).report) if document["with_report"] else query

    def last(self, number: int) -> tuple[PastQuery, ...]:
        """The user's own, the last searched first and each once, without their pictures; what cannot be read is left
        out."""
        past: dict[str, PastQuery] = {}
        for path in sorted(self.folder.glob("*.json"), key=_changed, reverse=True):
            try:
                text = path.read_text(encoding="utf-8")
                past.setdefault(text, PastQuery(path.stem, str(json.loads(text)["words"])))
            except (KeyError, TypeError, ValueError, OSError):
                continue
            if len(past) == number:
                break
        return tuple(past.values())

    def _with_picture(self, query: Query) -> dict[str, Any]:
        """The document of a query by a picture, which is written where it is not there yet: its pixels, and the scale
        that its file said."""
        import io

        from generation import write_atomic
        from index_store import decode_picture
        from retrieval import query_to_dict

        name = hashlib.sha256(query.image).hexdigest()
        path, notes = self.folder / f"{name}.png", self.folder / f"{name}.mpp"
        if path.is_file():
            os.utime(path)  # searched again: it is kept as long as this query
        else:
            decoded = decode_picture(query.image)
            file = io.BytesIO()
            decoded.image.save(file, "PNG", compress_level=1)
            write_atomic(path, file.getvalue())
            write_atomic(notes, json.dumps(decoded.mpp).encode())
        said = json.loads(notes.read_text()) if notes.is_file() else None
        values = query_to_dict(replace(query, mpp=query.mpp or said))
        return {"with_report": False, "picture": name, "query": {**values, "image": ""}}

    def _forget_old(self) -> None:
        files = sorted(self.folder.glob("*.json"), key=_changed, reverse=True)
        until = time.time() - DAYS * 86_400
        for path in [path for number, path in enumerate(files) if number >= MOST or path.stat().st_mtime < until]:
            path.unlink(missing_ok=True)
        size = 0
        for path in sorted(self.folder.glob("*.png"), key=_changed, reverse=True):
            size += path.stat().st_size
            if size > PICTURES_MB << 20 or path.stat().st_mtime < until:
                path.unlink(missing_ok=True)
                path.with_suffix(".mpp").unlink(missing_ok=True)


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns
