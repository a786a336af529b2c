"""A cache of generated images: a flat folder of PNG files, each with its provenance inside.

The file name is the cache key, the modification time is the time of last use, and there is no index beside the files:
nothing can disagree, and several processes may share one folder. Generated images are kept nowhere else; deleting the
folder costs nothing but time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from PIL import Image

from generation.atomic_write import private_folder, remove_if_abandoned, unfinished_target
from generation.errors import ProvenanceError
from generation.model.presets import Preset
from generation.prompts.prompt import Prompt
from generation.provenance import Provenance, read_provenance, save_png

logger = logging.getLogger(__name__)

MAX_BYTES = 2 * 1024**3
_ENTRY = re.compile(r"[0-9a-f]{64}\.png")


def cache_key(inputs: Mapping[str, object]) -> str:
    """SHA-256, in hex, of all inputs of an image; their order does not matter."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def image_key(prompt: Prompt, provenance: Provenance, preset: Preset) -> str:
    """The cache key of an image: of everything that decides its pixels, and of the report's hash.

    The scheduler as shipped is part of the base's fingerprint. Names and the time are left out: a folder that was
    moved is still the same base. Options that were added later are in the key only if they are used, so that older
    entries are still found.
    """
    later: dict[str, object] = {}
    if prompt.chunks:
        later["chunks"] = prompt.encoded
    if provenance.negative_prompt:
        later["negative_prompt"] = provenance.negative_prompt
    return cache_key(
        {
            "report": provenance.report_sha256,
            "prompt": provenance.prompt,
            "seed": provenance.seed,
            "preset": [preset.name, preset.steps, preset.guidance, preset.scheduler],
            "scheduler_options": sorted(preset.scheduler_options.items()),
            "size": [provenance.width, provenance.height],
            "model": provenance.model_fingerprint,
            "lora": provenance.lora_fingerprint,
            "device": provenance.device,
            "dtype": provenance.dtype,
            "software": provenance.software,
            **later,
        }
    )


class GenerationCache:
    """Images by key; the least recently used are deleted once the files take more than `max_bytes`.

    The entry just written is always kept, even if it alone exceeds the limit.
    """

    def __init__(self, folder: str | Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.folder = Path(folder).expanduser()
        self.max_bytes = max_bytes

    def path(self, key: str) -> Path:
        """The file of a key, whether it exists or not."""
        return self.folder / f"{key}.png"

    def get(self, key: str) -> tuple[Image.Image, Provenance] | None:
        """The image (RGB, loaded) and its provenance, or None.

        A damaged entry is deleted and counts as absent: PNG checks every chunk by a CRC, so damage is noticed.
        """
        path = self.path(key)
        try:
            with Image.open(path) as image:
                image.verify()  # every chunk's CRC; afterwards the image must be opened again
            with Image.open(path) as image:
                provenance = read_provenance(image)
                pixels = image.convert("RGB")
            if provenance is None:
                raise ProvenanceError("It carries no provenance.")
        except FileNotFoundError:
            return None
        except (ProvenanceError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # the disk failed, the entry may be whole
                logger.warning("Cannot read the cache entry %s: %s", path.name, error.strerror)
                return None
            logger.warning("Discarded the damaged cache entry %s: %s", path.name, error)
            path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):  # evicted by another process meanwhile, or a read-only cache
            os.utime(path)
        return pixels, provenance

    def put(self, key: str, image: Image.Image, provenance: Provenance) -> Path:
        """Store an image; returns its path. Raises `OSError` if it cannot be written, and then leaves nothing."""
        private_folder(self.folder)
        path = save_png(image, self.path(key), provenance)
        self._evict(keep=path.name)
        return path

    def put_if_possible(self, key: str, image: Image.Image, provenance: Provenance) -> Path | None:
        """Store an image, and return its path; None where the disk refuses: the image itself must not be lost by it."""
        try:
            return self.put(key, image, provenance)
        except OSError as error:
            logger.warning("A generated image was not cached: %s (%s)", error.strerror, self.folder)
            return None

    def forget_reports(self, hashes: Collection[str]) -> int:
        """Delete the images of reports with these hashes (`Provenance.report_sha256`); returns how many. Reads the
        head of every file. Raises `OSError` where the folder cannot be read or changed."""
        found = 0
        if hashes and self.folder.is_dir():
            for path in [path for path in self.folder.iterdir() if _ENTRY.fullmatch(path.name)]:
                try:
                    provenance = read_provenance(path)
                except (ProvenanceError, FileNotFoundError):  # damaged, or deleted by another process meanwhile
                    continue
                if provenance is not None and provenance.report_sha256 in hashes:
                    path.unlink(missing_ok=True)
                    found += 1
        return found

    def _evict(self, *, keep: str) -> None:
        """Delete the least recently used entries until the limit holds, and what killed processes left unfinished.

        Other files in the folder are neither counted nor deleted. Takes time linear in the number of files.
        """
        entries = []
        with os.scandir(self.folder) as files:
            for file in files:
                if _ENTRY.fullmatch(file.name):
                    with contextlib.suppress(FileNotFoundError):  # evicted by another process meanwhile
                        status = file.stat()
                        entries.append((status.st_mtime_ns, file.name, status.st_size))
                elif _ENTRY.fullmatch(unfinished_target(file.name) or ""):
                    remove_if_abandoned(Path(file.path))
        excess = sum(size for _, _, size in entries) - self.max_bytes
        for _, name, size in sorted(entries):
            if excess <= 0:
                break
            if name != keep:
                (self.folder / name).unlink(missing_ok=True)
                excess -= size
