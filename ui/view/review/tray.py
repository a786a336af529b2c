"""The tray in the sidebar: the pinned cases of the session's review; and the button that pins a case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.view.escape import escape
from ui.view.review.session import current_review, pin_case, pin_result, pinned_keys, review_problem, unpin
from ui.view.session import guarded

if TYPE_CHECKING:
    from collections.abc import Container

    from retrieval import RankedCase, SearchResult

REVIEW_PAGE: Final = "review/page.py"
PIN: Final = ":material/keep:"
UNPIN: Final = ":material/keep_off:"
SHOWN: Final = 12
"""Cases that the tray names; the review's page has all."""


def show_tray() -> None:
    """Show the name of the session's review, its cases in order, and the way to its page."""
    review, problem = guarded(current_review)
    if problem := review_problem() or problem:
        st.error(escape(problem))
    if review is None:
        st.page_link(REVIEW_PAGE, label="Review: no case yet", icon=PIN)
        return
    count = f"{len(review.pins)} case{'' if len(review.pins) == 1 else 's'}"
    st.page_link(REVIEW_PAGE, label=f"Review: {count}", icon=PIN)
    keys = [f"{number}. {pin.case}" for number, pin in enumerate(review.pins, start=1)]
    more = [] if len(keys) <= SHOWN else [f"and {len(keys) - SHOWN} more"]
    st.text("\n".join([review.name, *keys[:SHOWN], *more]))


def show_result_pin(result: SearchResult, ranked: RankedCase, pinned: Container[str]) -> None:
    """Show the button that pins a case of a result, or takes it from the tray."""
    key, rank = ranked.case.key, ranked.rank
    if key in pinned:
        st.button(f"Unpin #{rank}", key=f"unpin-{rank}", icon=UNPIN, type="tertiary", on_click=unpin, args=(key,))
    else:
        st.button(
            f"Pin #{rank}",
            key=f"pin-{rank}",
            icon=PIN,
            type="tertiary",
            help="Keep it in your review, with a note",
            on_click=pin_result,
            args=(result, ranked),
        )


def show_case_pin(key: str) -> None:
    """The same for a case on its own page."""
    label, icon, call = ("Unpin", UNPIN, unpin) if key in pinned_keys() else ("Pin", PIN, pin_case)
    st.button(label, key="pin-case", icon=icon, on_click=call, args=(key,))
