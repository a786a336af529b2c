"""Images of cases as small pictures, on cards and in rows.

The browser loads them by their addresses when they come into sight, and keeps them: the page itself holds no pixel
(`ui.serving.pictures`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.html.rendering import render
from ui.image_labels import EXPLAINED, PHANTOM
from ui.serving.pictures.addresses import THUMBNAIL, image_url
from ui.text.case import natural_size_text
from ui.view.escape import escape
from ui.view.viewer.component import Picture
from ui.view.viewer.shown import base_path

if TYPE_CHECKING:
    from index_store import Case, Image

ENLARGED: Final = 4
"""Screen pixels for one of a picture at most: a crop of a cell is not blown up to the size of a field."""


def show_image(case: Case, image: Image, *, at_most: int, alt: str) -> None:
    """Show an image of a case, labelled where it is a phantom, with its own size. Where its file cannot be read, the
    browser shows the server's reason in its place (behaviour.js)."""
    st.html(
        render("pictures.html", kind="coin-one", pictures=[_small(image, at_most, alt)], shown=image.width * ENLARGED)
    )
    if case.phantom:
        st.badge(EXPLAINED[PHANTOM], color="violet")
    st.caption(escape(natural_size_text(image)))
    if image.note:
        st.text(f"Note: {image.note}.")


def show_small(images: Sequence[Image], *, width: int, alt: str) -> None:
    """Show images in rows, without a word beside them, `width` pixels wide each."""
    of = f" of {len(images)}"
    small = [_small(image, THUMBNAIL, f"{alt}{number}{of}") for number, image in enumerate(images, start=1)]
    st.html(render("pictures.html", kind="coin-row", pictures=small, shown=width), width="content")


def _small(image: Image, side: int, alt: str) -> Picture:
    """Its file has `side` pixels at most."""
    return Picture(str(image.id), image_url(base_path(), image, side=side), image.width, image.height, alt)
