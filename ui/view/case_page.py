"""The page of one case: all its images, the full report, and its metadata."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.text.case import label_text, slide_summary
from ui.view.escape import escape
from ui.view.review.place import restore_place
from ui.view.review.tray import show_case_pin
from ui.view.session import guarded, opened_case, query_by_case
from ui.view.slide.place import go_to_place, show_place
from ui.view.viewer.component import Pane, show_viewer
from ui.view.viewer.region import DRAW, query_by_region
from ui.view.viewer.shown import case_picture

if TYPE_CHECKING:
    from index_store import Case

SEARCH_PAGE: Final = "search_page.py"
IMAGES_AT_ONCE: Final = 12


def show_case(case: Case) -> None:
    """Show images on the left, report and details on the right."""
    st.title(f"Case {escape(case.key)}", anchor=False)
    left, right = st.columns([1.4, 1], gap="medium")
    with left, st.container(key="wide"):
        _show_images(case)
    with right, st.container(key="narrow"):
        with st.container(horizontal=True):
            if st.button("Find similar cases", type="primary", on_click=query_by_case, args=(case.key,)):
                st.switch_page(SEARCH_PAGE)
            show_case_pin(case.key)
            if st.button("Back to the search"):
                st.switch_page(SEARCH_PAGE)
        st.markdown("**Report**")
        st.text(case.report)
        st.markdown("**Details**")
        _show_details(case)


def _show_details(case: Case) -> None:
    rows = {
        "Site": label_text(case, "site"),
        "Reporting system": label_text(case, "system"),
        "Category": label_text(case, "category"),
        "Stain": case.stain,
        "Preparation": case.preparation,
        "Patient": case.patient,
        "Source": case.source,
        "License": case.license,
        **case.attributes,
    }
    slides = {"Slide" if number == 1 else f"Slide {number}": slide for number, slide in enumerate(case.slides, start=1)}
    rows |= {name: " ".join((f"{slide_summary(case, slide)}.", *slide.notes)) for name, slide in slides.items()}
    for name, value in rows.items():
        if value:
            label, text = st.columns([1, 2], gap="small")
            label.text(name)
            text.text(value)


def _show_images(case: Case) -> None:
    total = len(case.images)
    start = 0
    if total > IMAGES_AT_ONCE:
        pages = -(-total // IMAGES_AT_ONCE)
        start = (int(st.number_input(f"Page of images, 1 to {pages}", 1, pages)) - 1) * IMAGES_AT_ONCE
    shown = [
        case_picture(case, image, alt=f"Image {number} of {total}")
        for number, image in enumerate(case.images[start : start + IMAGES_AT_ONCE], start=start + 1)
    ]
    if shown:
        search, open_slide = partial(query_by_region, case), partial(show_place, [case])
        show_viewer([Pane(shown, region=DRAW)], key=f"case-{start}", on_region=search, on_place=open_slide)
    go_to_place()
    if st.session_state.pop("searched", False):
        st.switch_page(SEARCH_PAGE)


restore_place()  # of a page that is loaded again, for the way back to the search
key = st.query_params.get("case", "")
if not key:
    st.title("No case chosen", anchor=False)
    st.text("Search first, then open one of the cases found.")
    st.page_link(SEARCH_PAGE, label="Go to the search")
else:
    found, problem = guarded(lambda: opened_case(key))
    if found is None:
        st.title("Case", anchor=False)
        st.error(escape(problem))
        st.page_link(SEARCH_PAGE, label="Go to the search")
    else:
        show_case(found)
