"""A case's picture enlarged over the page."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.view.escape import escape
from ui.view.slide.place import go_to_place, show_place
from ui.view.viewer.component import Pane, show_viewer
from ui.view.viewer.region import DRAW, query_by_region
from ui.view.viewer.shown import case_picture

if TYPE_CHECKING:
    from index_store import Case, Image

WIDTH: Final = 1200
MOST: Final = 12
"""Pictures of the case beside the one that was asked for."""


def pictures_around(case: Case, image_id: int | None) -> Pane:
    """An image of a case (None: its first) among those that stand next to it."""
    ids = [image.id for image in case.images]
    shown = ids.index(image_id) if image_id in ids else 0
    first = max(0, min(shown - MOST // 2, len(ids) - MOST))
    pictures = [
        case_picture(case, image, alt=f"Image {number} of {len(ids)}")
        for number, image in enumerate(case.images[first : first + MOST], start=first + 1)
    ]
    return Pane(pictures, start=shown - first, region=DRAW)


def enlarge(case: Case, image: Image) -> None:
    """Open a window over the page that shows an image at its own pixels; a region of it can be searched by."""

    search, open_slide = partial(query_by_region, case), partial(show_place, [case])

    def show() -> None:
        show_viewer([pictures_around(case, image.id)], key="enlarged", on_region=search, on_place=open_slide)
        go_to_place()
        if st.session_state.pop("searched", False):
            st.rerun()

    st.session_state["window"] = True
    st.dialog(f"Case {escape(case.key)}", width=WIDTH, on_dismiss=closed_window)(show)()


def window_is_open() -> bool:
    """Whether such a window is over the page: drawing the page anew would close it."""
    return bool(st.session_state.get("window", False))


def closed_window() -> None:
    """Note that it was closed: by its reader, or because the page is drawn anew."""
    st.session_state["window"] = False
