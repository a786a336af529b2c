"""Rows by category: the nearest cases of each category of one reporting system, and the look-alikes side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.pictures.pictures import CARD
from ui.view.escape import escape
from ui.view.pictures import show_image

if TYPE_CHECKING:
    from retrieval import CategoryRow, Gallery

TILE: Final = 176  # pixels: four in a row beside the query at 1400
CASE_PAGE: Final = "case_page.py"


def draw_gallery(found: Gallery | None) -> None:
    """Draw the rows; each shows the best that its category has, however far."""
    if found is None:
        st.text("No reporting system is known for this query or its results, so there are no categories to compare.")
        return
    where = f" at {found.site}" if found.site else ""
    st.subheader(f"The nearest of each category in {escape(found.system)}{escape(where)}", anchor=False)
    st.caption("Each row shows the best that its category has, however far it is. It is a comparison and no vote.")
    if found.look_alikes:
        st.markdown(f"**Look-alikes of {escape(found.category)}, side by side**")
        for source in found.sources:
            doi = f" doi:{source.doi}" if source.doi else ""
            st.caption(escape(f"{source.why} {source.source}{doi}"))
        with st.container(horizontal=True, gap="medium"):
            for row in found.look_alikes:
                with st.container(width=TILE + 24):
                    st.markdown(f"**{escape(row.category)}**")
                    _draw_first(row)
    for row in found.rows:
        if row.available:
            st.markdown(f"**{escape(row.category)}** · {escape(row.tier)} · {row.available} patients")
            with st.container(horizontal=True, gap="small"):
                for number, _ in enumerate(row.cases, start=1):
                    with st.container(width=TILE):
                        _draw_tile(row, number, place="row")
    if found.without_cases:
        st.caption(f"Without a case in this archive: {escape(', '.join(found.without_cases))}.")


def _draw_first(row: CategoryRow) -> None:
    if row.cases:
        _draw_tile(row, 1, place="alike")
    else:
        st.caption("no case in this archive")


def _draw_tile(row: CategoryRow, number: int, *, place: str) -> None:
    entry = row.cases[number - 1]
    show_image(entry.case, entry.image, at_most=CARD, alt=f"{row.category}, {number}")
    st.caption(f"similarity **{entry.similarity or 0:.3f}** · {escape(entry.case.key)}")
    # A button's key may be any text; its label is told apart by category and number.
    side = " (look-alike)" if place == "alike" else ""
    if st.button(f"Open {escape(row.category)} {number}{side}", key=f"{place}-{row.category}-{number}"):
        st.switch_page(CASE_PAGE, query_params={"case": entry.case.key})
