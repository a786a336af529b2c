"""From a field in a viewer to its place on its slide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

if TYPE_CHECKING:
    from index_store import Case

SLIDE_PAGE: Final = "slide/page.py"


def show_place(cases: Sequence[Case], picture: str) -> None:
    """Note that a field of one of the cases is to be shown on its slide: `go_to_place` leads there."""
    for case in cases:
        for image in case.images:
            if str(image.id) == picture and image.place is not None:
                st.session_state["place"] = {"case": case.key, "slide": image.place.slide, "image": picture}


def go_to_place() -> None:
    """Open the slide that was asked for, if one was: after the viewer that asks, since callbacks cannot."""
    if asked := st.session_state.pop("place", None):
        st.switch_page(SLIDE_PAGE, query_params=asked)
