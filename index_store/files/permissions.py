"""Who may read an archive's files: its owner alone. Earlier versions made files as the umask allowed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def open_to_others(folder: Path) -> list[Path]:
    """The folder, and what lies in it, as far as other accounts may read or change it. Links are not followed.

    Nothing where the folder itself is closed, since nobody else gets to what lies in it; nor where not even its owner
    may write in it: it was made for others to read.
    """
    mode = _mode(folder)
    if os.name == "nt" or not mode & OTHERS or not mode & stat.S_IWUSR:
        return []
    found = [folder]
    for root, folders, files in os.walk(folder):
        found += [path for name in (*folders, *files) if _mode(path := Path(root, name)) & OTHERS]
    return found


def close_to_others(paths: Iterable[Path]) -> None:
    """Take the permissions of other accounts away; what belongs to somebody else, or is gone, stays as it is."""
    for path in paths:
        with contextlib.suppress(OSError):
            if mode := _mode(path):
                path.chmod(mode & ~OTHERS)


def _mode(path: Path) -> int:
    """The permissions; 0 for a link, and for what is gone."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return 0
    return 0 if stat.S_ISLNK(mode) else stat.S_IMODE(mode)
