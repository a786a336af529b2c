"""What a reader sees after closing: the results of all who have closed, and each picture's origin and rating."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from retrieval import Rating
from ui.image_labels import PHANTOM, SYNTHETIC
from ui.text.evaluation.reading import LIMITS, agreement_rows, guess_rows, introduction, score_rows
from ui.text.json_text import json_text
from ui.view.escape import escape
from ui.view.reading import session
from ui.view.session import guarded

if TYPE_CHECKING:
    from retrieval import Origin, Picture, Reader, ReaderStudy, ReaderStudyResults
    from ui.text.evaluation.reading import Rows

AT_ONCE: Final = 12
TILE: Final = 240  # pixels: the mark of a picture is not cut
LABELS: Final = {
    "generated": f"{SYNTHETIC}: generated, no patient",
    "phantom": f"{PHANTOM}: rendered, no patient",
    "real": "real: from the archive",
}


def show_closed(study: ReaderStudy, reader: Reader) -> None:
    """Show the results, and the pictures with their origins."""
    found, problem = guarded(lambda: session.results(study))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.header(f"Study '{escape(study.name)}', closed", anchor=False, width="stretch")
        if found is not None:
            st.download_button(
                "Download results as JSON",
                json_text({"results": found}),
                "coin-reading.json",
                "application/json",
                on_click="ignore",
            )
        st.button("Leave", on_click=session.leave)
    st.caption("Please do not discuss the pictures with readers who have not closed.")
    if found is None:
        st.error(escape(problem))
    else:
        _show_figures(found)
    st.markdown("**Origins of the pictures**")
    _show_origins(study, reader)


def _show_figures(found: ReaderStudyResults) -> None:
    for line in introduction(found):
        st.text(line)
    for title, rows in (
        ("Authenticity, from 1 to 5", score_rows(found)),
        ("Real or generated?", guess_rows(found)),
        ("Agreement of the readers", agreement_rows(found)),
    ):
        st.markdown(f"**{title}**")
        if rows:
            _show_table(rows)
        else:
            st.caption("Kappa needs two readers who have closed.")
    with st.expander("What this does not show"):
        for sentence in LIMITS:
            st.text(sentence)


def _show_table(rows: Rows) -> None:
    # A table that scrolls sideways must be reachable by keyboard: Streamlit's plain one is not.
    st.dataframe(list(rows), hide_index=True, width="stretch")


def _show_origins(study: ReaderStudy, reader: Reader) -> None:
    truth, problem = guarded(study.truth)
    if truth is None:
        st.error(escape(problem))
        return
    order, ratings = study.order(reader.name), study.ratings.of(reader.name)
    pages = -(-len(order) // AT_ONCE)
    shown = int(st.number_input(f"Page, 1 to {pages}", 1, pages, width=160)) if pages > 1 else 1
    first = (shown - 1) * AT_ONCE
    with st.container(horizontal=True, gap="small"):
        for number, picture in enumerate(order[first : first + AT_ONCE], start=first + 1):
            with st.container(width=TILE):
                _show_tile(study, picture, number, truth.origins[picture.id], ratings.get(picture.id, Rating()))


def _show_tile(study: ReaderStudy, picture: Picture, number: int, origin: Origin, rating: Rating) -> None:
    png, problem = guarded(lambda: session.part_png(study, picture.id))
    label = LABELS[origin.kind]
    if png is None:
        st.error(escape(problem))
    else:
        st.image(png, alt=f"Picture {number}: {label}", width="stretch", output_format="PNG")
    st.badge(label, color="gray" if origin.kind == "real" else "violet")
    ratings = [
        f"anatomic {rating.anatomic or '–'}",
        f"diagnostic {rating.diagnostic or '–'}",
        f"guessed {rating.guess or '–'}",
    ]
    about = [
        f"{number}. {', '.join(word for word in (origin.site, origin.category) if word) or 'nothing stated'}",
        f"Your rating: {', '.join(ratings)}",
    ]
    if origin.generated:
        about.append(f"Preset {origin.provenance.get('preset', '–')}, seed {origin.provenance.get('seed', '–')}")
    if rating.comment:
        about.append(rating.comment)
    st.text("\n".join(about))
