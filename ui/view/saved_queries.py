"""Saved queries in the sidebar: save the current one, run one again, delete one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ui.view.escape import escape
from ui.view.filters import set_filters
from ui.view.query_panel import fill_panel
from ui.view.session import guarded, service, try_query

if TYPE_CHECKING:
    from retrieval import Query


def show_saved_queries(current: Query | None) -> None:
    """Show the list of saved queries, and the field that names the current one."""
    queries = service().queries
    names, problem = guarded(queries.names)
    with st.sidebar, st.expander("Saved queries"):
        if problem:
            st.error(escape(problem))
        if names:
            chosen = st.selectbox("Query", names, key="saved_query")
            with st.container(horizontal=True, gap="xsmall"):
                st.button("Run again", on_click=_run_again, args=(chosen,))
                if st.button("Delete query"):
                    _, problem = guarded(lambda: queries.delete(chosen))
                    if problem:
                        st.error(escape(problem))
                    else:
                        st.rerun()
        if current is None:
            st.caption("Search first; then the query can be saved under a name.")
            return
        with st.form("save_query", border=False):
            name = st.text_input("Name for this query", key="query_name")
            if st.form_submit_button("Save query"):
                saved, problem = guarded(lambda: queries.save((name or "").strip(), current))
                if saved is None:
                    st.error(escape(problem))
                else:
                    st.rerun()


def _run_again(name: str) -> None:
    def load() -> Query:
        query = service().queries.load(name)
        set_filters(query.where, query.k)
        fill_panel(query)
        return query

    try_query(load)
