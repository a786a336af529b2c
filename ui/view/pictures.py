"""Images of cases as small pictures, on cards and in rows.

All are decoded under the limits for uploads, and the checksum of an archive's file is compared before it is shown: an
archive may refer to files in place, and files of its store may have been exchanged. What is shown is kept in memory
until the file or the archive changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.image_labels import EXPLAINED, PHANTOM
from ui.pictures.sizes import CARD, png_bytes, readable
from ui.text.case import natural_size_text
from ui.view.escape import escape
from ui.view.session import guarded, service

if TYPE_CHECKING:
    from index_store import Case, Image

ENLARGED: Final = 4
"""Screen pixels for one of a picture at most: a crop of a cell is not blown up to the size of a field."""


def show_image(case: Case, image: Image, *, at_most: int, alt: str) -> None:
    """Show an image of a case, labelled where it is a phantom, with its own size; where its file cannot be read, the
    reason instead."""
    picture, problem = guarded(lambda: image_png(image, at_most=at_most))
    if picture is None:
        st.error(escape(problem))
        return
    st.image(picture, alt=alt, width=image.width * ENLARGED, output_format="PNG")
    if case.phantom:
        st.badge(EXPLAINED[PHANTOM], color="violet")
    st.caption(escape(natural_size_text(image)))
    if image.note:
        st.text(f"Note: {image.note}.")


def image_png(image: Image, *, at_most: int = CARD) -> bytes:
    """PNG bytes of an archive's image.

    Raises:
        index_store.ImageNotFoundError: it was removed, or its file is gone.
        index_store.ImageProblem: its file cannot be read, or is not the one that was added.
    """
    archive = service().archive
    revision = archive.revision
    kept = _kept_revision()
    if kept.get(archive.uuid) != revision:  # pictures of removed cases must not stay in memory
        _file_png.clear()
        kept[archive.uuid] = revision
    known = _existing(archive.uuid, revision, image.id)
    return _file_png(str(known), image.file_sha256, _stamp(known), at_most)


@st.cache_resource(show_spinner=False)
def _kept_revision() -> dict[str, int]:
    """By archive, the revision whose pictures are kept in memory."""
    return {}


@st.cache_data(max_entries=10_000, show_spinner=False)
def _existing(archive: str, revision: int, image_id: int) -> Path:
    """The path of an image that is in the archive at this revision."""
    return service().archive.image(image_id).path


def _stamp(path: Path) -> tuple[int, ...]:
    """What changes where a file is replaced or written to."""
    from index_store import ImageNotFoundError

    try:
        state = path.stat()
    except OSError as error:
        raise ImageNotFoundError(f"The file of the image is gone ({error.strerror}).") from error
    return state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


@st.cache_data(max_entries=2000, ttl=3600, show_spinner=False)
def _file_png(path: str, file_sha256: str, stamp: tuple[int, ...], at_most: int) -> bytes:
    """PNG bytes of the file; `stamp` is part of the key, so that a replaced file is read, and compared, anew."""
    from index_store import decode_image

    return png_bytes(readable(decode_image(Path(path), expected=file_sha256), at_most=at_most))
