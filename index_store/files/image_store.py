"""Images on disk, each content once: `images/ab/abcdef….jpg`, named by the hash of the source's bytes.

Only pixels are stored: for a JPEG its own compressed data without metadata (see `jpeg_strip.py`); for every other
format, and every JPEG where that would not give the same pixels, a lossless PNG.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops

from index_store.atomic_write import private_folder, sync_folder, temporary_name, write_durably
from index_store.errors import ImageProblem, StorageError
from index_store.files.bit_depth import bands
from index_store.files.decode import decode_image
from index_store.files.jpeg_strip import strip_jpeg
from index_store.files.source_file import content_hash

WRITERS = 16
_NAME = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{62}\.(?:jpg|png)")


@dataclass(frozen=True)
class StoredImage:
    """One file of the store, before or after it is written."""

    name: str
    """Path within the store, with `/`."""
    sha256: str
    """Of the stored bytes (not of the source)."""


@dataclass(frozen=True)
class EncodedImage:
    """A file of the store before it is written."""

    stored: StoredImage
    data: bytes


def encode_for_store(image: Image.Image, source: bytes, sha256: str) -> EncodedImage:
    """The bytes by which the store keeps `image`.

    Args:
        image: `source` decoded: RGB, upright, without metadata.
        source: the file as it came.
        sha256: `content_hash(source)`; names the stored file.
    """
    data, suffix = _picture_of_jpeg(image, source), ".jpg"
    if data is None:
        # Level 1 is 3.4 × as fast as the default 6 and 10 % larger (same 25 fields).
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=1)
        data, suffix = buffer.getvalue(), ".png"
    name = f"{sha256[:2]}/{sha256}{suffix}"
    return EncodedImage(StoredImage(name, content_hash(data)), data)


def _picture_of_jpeg(image: Image.Image, source: bytes) -> bytes | None:
    stripped = strip_jpeg(source)
    if stripped is None:
        return None
    # Decoding the result proves it: an orientation flag, a dropped colour hint or a crafted file shows here.
    try:
        decoded = decode_image(stripped)
    except ImageProblem:
        return None
    if decoded.size != image.size:
        return None
    for box in bands(*image.size):  # a difference of the whole would take as much again
        if ImageChops.difference(decoded.crop(box), image.crop(box)).getbbox() is not None:
            return None
    return stripped


class ImageStore:
    """The folder of stored images. Which of its files are needed is known to the catalog only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """The path of a stored file.

        Names come from the database, which somebody else may have written: a name that this software never gives, and
        that might lead out of the folder, is refused.

        Raises:
            StorageError: not the name of a stored file.
        """
        if not _NAME.fullmatch(name):
            raise StorageError(
                f"The records name a file '{name[:100]}' that this software never stores. Restore the archive from a "
                "backup, and do not open archives of unknown origin."
            )
        return self._folder / name

    def names(self) -> list[str]:
        """The names of all files, half-written ones included, in alphabetical order."""
        return sorted(path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*") if path.is_file())

    def listed(self, name: str) -> Path:
        """The path of a file that `names` gave. Any name is accepted: others may have put files there."""
        return self._folder / name

    def sweep(self, names: Iterable[str]) -> None:
        """Delete files that `names` gave; files that are gone already are ignored."""
        for name in names:
            path = self.listed(name)
            path.unlink(missing_ok=True)
            if path.parent != self._folder:
                _remove_if_empty(path.parent)

    def holds(self, name: str) -> bool:
        """Whether the file is there."""
        return self.path(name).is_file()

    def write(self, images: Collection[EncodedImage]) -> None:
        """Write all of them durably, each atomically. After an `OSError` some of them are written."""
        paths = {image.stored.name: self.path(image.stored.name) for image in images}
        new = {path.parent for path in paths.values() if not path.parent.is_dir()}
        for folder in new:
            private_folder(folder)
        for folder in {self._folder, *(path.parent for path in paths.values())}:
            if folder.is_symlink():
                raise StorageError(f"{folder} is a link and leads out of the archive. Put a folder in its place.")
        folders = {path.parent for path in paths.values()}
        if new:
            folders |= {self._folder, self._folder.parent}

        def write(image: EncodedImage) -> None:
            write_durably(paths[image.stored.name], lambda file: file.write(image.data))

        # Nearly all of the time is spent waiting for the disk, which serves many requests as fast as one.
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(write, images))
            list(pool.map(sync_folder, folders))

    def discard(self, names: Iterable[str]) -> None:
        """Delete files, and what a crash left half-written of them; files that are gone already are ignored."""
        for name in names:
            path = self.path(name)
            for file in (path, temporary_name(path)):
                file.unlink(missing_ok=True)
            _remove_if_empty(path.parent)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not empty: other images live there
        folder.rmdir()
