"""Named queries in the sidebar: keep the one at hand, ask one again, forget one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ui.view.escape import escape
from ui.view.filters import take_over
from ui.view.state import ask_guarded, guarded, service

if TYPE_CHECKING:
    from retrieval import Query


def draw_saved_queries(at_hand: Query | None) -> None:
    """Draw the list of saved queries, and the field that names the one at hand."""
    queries = service().queries
    names, problem = guarded(queries.names)
    with st.sidebar, st.expander("Saved queries"):
        if problem:
            st.error(escape(problem))
        if names:
            chosen = st.selectbox("Query", names, key="saved_query")
            with st.container(horizontal=True, gap="xsmall"):
                st.button("Ask again", on_click=_ask_again, args=(chosen,))
                if st.button("Delete query"):
                    _, problem = guarded(lambda: queries.delete(chosen))
                    if problem:
                        st.error(escape(problem))
                    else:
                        st.rerun()
        if at_hand is None:
            st.caption("Ask first; then the query can be kept under a name.")
            return
        with st.form("save_query", border=False):
            name = st.text_input("Name for this query", key="query_name")
            if st.form_submit_button("Save query"):
                saved, problem = guarded(lambda: queries.save((name or "").strip(), at_hand))
                if saved is None:
                    st.error(escape(problem))
                else:
                    st.rerun()


def _ask_again(name: str) -> None:
    def load() -> Query:
        query = service().queries.load(name)
        take_over(query.where, query.k)
        return query

    ask_guarded(load)
