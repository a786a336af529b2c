"""Content hashes of many files, each read once: by size and time of change after that."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final

from generation.atomic_write import private_folder
from retrieval.errors import EvaluationError

FILE: Final = "hashes.sqlite"
_THREADS: Final = 8
_AT_ONCE: Final = 1024


def content_hashes(
    paths: Sequence[Path], *, work: Path | None, progress: Callable[[int, int], object] | None = None
) -> list[str | Exception]:
    """The hash of each file (`index_store.content_hash`), or the error with which it cannot be read.

    Args:
        work: folder that keeps hashes, without names of files; None: nothing is kept.
        progress: counts files.

    Raises:
        EvaluationError: the folder cannot be used.
    """
    if work is None:
        return _with_threads(paths, progress)
    try:
        path = private_folder(work) / FILE
        path.touch(0o600)
        with closing(sqlite3.connect(path, timeout=60)) as database:
            database.execute("CREATE TABLE IF NOT EXISTS hashes (file TEXT PRIMARY KEY, sha256 TEXT) WITHOUT ROWID")
            known: dict[str, str] = dict(database.execute("SELECT file, sha256 FROM hashes"))
            keys = [_key(path) for path in paths]
            found: list[str | Exception] = [known.get(key, "") for key in keys]
            missing = [position for position, sha256 in enumerate(found) if not sha256]
            for start in range(0, len(missing), _AT_ONCE):
                some = missing[start : start + _AT_ONCE]
                rows = []
                for position, made in zip(some, _with_threads([paths[at] for at in some], None), strict=True):
                    found[position] = made
                    if isinstance(made, str) and keys[position]:
                        rows.append((keys[position], made))
                with database:
                    database.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?)", rows)
                if progress is not None:
                    progress(start + len(some), len(missing))
            return found
    except (OSError, sqlite3.Error) as error:
        raise EvaluationError(f"The folder {work} cannot be used ({error}): make room, or name another.") from error


def _with_threads(paths: Sequence[Path], progress: Callable[[int, int], object] | None) -> list[str | Exception]:
    """Hashing lets go of Python's lock, and disks read several files faster than one after the other."""
    found: list[str | Exception] = []
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads:
        for done, made in enumerate(threads.map(_hash, paths), start=1):
            found.append(made)
            if progress is not None:
                progress(done, len(paths))
    return found


def _hash(path: Path) -> str | Exception:
    from index_store import ImageProblem, content_hash

    try:
        return content_hash(path)
    except (ImageProblem, OSError) as error:
        return error


def _key(path: Path) -> str:
    """A hash of path, size and time of change; empty where the file is gone."""
    try:
        stat = path.stat()
    except OSError:
        return ""
    return hashlib.sha256(f"{path}\n{stat.st_size}\n{stat.st_mtime_ns}".encode(errors="replace")).hexdigest()[:32]
