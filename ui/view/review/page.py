"""The page of a review: its cases in the user's order, with pictures, reports, ticks and notes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import streamlit as st

from retrieval import judgements_text
from ui.html.sheet_page import sheet_page
from ui.pictures.sizes import CARD
from ui.review.judgements import judged_queries, marked_query
from ui.review.records import TICKS
from ui.review.sheet import make_sheet, sheet_csv, sheet_json
from ui.text.case import case_summary
from ui.text.query import picture_words
from ui.view.escape import escape
from ui.view.pictures import show_image, show_small
from ui.view.review.session import (
    change,
    create_review,
    current_review,
    open_review,
    reviewed_case,
    reviews,
)
from ui.view.session import guarded, left_case, service, try_query
from ui.view.viewer.enlarged import enlarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from index_store import Case, Image
    from ui.review.records import Found, Pin, Review
    from ui.review.sheet import EvidenceSheet

SEARCH_PAGE: Final = "search_page.py"
CASE_PAGE: Final = "case_page.py"
COMPARE_PAGE: Final = "compare/page.py"
NOTE_HEIGHT: Final = 96  # pixels
SMALL: Final = 96  # pixels
OTHERS: Final = 11  # images of a case beside the one that was found: as many as are enlarged together


def show_choice(review: Review | None) -> None:
    """Show which review is open, and how to begin and delete one."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if review is not None:
            names = reviews().names()
            st.session_state["review_chosen"] = review.name
            st.selectbox("Name", names, key="review_chosen", on_change=_open_chosen)
        with st.popover("New review"), st.form("new_review", border=False, clear_on_submit=True):
            st.text_input("Name of the review", key="new_review_name")
            st.form_submit_button("Begin", on_click=_create)
        if review is not None:
            with st.popover("Delete"):
                st.text(f"Delete “{review.name}” with its notes? The archive's cases stay as they are.")
                st.button("Delete this review", on_click=change, args=(lambda: reviews().delete(review.name),))
        if st.button("Back to the search"):
            st.switch_page(SEARCH_PAGE)


def _open_chosen() -> None:
    open_review(st.session_state["review_chosen"])


def _create() -> None:
    create_review(st.session_state["new_review_name"] or "")


def show_review(review: Review) -> None:
    """Show the note on the whole, and the cases."""
    _show_note(review, "Note on the whole", review.note)
    if not review.pins:
        st.text("No case is pinned. Pin cases on the cards of a result, or on a case's own page.")
    for number, pin in enumerate(review.pins, start=1):
        with st.container(border=True):
            _show_pin(review, number, pin)
    if review.pins:
        _show_sheets(review)
        _show_feedback(review)
    if review.unpinned:
        with st.expander(f"Taken from this review: {len(review.unpinned)}"):
            st.text("Their notes are kept. A case that is pinned again has its note and ticks again.")
            for pin in review.unpinned:
                st.button(
                    f"Pin {escape(pin.case)} again",
                    key=f"again-{pin.case}",
                    on_click=change,
                    args=(partial(reviews().pin, review.name, pin.case),),
                )
                if pin.note:
                    st.text(pin.note)


def _show_sheets(review: Review) -> None:
    """Show the downloads. The sheet is made when one is clicked; all its cases are on the page, and recorded."""
    archive, store = service().archive, reviews()

    def made(write: Callable[[EvidenceSheet], str]) -> bytes:
        return write(make_sheet(archive, store, review, archive.case)).encode()

    def judged() -> str:
        return judgements_text(archive.uuid, judged_queries(archive, store, review))

    st.markdown("**Evidence sheet**")
    with st.container(horizontal=True, gap="xsmall"):
        for label, write, name, kind in (
            ("Page that prints", sheet_page, "evidence-sheet.html", "text/html"),
            ("JSON", sheet_json, "evidence-sheet.json", "application/json"),
            ("Table (CSV)", sheet_csv, "evidence-sheet.csv", "text/csv"),
        ):
            st.download_button(label, partial(made, write), name, kind, key=f"sheet-{name}", on_click="ignore")
        if any(pin.found is not None and pin.ticks for pin in review.pins):
            st.download_button(
                "Judgements",
                lambda: judged().encode(),
                "judgements.json",
                "application/json",
                help="What you ticked, with the queries whole, to measure a search by",
                on_click="ignore",
            )


def _show_feedback(review: Review) -> None:
    """Show a button for each query that found ticked cases: it is made again, with the ticks as relevance feedback."""
    judged, problem = guarded(lambda: judged_queries(service().archive, reviews(), review))
    if problem:
        st.error(escape(problem))
    for number, each in enumerate(judged or (), start=1):
        words, count = picture_words(each.query) or "the report", len(each.relevant)
        if st.button(
            f"Search again by {escape(words)}, with your ticks on {count} case{'' if count == 1 else 's'}",
            key=f"feedback-{number}",
            help="More like what is ticked relevant, less like what is ticked otherwise",
            on_click=try_query,
            args=(partial(marked_query, each),),
        ):
            st.switch_page(SEARCH_PAGE)


def _show_pin(review: Review, number: int, pin: Pin) -> None:
    case, problem = guarded(lambda: reviewed_case(pin.case))
    left, right = st.columns([1, 2.2], gap="medium")
    with left:
        if case is None:
            st.error(escape(problem))
            st.text("Nothing of it is kept here but your note and ticks.")
        elif case.images:
            image = _image_of(case, pin)
            with st.container(key=f"picture-{number}"):
                # Laid over the picture by style.css: a click on it, or the key Enter, enlarges.
                enlarged = st.button(f"Enlarge {number}", key=f"enlarge-{number}")
                show_image(case, image, at_most=CARD, alt=f"Case {number}: {case_summary(case, image)}")
            if enlarged:
                enlarge(case, image)
            _show_others(case, image, number)
    with right:
        with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
            st.markdown(f"**{number}. {escape(pin.case)}**", width="stretch")
            _show_order(review, number, pin)
        if case is not None:
            st.markdown(escape(case_summary(case)))
        if pin.found is not None:
            _show_found(pin.found)
        _show_ticks(review, number, pin)
        _show_note(review, f"Note on {number}", pin.note, case=pin.case)
        if case is not None:
            with st.expander("Report", expanded=True):
                st.text(case.report)
        if case is not None:
            with st.container(horizontal=True, gap="xsmall"):
                for label, page in (("Open case", CASE_PAGE), ("Compare", COMPARE_PAGE)):
                    if st.button(f"{label} {number}", key=f"{label}-{pin.case}"):
                        st.switch_page(page, query_params={"case": pin.case})


def _show_order(review: Review, number: int, pin: Pin) -> None:
    """Show the buttons that move a case and take it from the review, beside its key as on the card of a result."""
    store = reviews()
    for label, icon, call, useless in (
        ("Up", "arrow_upward", partial(store.move, review.name, pin.case, -1), number == 1),
        ("Down", "arrow_downward", partial(store.move, review.name, pin.case, 1), number == len(review.pins)),
        ("Unpin", "keep_off", partial(store.unpin, review.name, pin.case), False),
    ):
        st.button(
            f"{label} {number}",
            key=f"{label}-{pin.case}",
            icon=f":material/{icon}:",
            type="tertiary",
            disabled=useless,
            on_click=change,
            args=(call,),
        )


def _show_found(found: Found) -> None:
    """How a search had found the case: the number of its card, and what that was made of."""
    st.caption(escape(" · ".join(filter(None, (f"Found as #{found.rank}", found.score_text)))))
    if made_of := " · ".join(filter(None, (*found.made_of, found.lead))):
        st.caption(escape(made_of))


def _show_others(case: Case, image: Image, number: int) -> None:
    """The case's other images; all can be enlarged with the first."""
    others = [other for other in case.images if other.id != image.id]
    if others:
        show_small(others[:OTHERS], width=SMALL, alt=f"Case {number}, other image ")
    if len(others) > OTHERS:
        st.caption(f"{len(others) - OTHERS} more: open the case")


def _image_of(case: Case, pin: Pin) -> Image:
    wanted = None if pin.found is None else pin.found.image_id
    return next((image for image in case.images if image.id == wanted), case.images[0])


def _show_ticks(review: Review, number: int, pin: Pin) -> None:
    key = f"ticks-{review.name}-{pin.case}"
    st.session_state[key] = list(pin.ticks)

    def store() -> None:
        change(lambda: reviews().tick(review.name, pin.case, tuple(st.session_state[key] or ())))

    st.pills(f"Case {number} is", TICKS, selection_mode="multi", key=key, on_change=store, wrap=True)


def _show_note(review: Review, label: str, note: str, *, case: str = "") -> None:
    """A note's field. `written` is what was stored when the field showed it last: where it is another by now, and
    nothing was typed here, the field shows that."""
    key, written = f"note-{review.name}-{case}", f"written-{review.name}-{case}"
    if key not in st.session_state or st.session_state[key] == st.session_state.get(written):
        st.session_state[key] = st.session_state[written] = note

    def store() -> None:
        def stored() -> None:
            typed, base = st.session_state[key] or "", st.session_state[written]
            kept = reviews().write_note(review.name, typed, case=case, base=base)
            st.session_state[key] = st.session_state[written] = kept
            if kept != typed:
                st.session_state["review_problem"] = "A note was changed in another tab meanwhile: both are kept."

        change(stored)

    st.text_area(label, key=key, height=NOTE_HEIGHT, on_change=store, placeholder="Kept when you leave the field")


left_case()
st.title("Review", anchor=False)
review, problem = guarded(current_review)
if problem:
    st.error(escape(problem))
else:
    show_choice(review)
    if review is None:
        st.text("Pin cases on the cards of a result, or on a case's own page; or begin a review under a name.")
    else:
        show_review(review)
