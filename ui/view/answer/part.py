"""A part of the page that is drawn anew by itself: a touch within does not draw the whole page."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from ui.view.review.session import current_review
from ui.view.session import guarded


def show_part(show: Callable[..., None], *values: object) -> None:
    """Show a part. Where a touch within changes what other parts show (the query, the review), the page is drawn."""
    asked, review = _asked(), _review()
    is_touched = False

    def part() -> None:
        nonlocal is_touched
        if is_touched and (_asked() is not asked or _review() != review):
            st.rerun()
        show(*values)
        if is_touched and _asked() is not asked:
            st.rerun()
        is_touched = True

    st.fragment(part)()


def _asked() -> object:
    return st.session_state.get("query")


def _review() -> object:
    return guarded(current_review)[0], st.session_state.get("review_problem")
