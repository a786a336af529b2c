"""The search page: the query on the left, the cases found on the right."""

from __future__ import annotations

import streamlit as st

from retrieval import archive_labels
from ui.view.answer.images import show_images
from ui.view.answer.part import show_part
from ui.view.answer.search import search
from ui.view.escape import escape
from ui.view.filters import show_filters
from ui.view.query import show_query
from ui.view.query_panel import show_query_panel
from ui.view.question import show_question, show_refused
from ui.view.results import show_results
from ui.view.review.place import keep_place, restore_place, show_history
from ui.view.saved_queries import show_changes, show_saved_queries
from ui.view.session import Refused, current_query, left_case, refused, service


def show_welcome() -> None:
    """Show the purpose of the page, and the sites of the archive."""
    with st.container():
        st.header("Which cases look like this one?", anchor=False)
        st.text(
            "Give a report, an image or a case. Reference cases appear here, best first, each with its report. "
            "A report is compared with the archive's reports, and turned into synthetic images, which are compared "
            "with the archive's images."
        )
        sites = archive_labels(service().archive).facets()["site"]
        st.text("In this archive: " + (", ".join(f"{site.name} {site.cases}" for site in sites) or "no case"))


left_case()
restore_place()
with st.container(key="page_title"):
    st.title("Search", anchor=False)
filters = show_filters()
left, right = st.columns([1, 2.7], gap="medium")
with left, st.container(key="narrow"):
    show_part(show_query_panel)
    beside = st.empty()
query, nothing = current_query(), refused()
if query is not None:
    query = filters.applied(query)
    if not filters.problem:
        keep_place(query)
show_history()
show_saved_queries(query)
with right, st.container(key="wide"):
    # Emptied before the search begins: cases of the last query must not be shown beside the new one.
    place = st.empty()
    if nothing is not None:
        with place.container():
            show_refused(nothing)
    elif query is None:
        with place.container():
            show_welcome()
    elif filters.problem:
        with place.container():
            show_refused(Refused(filters.problem, None))
    else:
        with place.container():
            show_question(query)
            bar, below = st.empty(), st.empty()
        with bar:
            st.caption("Searching; the first search loads the models")
        outcome = search(query)
        bar.empty()
        with below.container():
            show_images(outcome)
            if outcome.result is not None:
                if outcome.images is None:  # no more will join
                    show_changes(query, outcome.result)
                show_part(show_results, outcome.result)
            elif outcome.problem:
                st.error(escape(outcome.problem))
            elif not outcome.images_problem:
                st.text("This query is answered by generated images alone: its cases appear when they are there.")
        if outcome.result is not None:
            with beside.container():
                show_query(query, outcome.result)
