"""Whether a file is a whole slide, by its name and its headers: nothing of it is decoded.

What is a slide here is opened as one, which may still refuse it, and say why. A tiled TIFF that is no larger than a
camera's picture is an image, and so is a DICOM file of another kind than whole slides.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from index_store.files.headers.refusal import PictureRefused
from index_store.files.headers.tiff_directories import TILE_WIDTH, read_directories

SUFFIXES: Final = (".svs", ".svslide", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu")
PICTURES: Final = (".png", ".jpg", ".jpeg", ".jp2", ".bmp", ".webp", ".gif", ".ppm", ".pgm")
"""Such files are not looked into."""
LARGEST_FIELD: Final = 4_000
"""Pixels of the longer side of a tiled TIFF up to which it is a field: cameras on microscopes give some 4,000."""
WHOLE_SLIDE: Final = b"1.2.840.10008.5.1.4.1.1.77.1.6"
"""The class of DICOM files that hold (a part of) a whole slide; it stands in the first of its headers."""
HEADER_BYTES: Final = 4_096
MEDIA_DIRECTORY: Final = "DICOMDIR"
"""Beside it, the files of exported media lie in folders of folders. It names patients, and is not read."""
FILES_SEEN: Final = 1_000
"""Files of a folder that are looked at for one of DICOM."""
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_slide(path: Path) -> bool:
    """Whether the file is a whole slide, or the folder one of a DICOM series. False where it cannot be read."""
    try:
        if path.name == MEDIA_DIRECTORY:
            return is_slide(path.parent)
        if path.is_dir():
            return any(_is_dicom(file) for file in islice(files_of_series(path), FILES_SEEN) if file.is_file())
        suffix = path.suffix.lower()
        if suffix in SUFFIXES:
            return True
        return suffix not in PICTURES and path.is_file() and (_is_dicom(path) or _is_large_tiff(path))
    except OSError:
        return False


def files_of_series(folder: Path) -> Iterator[Path]:
    """What may be a file of the DICOM series in a folder."""
    listed = folder.rglob("*") if (folder / MEDIA_DIRECTORY).is_file() else folder.iterdir()
    return (path for path in listed if path.name != MEDIA_DIRECTORY)


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    return head[128:132] == b"DICM" and WHOLE_SLIDE in head


def _is_large_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(4) not in _TIFF:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                _, pages = read_directories(data)
            except PictureRefused:
                return False  # the reader of images says what is wrong
    return bool(pages[0].number(TILE_WIDTH)) and max(pages[0].size) > LARGEST_FIELD
