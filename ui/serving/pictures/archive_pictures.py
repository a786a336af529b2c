"""An archive's pictures as files for a browser, read under the limits for uploads and compared with their checksums."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Final

from ui.pictures.sizes import fitted, png_bytes

if TYPE_CHECKING:
    from index_store import Archive, Image

AT_ONCE: Final = 2
"""Pictures decoded at the same time: one may have 100 megapixels."""
_DECODING: Final = threading.BoundedSemaphore(AT_ONCE)
KEPT: Final = 128
"""Smaller pictures that are kept for the next reader, the last asked for: some 50 MB."""
_KEPT: Final[dict[str, bytes]] = {}
_KEEPING: Final = threading.Lock()


def small_file(image: Image, side: int, tag: str) -> bytes:
    """What `image_file` gives, made once for all readers as long as it has the same tag (`image_tag`). Raises the
    same."""
    with _KEEPING:
        data = _KEPT.pop(tag, None)
    data = data or image_file(image, side)
    with _KEEPING:
        _KEPT[tag] = data
        for old in list(_KEPT)[:-KEPT]:
            del _KEPT[old]
    return data


def image_file(image: Image, side: int | None = None) -> bytes:
    """The image as a PNG file of its own pixels, or with its longer side at `side` pixels at most.

    Raises:
        index_store.ImageProblem: its file is gone, cannot be read, or is not the one that was added.
    """
    from index_store import decode_image

    with _DECODING:
        picture = decode_image(image.path, expected=image.file_sha256)
        if side is not None and max(picture.size) > side:
            picture = fitted(picture, side)
        return png_bytes(picture)


def image_tag(image: Image, side: int | None = None) -> str:
    """What `image_file` gives, named without reading it: another file at its place has another name. Empty where there
    is none."""
    try:
        state = image.path.stat()
    except OSError:
        return ""
    stamp = state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
    return hashlib.sha256(f"{image.file_sha256} {side} {stamp}".encode()).hexdigest()[:32]


def overview_file(archive: Archive, case: str, fingerprint: str) -> bytes | None:
    """The archive's overview of a case's slide, a JPEG; None where it has none.

    Raises:
        index_store.CaseNotFoundError: there is no such case.
        index_store.ImageProblem: as of `image_file`.
    """
    from index_store import decode_image, read_source

    for slide in archive.case(case).slides:
        if slide.fingerprint == fingerprint and slide.overview is not None:
            data = read_source(slide.overview)
            decode_image(data, expected=slide.overview_sha256)
            return data
    return None
