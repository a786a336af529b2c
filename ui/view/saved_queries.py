"""Saved queries in the sidebar: save the current one, run one again, delete one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from ui.text.search import since_saved
from ui.view.escape import escape
from ui.view.filters import set_filters
from ui.view.query_panel import fill_panel
from ui.view.session import current_result, guarded, service, try_query

if TYPE_CHECKING:
    from retrieval import Query, SavedQueries, SearchResult


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
                with st.popover("Delete query"):
                    st.text(f"Delete the query “{chosen}”? It cannot be taken back.")
                    deleted = st.button("Yes, delete it")
            if deleted:
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
            replace = bool(names) and st.checkbox("Replace the one of this name", key="query_replace")
            if st.form_submit_button("Save query"):
                saved, problem = guarded(lambda: _save(queries, (name or "").strip(), current, replace=replace))
                if saved is None:
                    st.error(escape(problem))
                else:
                    st.rerun()


def show_changes(query: Query, result: SearchResult) -> None:
    """Where a saved query was run again and is as it was saved, show what came, went and moved since."""
    from retrieval import answer_of

    name, asked = st.session_state.get("run_again", ("", None))
    queries = service().queries
    before = queries.answer(name) if name and asked == query else None
    if before is None:
        return
    now = answer_of(result, service().archive.revision)
    if set(before.channels) != set(now.channels):
        st.caption("This query was saved with another choice of generated images: its cases are not compared.")
        return
    words, lines = since_saved(before, now)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(escape(words), width="stretch")
        if lines and st.button("Keep these cases as its answer"):
            _, problem = guarded(lambda: queries.keep_answer(name, now))
            if problem:
                st.error(escape(problem))
            else:
                st.rerun()
    if lines:
        with st.expander("Which came, went and moved"):
            st.text("\n".join(lines))


def _save(queries: SavedQueries, name: str, query: Query, *, replace: bool) -> bool:
    from retrieval import answer_of

    queries.save(name, query, replace=replace)
    result = current_result()
    if result is not None and result.query == query:
        queries.keep_answer(name, answer_of(result, service().archive.revision))
    return True


def _run_again(name: str) -> None:
    def load() -> Query:
        query = service().queries.load(name)
        set_filters(query.where, query.k)
        fill_panel(query)
        st.session_state["run_again"] = name, query
        return query

    try_query(load)
