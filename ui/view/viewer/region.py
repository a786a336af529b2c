"""Search by a region of the query's picture: drawn on it, or given in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.view.session import try_query
from ui.view.viewer.component import BESIDE, Box, Mark, Pane, Picture, show_viewer

if TYPE_CHECKING:
    from index_store import Case
    from retrieval import Query, Region

DRAW: Final = "Search by a region"


def show_query_picture(query: Query, pictures: Sequence[Picture], *, start: int = 0) -> None:
    """Show the pictures of a query's upload or case; a region that is drawn on one is searched by at once."""
    sizes = {picture.id: (picture.width, picture.height) for picture in pictures}

    def search(picture: str, box: Box) -> None:
        try_query(lambda: query.within(region_of(box, *sizes[picture]), image_id=_image_id(query, picture)))

    shown = pictures[start]
    marks = () if query.region is None else (Mark(shown.id, box_of(query.region, *sizes[shown.id])),)
    show_viewer(
        [Pane(pictures, start=start, marks=marks, region=DRAW)], key="query-picture", height=BESIDE, on_region=search
    )
    if query.region is not None:
        st.button("Whole image again", on_click=try_query, args=(lambda: query.within(None),))
    _show_numbers(query, shown)


def query_by_region(case: Case, picture: str, box: Box) -> None:
    """Query by a part of a case's image; the page that shows the case then leads to the search."""
    image = next(image for image in case.images if str(image.id) == picture)

    def made() -> Query:
        from retrieval import Query

        region = region_of(box, image.width, image.height)
        return Query(case=case.key, image_id=image.id, region=region)

    try_query(made)
    st.session_state["search_by"] = "Case"
    st.session_state["case_key"] = case.key
    st.session_state["searched"] = True


def region_of(box: Box, width: int, height: int) -> Region:
    """A part of a picture of that size as fractions. Raises `retrieval.QueryError` where it is none."""
    from retrieval import Region

    return Region(box.x / width, box.y / height, (box.x + box.width) / width, (box.y + box.height) / height)


def box_of(region: Region, width: int, height: int) -> Box:
    """The inverse of `region_of`."""
    left, top = round(region.left * width), round(region.top * height)
    return Box(left, top, round(region.right * width) - left, round(region.bottom * height) - top)


def _show_numbers(query: Query, picture: Picture) -> None:
    """Fields for who cannot draw: the region in pixels of the picture."""
    width, height = picture.width, picture.height
    box = Box(0, 0, width, height) if query.region is None else box_of(query.region, width, height)
    # Fields of their own for each picture and region: numbers for another one do not apply to this one.
    name = f"{hash((query.image, query.case, picture.id, query.region))}"
    with st.expander("Region in numbers"), st.form(f"region-{name}", border=False):
        fields = (
            *(("Left", box.x, 0, width - 1), ("Top", box.y, 0, height - 1)),
            *(("Width", box.width, 1, width), ("Height", box.height, 1, height)),
        )
        keys = {label: f"region-{label}-{name}" for label, *_ in fields}
        for label, value, least, most in fields:
            st.number_input(f"{label}, pixels", least, most, value, key=keys[label])
        st.form_submit_button("Search by this part", on_click=_search_by_numbers, args=(query, picture, keys))


def _search_by_numbers(query: Query, picture: Picture, keys: dict[str, str]) -> None:
    x, y, width, height = (int(st.session_state[keys[label]]) for label in ("Left", "Top", "Width", "Height"))
    box = Box(x, y, min(width, picture.width - x), min(height, picture.height - y))
    region = region_of(box, picture.width, picture.height)
    try_query(lambda: query.within(region, image_id=_image_id(query, picture.id)))


def _image_id(query: Query, picture: str) -> int | None:
    return int(picture) if query.case else None
