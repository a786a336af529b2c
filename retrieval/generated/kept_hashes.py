"""Generated images written with their provenance, and hashed meanwhile, so that no later run decodes them.

Hashes are kept in the set's folder, a JSON line an image in a file of each process, by the image file's name, size and
time of change. A file that changed, or was copied without its time, is decoded once more.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from generation.atomic_write import private_folder
from retrieval.generated.near_duplicate import ImageHashes, hash_image

if TYPE_CHECKING:
    import PIL.Image

    from generation import Provenance

FOLDER: Final = "hashes"


def write_image(image: PIL.Image.Image, path: Path, provenance: Provenance) -> ImageHashes:
    """Save a PNG with provenance, and return its hashes; for worker processes. Raises `OSError`."""
    from generation import save_png

    save_png(image, path, provenance)
    return hash_image(image)


class KeptHashes:
    """The hashes of the images in a set's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._own = self._folder / f"{uuid.uuid4().hex}.jsonl"
        self._known: dict[str, ImageHashes] = {}
        for path in sorted(self._folder.glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                    bits = np.unpackbits(np.frombuffer(bytes.fromhex(record["bits"]), dtype=np.uint8)).astype(bool)
                    self._known[record["file"]] = ImageHashes(record["pixels"], bits)
                except (ValueError, KeyError, TypeError):  # the line that was written when a process was killed
                    continue

    def get(self, path: Path) -> ImageHashes | None:
        """The hashes of this file as it is now, if they are known."""
        return self._known.get(_identity(path)) if self._known else None

    def add(self, made: Mapping[Path, ImageHashes]) -> None:
        """Keep the hashes of files that are there. Raises `OSError`."""
        private_folder(self._folder)
        self._own.touch(0o600)
        with self._own.open("a", encoding="utf-8") as file:
            for path, hashes in made.items():
                key = _identity(path)
                self._known[key] = hashes
                bits = np.packbits(hashes.bits).tobytes().hex()
                file.write(f"{json.dumps({'file': key, 'pixels': hashes.pixels, 'bits': bits})}\n")


def _identity(path: Path) -> str:
    stat = path.stat()
    return f"{path.name} {stat.st_size} {stat.st_mtime_ns}"
