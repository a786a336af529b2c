"""Where a training keeps what it makes of its images: latents, embeddings and pixels, never beside the weights.

A model's folder may be handed on. What was encoded of patients' images and reports may not, and lies in the user's
cache, in a folder for its owner alone that is named after the model's. `coin train clear` deletes it.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from generation.errors import TrainingError

_OWN = re.compile(r"[0-9a-f]{16}|pixels-[0-9a-f]{16}\.(npy|json)(\.[0-9a-f]{32}\.tmp)?|hashes\.sqlite(-journal)?")
"""What a training writes into a work folder: encodings of a base, pixels, and hashes of files."""


def work_folder(out: Path | str) -> Path:
    """The folder of what a training into `out` keeps of its images (XDG base directory specification)."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(out).resolve()
    return Path(home) / "coin" / "training" / f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"


def clear_work(out: Path | str, work: Path | str | None = None) -> tuple[Path, int]:
    """Delete what trainings into `out` kept of their images, in `work` where they were given that folder, and in
    `out`/work, where earlier versions kept it. Weights and checkpoints stay, and so do files that no training wrote.

    Returns the folder and how many bytes were deleted.

    Raises:
        TrainingError: something cannot be deleted.
    """
    folder = work_folder(out) if work is None else Path(work)
    deleted = 0
    try:
        for place in (folder, Path(out) / "work"):
            if not place.is_dir():
                continue
            for entry in sorted(place.iterdir()):
                if not _OWN.fullmatch(entry.name):
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    deleted += sum(path.stat().st_size for path in entry.rglob("*") if path.is_file())
                    shutil.rmtree(entry)
                else:
                    deleted += entry.lstat().st_size
                    entry.unlink()
            if not any(place.iterdir()):
                place.rmdir()
    except OSError as error:
        raise TrainingError(
            f"What was kept of the training images cannot be deleted ({error.strerror}): delete {folder} yourself."
        ) from error
    return folder, deleted
