"""The results of a copy check, kept image by image, so that a check that was interrupted resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from generation.atomic_write import private_folder
from retrieval.copies.overlap import Overlap
from retrieval.errors import EvaluationError


@dataclass(frozen=True)
class CheckedImage:
    """One image that was compared with all references."""

    reference: int
    """Its number: of the one that it copies or, where it copies none, of the most similar."""
    similarity: float
    """To that reference."""
    nearest: float
    """To the most similar reference."""
    hash_distance: int
    part: Overlap | None
    keypoints: int


class CheckedImages:
    """Results by file: one JSON line each, under a hash of path, size and time of change.

    Args:
        folder: where they are kept; None: nothing is kept.
        against: what decides a result beside the image (references in their order, encoder).
    """

    def __init__(self, folder: Path | None, against: Sequence[str]) -> None:
        self._known: dict[str, CheckedImage] = {}
        self._path = None
        if folder is None:
            return
        name = hashlib.sha256("\n".join(against).encode()).hexdigest()[:32]
        self._path = folder / "copies" / f"{name}.jsonl"
        try:
            private_folder(self._path.parent)
            lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.is_file() else []
        except OSError as error:
            raise _unusable(folder, error) from error
        for line in lines:
            try:
                record = json.loads(line)
                part = record.pop("part")
                key = record.pop("file")
                self._known[key] = CheckedImage(**record, part=None if part is None else Overlap(**part))
            except (ValueError, TypeError, KeyError):  # the line that was written when the process was killed
                continue

    def get(self, path: Path) -> CheckedImage | None:
        """The result of this file as it is now, if there is one."""
        return self._known.get(_identity(path)) if self._known else None

    def add(self, paths: Sequence[Path], results: Sequence[CheckedImage]) -> None:
        """Keep results. Raises `EvaluationError`: the folder cannot be written."""
        if self._path is None:
            return
        lines = [
            json.dumps({"file": _identity(path), **asdict(result)}) for path, result in zip(paths, results, strict=True)
        ]
        try:
            self._path.touch(0o600)
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n" + "\n".join(lines) + "\n")  # the first ends a line that was cut short
        except OSError as error:
            raise _unusable(self._path.parent, error) from error


def _identity(path: Path) -> str:
    stat = path.stat()
    return hashlib.sha256(f"{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}".encode()).hexdigest()


def _unusable(folder: Path, error: OSError) -> EvaluationError:
    return EvaluationError(f"The folder {folder} cannot be used ({error.strerror}): make room, or name another cache.")
