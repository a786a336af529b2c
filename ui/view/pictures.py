"""Images of cases and uploads at the size in which the view shows them.

All are decoded under the limits for uploads: an archive may refer to files in place, which may have changed since.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.image_labels import PHANTOM, SYNTHETIC, image_label
from ui.pictures.sizes import CARD, png_bytes, readable
from ui.view.escape import escape
from ui.view.session import guarded

if TYPE_CHECKING:
    from index_store import Case, Image

_EXPLAINED: Final = {PHANTOM: "PHANTOM: rendered, no patient", SYNTHETIC: "SYNTHETIC: generated, no patient"}


def show_image(case: Case, image: Image, *, at_most: int, alt: str) -> None:
    """Show an image of a case, labelled where it is a phantom; where its file cannot be read, the reason instead."""
    picture, problem = guarded(lambda: image_png(image, at_most=at_most))
    if picture is None:
        st.error(escape(problem))
        return
    st.image(picture, alt=alt, width="stretch", output_format="PNG")
    _show_label(PHANTOM if case.phantom else "")


def show_upload(data: bytes, *, alt: str) -> None:
    """Show an uploaded image file, labelled where it shows no patient by its metadata."""
    picture, problem = guarded(lambda: upload_png(data))
    if picture is None:
        st.error(escape(problem))
    else:
        st.image(picture, alt=alt, width="stretch", output_format="PNG")
        _show_label(image_label(data))


def image_png(image: Image, *, at_most: int = CARD) -> bytes:
    """PNG bytes of an archive's image. Raises `index_store.ImageProblem` where its file cannot be read."""
    return _file_png(str(image.path), image.sha256, at_most)


def _show_label(label: str) -> None:
    if label:
        st.badge(_EXPLAINED[label], color="violet")


@st.cache_data(max_entries=2000, show_spinner=False)
def _file_png(path: str, sha256: str, at_most: int) -> bytes:
    """PNG bytes of the file; `sha256` is part of the key, so that a replaced image is not shown from the cache."""
    from index_store import decode_image

    return png_bytes(readable(decode_image(Path(path)), at_most=at_most))


@st.cache_data(max_entries=20, show_spinner=False)
def upload_png(data: bytes) -> bytes:
    """PNG bytes of an uploaded file, at a card's size. Raises `index_store.ImageProblem`."""
    from index_store import decode_image

    return png_bytes(readable(decode_image(data), at_most=CARD))
