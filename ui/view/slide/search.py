"""Search by a whole slide of the view's folder, or by a part of it: `coin search --slide --at` in the view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from index_store import MAX_MPP, MIN_MPP
from ui.view.escape import escape
from ui.view.session import current_query, guarded, refuse, service, try_query
from ui.view.slide.shown import open_slides, query_slide_picture
from ui.view.viewer.component import BESIDE, Box, Pane, show_viewer

if TYPE_CHECKING:
    from retrieval import Query, SearchResult

SLIDE_PAGE: Final = "slide/page.py"
DRAW: Final = "Search by a part"


def query_by_slide(fingerprint: str, mpp: float | None = None, text: str = "") -> None:
    """Query by the chosen fields of a slide; the page that shows the slide then leads to the search."""
    _query(fingerprint, None, mpp, text)
    _fill_form()


def query_by_part(fingerprint: str, box: Box, *, mpp: float | None = None, text: str = "") -> None:
    """Query by a part of a slide, in pixels of its finest level; likewise."""
    _query(fingerprint, box, mpp, text)
    _fill_form()


def _query(fingerprint: str, box: Box | None, mpp: float | None, text: str) -> None:
    def made() -> Query:
        from retrieval import Query, SlideArea, SlideQuery

        path = open_slides().find(fingerprint)
        at = None if box is None else SlideArea(box.x, box.y, box.width, box.height)
        settings = service().settings
        slide = SlideQuery(str(path), at)
        return Query(slide=slide, mpp=mpp, text=text, seeds=service().seeds, preset=settings.preset)

    try_query(made)
    st.session_state["search_by"] = "Slide"
    st.session_state["searched"] = True


def _fill_form() -> None:
    """Only in a callback."""
    if (query := current_query()) is not None:
        st.session_state.update(slide_fields(query))


def slide_fields(query: Query) -> dict[str, object]:
    """What the form says of a query by a slide: it must not name another one than was searched."""
    path = "" if query.slide is None else query.slide.path
    names = {str(file): name for name, file in open_slides().names().items()}
    named = {"slide_name": names[path]} if path in names else {}
    return {**named, "slide_report": query.text, "slide_mpp": query.mpp}


def show_slide_form() -> None:
    """Show the form of a query by a slide of the view's folder, and the way to its page."""
    names = open_slides().names()
    if not names:
        st.text("There is no slide in the folder of slides (--slides).")
        return
    with st.form("query_by_slide", border=False):
        name = st.selectbox("Slide", names, key="slide_name", persist_state="session")
        mpp = st.number_input(
            "µm a pixel, if the slide does not say it",
            *(MIN_MPP, MAX_MPP, None),
            step=0.01,
            format="%.4g",
            key="slide_mpp",
            persist_state="session",
        )
        text = st.text_area("Its report, if there is one", height=100, key="slide_report", persist_state="session")
        with st.container(horizontal=True, gap="xsmall"):
            searched = st.form_submit_button("Search by slide", type="primary")
            opened = st.form_submit_button("Open the slide")
    if opened:
        st.switch_page(SLIDE_PAGE, query_params={"file": name})
    if searched:
        fingerprint, problem = guarded(lambda: open_slides().fingerprint_of(names[name]))
        if fingerprint is None:
            refuse(problem)
        else:
            _query(fingerprint, None, mpp, text or "")
            st.session_state.pop("searched", None)  # this is the page of the search


def show_query_slide(query: Query, result: SearchResult) -> None:
    """Show the query's slide beside its results, with the fields that query; another part of it can be drawn."""
    st.header("Query slide", anchor=False)
    if result.slide is not None:
        st.text(result.slide.name)
        at = query.slide.at if query.slide else None
        st.caption(f"Region {at}" if at is not None else f"{len(result.slide.fields)} of its fields")
    shown, problem = guarded(lambda: query_slide_picture(result))
    if shown is None:
        st.caption(escape(problem))
        return
    picture, marks = shown

    def search(_: str, box: Box) -> None:
        query_by_part(picture.id, box, mpp=query.mpp, text=query.text)
        st.session_state.pop("searched", None)

    show_viewer([Pane([picture], marks=marks, region=DRAW)], key="query-slide", height=BESIDE, on_region=search)
