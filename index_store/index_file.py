"""The index on disk: a copy that saves rebuilding it, and is believed only where everything about it agrees.

Two files: `<encoder>.json` says what the index is and names `<encoder>-<checksum>.faiss`. Replacing the small
one is the moment of saving, so that a process killed in between leaves the older pair, whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .durable import sync_folder, write_durably
from .faiss_index import FaissIndex

FORMAT = 1


@dataclass(frozen=True)
class LogPosition:
    """A place in the change log. (0, 0) is before its first entry."""

    sequence: int = 0
    token: int = 0


@dataclass(frozen=True)
class IndexIdentity:
    """Whose index it is."""

    archive: str
    """The archive's uuid."""
    fingerprint: str
    """The encoder's."""
    dim: int


def index_stem(fingerprint: str) -> str:
    """What the names of an encoder's index files begin with: a fingerprint is anybody's text, its hash a safe name."""
    return hashlib.sha256(fingerprint.encode()).hexdigest()[:16]


class IndexFileProblem(Exception):
    """Why the saved index is not believed, as the end of a sentence."""


class IndexFile:
    """The saved index of one encoder in an archive's `index/` folder."""

    def __init__(self, folder: Path, identity: IndexIdentity) -> None:
        self._folder = folder
        self._identity = identity
        self._stem = index_stem(identity.fingerprint)
        self._card = folder / f"{self._stem}.json"

    def read(self) -> tuple[FaissIndex, LogPosition]:
        """The index and the place in the log it stands at.

        Raises:
            IndexFileProblem: missing, damaged, or of another archive, encoder or format.
        """
        for _attempt in range(2):  # a writer may have replaced the pair between our opening the one and the other
            try:
                return self._read()
            except FileNotFoundError:
                continue
            except KeyError as error:
                raise IndexFileProblem(f"its description lacks {error}") from error
            except (OSError, ValueError, TypeError, RuntimeError) as error:
                raise IndexFileProblem(f"it cannot be read ({type(error).__name__})") from error
        raise IndexFileProblem("it was missing")

    def _read(self) -> tuple[FaissIndex, LogPosition]:
        card = json.loads(self._card.read_text("utf-8"))
        for name, value in self._expected().items():
            if card[name] != value:
                raise IndexFileProblem(f"it was made for another {name}")
        with (self._folder / Path(card["file"]).name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != card["sha256"]:
                raise IndexFileProblem("its checksum did not match")
            file.seek(0)
            index = FaissIndex.read(file)
        if index.count != card["count"] or index.dim != self._identity.dim:
            raise IndexFileProblem("its size did not match")
        return index, LogPosition(int(card["sequence"]), int(card["token"]))

    def write(self, index: FaissIndex, position: LogPosition) -> None:
        """Save both files durably; an `OSError` leaves what was saved before."""
        self._folder.mkdir(exist_ok=True)
        building = self._folder / f"{self._stem}.faiss"
        write_durably(building, index.write)
        with building.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        target = self._folder / f"{self._stem}-{checksum[:16]}.faiss"
        building.replace(target)
        sync_folder(self._folder)
        card = {
            **self._expected(),
            **asdict(position),
            "count": index.count,
            "file": target.name,
            "sha256": checksum,
        }
        write_durably(self._card, lambda file: file.write(json.dumps(card, indent=1).encode()))
        sync_folder(self._folder)
        for old in self._folder.glob(f"{self._stem}*.faiss*"):
            if old != target:
                # A reader on Windows may hold it open; the next saving takes it along.
                with contextlib.suppress(PermissionError):
                    old.unlink(missing_ok=True)

    def discard(self) -> None:
        """Delete what was saved; what cannot be deleted is no harm, since it is believed only where it fits."""
        for path in self._folder.glob(f"{self._stem}*"):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _expected(self) -> dict[str, object]:
        return {"format": FORMAT, **asdict(self._identity)}
