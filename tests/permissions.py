"""Who may read what lies in a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def open_to_others(folder: Path) -> dict[str, str]:
    """What other accounts may read or change in the folder, itself included, with its permissions."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:  # deleted, or given another name, since it was listed
            continue
        if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) & 0o077:
            found[path.relative_to(folder).as_posix()] = oct(stat.S_IMODE(mode))
    return found


@contextmanager
def watched(folder: Path) -> Iterator[dict[str, str]]:
    """What others might have read at the moments at which a file is written to disk or gets its name. (Every file is
    one or the other before it is done.)"""
    seen: dict[str, str] = {}

    def look() -> None:
        if folder.exists():
            seen.update(open_to_others(folder))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "replace", "rename"):
            real = getattr(os, name)

            def called(*arguments: object, _real: object = real, **more: object) -> object:
                look()
                return _real(*arguments, **more)  # type: ignore[operator]

            patch.setattr(os, name, called)
        yield seen
