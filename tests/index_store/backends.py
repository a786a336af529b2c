"""Where an archive may keep its records and its vectors: what the tests run over that must hold for all of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from index_store import Archive


class Opener(Protocol):
    def __call__(self, folder: Path, *, read_only: bool = False) -> Archive: ...


@dataclass(frozen=True)
class Backend:
    """One way to keep an archive. A new one is added to `BACKENDS`, and is tested as the others are."""

    name: str
    create: Callable[[Path], Archive]
    """A new archive in the folder; whatever else it needs (a schema on a server, a collection) is made here."""
    open: Opener
    """That archive again, as another process would open it."""
    lose_index: Callable[[Path], object]
    """Take away what is derived, while the archive is closed."""
    forget: Callable[[Path], object]
    """Take away all of it, while it is closed."""
    has_backup: bool = True
    """Whether `Archive.back_up` copies this kind."""


SQLITE_FAISS = Backend(
    name="sqlite-faiss",
    create=Archive.create,
    open=Archive.open,
    lose_index=lambda folder: shutil.rmtree(folder / "index", ignore_errors=True),
    forget=shutil.rmtree,
)

BACKENDS = (SQLITE_FAISS,)
