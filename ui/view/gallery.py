"""The nearest cases of each category of one reporting system, a row for each category, and look-alikes side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.pictures.sizes import CARD
from ui.view.escape import escape
from ui.view.pictures import show_image
from ui.view.review.place import place
from ui.view.viewer.enlarged import enlarge

if TYPE_CHECKING:
    from retrieval import CategoryRow, Gallery

CASE_PAGE: Final = "case_page.py"
COMPARE_PAGE: Final = "compare/page.py"


def show_gallery(gallery: Gallery | None) -> None:
    """Show a row for each category with its nearest cases; None: no reporting system is known."""
    if gallery is None:
        st.text("No reporting system is known for this query or its results, so there are no categories to compare.")
        return
    where = f" at {gallery.site}" if gallery.site else ""
    st.subheader(f"The nearest of each category in {escape(gallery.system)}{escape(where)}", anchor=False)
    st.caption(
        "Each row shows its category's nearest cases, however dissimilar they are. It is a comparison and no vote."
    )
    if gallery.look_alikes:
        st.markdown(f"**Look-alikes of {escape(gallery.category)}, side by side**")
        with st.container(key="cards-4-alike"):
            for column, row in enumerate(gallery.look_alikes):
                with st.container(gap="xsmall"):
                    st.markdown(f"**{escape(row.category)}**")
                    if row.cases:
                        _show_tile(row, 1, name=f"alike-{column}")
                    else:
                        st.caption("no case in this archive")
        for source in gallery.sources:  # below: on a telephone they would push the pictures out of sight
            doi = f" doi:{source.doi}" if source.doi else ""
            st.caption(escape(f"{source.why} {source.source}{doi}"))
    for line, row in enumerate(gallery.rows):
        if row.available:
            patients = f"{row.available} patient{'' if row.available == 1 else 's'}"
            st.markdown(f"**{escape(row.category)}** · {escape(row.tier)} · {patients}")
            with st.container(key=f"cards-4-row-{line}"):
                for number, _ in enumerate(row.cases, start=1):
                    with st.container(gap="xsmall"):
                        _show_tile(row, number, name=f"row-{line}-{number}")
    if gallery.without_cases:
        st.caption(f"Without a case in this archive: {escape(', '.join(gallery.without_cases))}.")


def _show_tile(row: CategoryRow, number: int, *, name: str) -> None:
    entry = row.cases[number - 1]
    # Category and number make the labels unique for screen readers and tests.
    words = f"{escape(row.category)} {number}{' (look-alike)' if name.startswith('alike') else ''}"
    with st.container(key=f"picture-{name}"):
        # Laid over the picture by style.css: a click on it, or the key Enter, enlarges.
        enlarged = st.button(f"Enlarge {words}", key=f"enlarge-{name}")
        show_image(entry.case, entry.image, at_most=CARD, alt=f"{row.category}, {number}")
    if enlarged:
        enlarge(entry.case, entry.image)
    similarity = "" if entry.similarity is None else f"similarity **{entry.similarity:.3f}** · "
    st.caption(f"{similarity}{escape(entry.case.key)}")
    with st.container(horizontal=True, gap="xsmall"):
        for label, page in (("Compare", COMPARE_PAGE), ("Open", CASE_PAGE)):
            if st.button(f"{label} {words}", key=f"{label}-{name}"):
                st.switch_page(page, query_params={"case": entry.case.key, **place()})
