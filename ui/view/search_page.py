"""The search page: the query on the left, the nearest cases on the right."""

from __future__ import annotations

import dataclasses

import streamlit as st

from ui.view.escape import escape
from ui.view.filters import draw_filters
from ui.view.query import draw_query
from ui.view.query_panel import draw_query_panel
from ui.view.results import draw_results
from ui.view.saved_queries import draw_saved_queries
from ui.view.state import answer, left_case, question, refusal, service


def draw_welcome() -> None:
    """What the page is for, and what the archive holds."""
    with st.container():
        st.subheader("Which cases look like this one?", anchor=False)
        st.text(
            "Give a report, an image or a case. The nearest reference cases appear here, each with its report. "
            "A report is compared with the archive's reports, and turned into synthetic images, which are compared "
            "with the archive's images."
        )
        sites = service().archive.facets()["site"].items()
        st.text("In this archive: " + (", ".join(f"{name or 'other'} {count}" for name, count in sites) or "no case"))


left_case()
where, k = draw_filters()
left, right = st.columns([1, 2.7], gap="medium")
with left, st.container(key="narrow"):
    draw_query_panel()
    beside = st.empty()
asked = question()
if asked is not None:
    asked = dataclasses.replace(asked, where=where, k=k)
draw_saved_queries(asked)
with right, st.container(key="wide"):
    if problem := refusal():
        st.error(escape(problem))
    if asked is None:
        draw_welcome()
    else:
        bar = st.progress(0.0, text="Searching; the first search loads the models")
        # Emptied before the work begins: the cases of the last query must not stand beside the new one.
        below = st.empty()

        def draw_progress(done: int, total: int) -> None:
            bar.progress(done / total, text=f"Generating synthetic images: step {done} of {total}")

        found = answer(asked, draw_progress)
        bar.empty()
        with below.container():
            if found.result is None:
                st.error(escape(found.problem))
            else:
                draw_results(found.result)
        if found.result is not None:
            with beside.container():
                draw_query(asked, found.result)
