"""Site, system and category read from reports: equal ones once, many by worker processes, and kept where asked for.

What is kept stands under a hash of the report, of what was given of its labels, and of the rules by which reports are
read: by other rules it is read anew. It holds no word of a report.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from generation import text_sha256
from generation.atomic_write import private_folder
from generation.prompts import cues
from generation.worker_pool import workers
from retrieval.errors import EvaluationError
from retrieval.language.label_extraction import read_report
from retrieval.language.vocabulary import vocabulary

FILE: Final = "labels.sqlite"
LABELS = ("site", "system", "category")
MANY: Final = 2000
"""Reports from which on worker processes read them: a report takes some 5 ms, and a process seconds to start."""
_AT_ONCE: Final = 8192
Key = tuple[str, str, str]
"""A report, and its site and system as far as they are given."""
Read = tuple[str | None, str | None, str | None]
"""Site, system and category."""


def missing_labels(report: str, site: str, system: str, category: str) -> dict[str, str]:
    """`LabelReader.missing` of one report, for worker processes."""
    return LabelReader().missing(report, site=site, system=system, category=category)


class LabelReader:
    """Reads site, system and category from reports, equal reports once.

    Args:
        work: folder that keeps what `read_all` reads; None: nothing is kept.
    """

    def __init__(self, work: Path | None = None) -> None:
        self._readings: dict[Key, Read] = {}
        self._work = work

    def read_all(self, reports: Iterable[tuple[str, Mapping[str, str]]]) -> None:
        """Read many reports ahead, each with its labels as far as they are given.

        Raises `EvaluationError` if the folder cannot be used.
        """
        wanted = (_key(report, labels["site"], labels["system"]) for report, labels in reports if not _is_whole(labels))
        keys = list(dict.fromkeys(wanted))
        if not keys or self._work is None:
            self._readings.update(zip(keys, _read_each(keys), strict=True))
            return
        try:
            path = private_folder(self._work) / FILE
            path.touch(0o600)
            with closing(sqlite3.connect(path, timeout=60)) as database:
                self._readings.update(zip(keys, _kept(database, keys), strict=True))
        except (OSError, sqlite3.Error) as error:
            raise EvaluationError(
                f"The folder {self._work} cannot be used ({error}): make room, or name another."
            ) from error

    def missing(self, report: str, *, site: str, system: str, category: str) -> dict[str, str]:
        """The values that are not given and can be extracted from the report, given the others."""
        if _is_whole({"site": site, "category": category}):
            return {}
        known_system = vocabulary().system(system) if system else None
        key = _key(report, site, system)
        if key not in self._readings:
            self._readings[key] = _read(key)
        read_site, read_system, read_category = self._readings[key]
        if known_system is not None and read_site and read_site not in known_system.sites:
            return {}  # the report is of another site than the system: one of the two is wrong
        read: dict[str, str] = {}
        if not site and read_site:
            read["site"] = read_site
        if not category and read_category and read_system:
            if not system:
                read["system"] = read_system
            read["category"] = read_category
        return read


def _is_whole(labels: Mapping[str, str]) -> bool:
    """Whether nothing is to be read: a system is derived with its category only."""
    return bool(labels["site"] and labels["category"])


def _key(report: str, site: str, system: str) -> Key:
    known = vocabulary().site(site) if site else None
    return report, known.name if known else site, system


def _kept(database: sqlite3.Connection, keys: Sequence[Key]) -> list[Read]:
    """What is read of each; what is not in the database is put there, some at a time."""
    database.execute("CREATE TABLE IF NOT EXISTS labels (report TEXT PRIMARY KEY, read TEXT) WITHOUT ROWID")
    kept: dict[str, str] = dict(database.execute("SELECT report, read FROM labels"))
    names = [text_sha256(json.dumps([_rules(), *key])) for key in keys]
    missing = [(name, key) for name, key in zip(names, keys, strict=True) if name not in kept]
    for start in range(0, len(missing), _AT_ONCE):
        some = missing[start : start + _AT_ONCE]
        read = _read_each([key for _, key in some])
        rows = [(name, json.dumps(labels)) for (name, _), labels in zip(some, read, strict=True)]
        with database:
            database.executemany("INSERT OR REPLACE INTO labels VALUES (?, ?)", rows)
        kept.update(rows)
    return [tuple(json.loads(kept[name])) for name in names]


def _read_each(keys: Sequence[Key]) -> list[Read]:
    if len(keys) < MANY:
        return [_read(key) for key in keys]
    with workers(len(keys), probe=_read) as pool:
        return list(pool.map(_read, keys, chunksize=64))


def _read(key: Key) -> Read:
    report, site, system = key
    reading = read_report(report, site=site, system=system)
    return reading.site, reading.system, reading.category


@functools.cache
def _rules() -> str:
    """A hash of all that decides how a report is read."""
    files = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in (".py", ".toml"))
    made = Path(cues.__file__)
    parts = [path.read_bytes() for path in (*files, made, made.with_suffix(".toml"))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
