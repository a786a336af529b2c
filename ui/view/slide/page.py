"""The page of one whole slide: tiles of its file with the fields of a case framed on it, and search by a part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.view.escape import escape
from ui.view.session import guarded, opened_case
from ui.view.slide.search import query_by_part, query_by_slide
from ui.view.slide.shown import box_at, field_marks, open_slides, overview_picture, overview_scale, slide_picture
from ui.view.viewer.component import Box, Pane, show_viewer

if TYPE_CHECKING:
    from index_store import Case, CaseSlide

SEARCH_PAGE: Final = "search_page.py"
CASE_PAGE: Final = "case_page.py"
DRAW: Final = "Search by a part of the slide"


def show_case_slide(case: Case, slide: CaseSlide, image_id: int | None) -> None:
    """Show a slide of a case at one of its fields; its overview where its file is not at hand."""
    fields = [image for image in case.images if image.place is not None and image.place.slide == slide.fingerprint]
    name = next((image.slide for image in fields if image.slide), slide.fingerprint[:12])
    chosen = next((image.place for image in fields if image.id == image_id), None)
    places = [(f"field {n}", image.place) for n, image in enumerate(fields, 1) if image.place is not None]
    strong = [] if chosen is None else [chosen]
    st.title(f"Slide {escape(name)} of case {escape(case.key)}", anchor=False)
    info, problem = guarded(lambda: open_slides().described(slide.fingerprint, name))
    if info is not None:
        marks = field_marks(info.fingerprint, places, strong=strong)
        at = None if chosen is None else _around(box_at(chosen), slide)
        picture = slide_picture(info, name, at=at, mpp=slide.mpp, plane=chosen.plane if chosen is not None else 0)
        _show_open(info.fingerprint, Pane([picture], marks=marks, region=DRAW), slide.mpp)
        return
    st.info(escape(problem))
    shown, problem = guarded(lambda: overview_picture(case, slide, name))
    if shown is None:
        st.error(escape(problem))
        return
    marks = field_marks(slide.fingerprint, places, strong=strong, scale=overview_scale(slide))
    show_viewer([Pane([shown], marks=marks)], key="slide")


def show_file(name: str) -> None:
    """Show a slide of the view's folder."""
    files = open_slides()
    path = files.names().get(name)
    st.title(f"Slide {escape(name)}", anchor=False)
    if path is None:
        st.error(escape(f"There is no slide {name} in the folder of slides that this view may open."))
        return
    info, problem = guarded(lambda: files.described(files.fingerprint_of(path)))
    if info is None:
        st.error(escape(problem))
    else:
        _show_open(info.fingerprint, Pane([slide_picture(info, name)], region=DRAW), None)


def _show_open(fingerprint: str, pane: Pane, mpp: float | None) -> None:
    known = mpp if open_slides().described(fingerprint).mpp is None else None
    st.button("Search by the whole slide", on_click=query_by_slide, args=(fingerprint, known))
    show_viewer([pane], key="slide", height="62vh", on_region=lambda _, box: query_by_part(fingerprint, box, mpp=known))
    _show_numbers(fingerprint, pane.pictures[0].width, pane.pictures[0].height, known)
    if st.session_state.pop("searched", False):
        st.switch_page(SEARCH_PAGE)


def _show_numbers(fingerprint: str, width: int, height: int, mpp: float | None) -> None:
    """Fields for who cannot draw: the part in pixels of the finest level."""
    with st.expander("Part in numbers"), st.form("part", border=False):
        x = st.number_input("Left, pixels", 0, width - 1, 0)
        y = st.number_input("Top, pixels", 0, height - 1, 0)
        wide = st.number_input("Width, pixels", 1, width, min(width, 512))
        high = st.number_input("Height, pixels", 1, height, min(height, 512))
        if st.form_submit_button("Search by this part"):
            query_by_part(fingerprint, Box(int(x), int(y), int(wide), int(high)), mpp=mpp)


def _around(box: Box, slide: CaseSlide) -> Box:
    """Three times as wide and high as a field: its surroundings are what a slide is opened for."""
    left, top = max(0, box.x - box.width), max(0, box.y - box.height)
    return Box(left, top, min(3 * box.width, slide.width - left), min(3 * box.height, slide.height - top))


def _show_asked() -> None:
    asked = st.query_params
    if name := asked.get("file", ""):
        show_file(name)
        return
    key, fingerprint = asked.get("case", ""), asked.get("slide", "")
    if not key:
        st.title("No slide chosen", anchor=False)
        st.text("A field's picture on the page of its case, or the query “Slide”, opens one.")
        return
    found, problem = guarded(lambda: opened_case(key))
    slide = next((one for one in found.slides if one.fingerprint == fingerprint), None) if found else None
    if found is None or slide is None:
        st.title("Slide", anchor=False)
        st.error(escape(problem or f"The case {key} has no such slide."))
        return
    image = asked.get("image", "")
    show_case_slide(found, slide, int(image) if image.isdecimal() else None)


with st.container(horizontal=True, gap="xsmall"):
    if st.query_params.get("case") and st.button("Back to the case"):
        st.switch_page(CASE_PAGE, query_params={"case": st.query_params["case"]})
    if st.button("Back to the search"):
        st.switch_page(SEARCH_PAGE)
_show_asked()
