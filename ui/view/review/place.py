"""The query in the page's address: reload, restart, back button, and a link to a colleague; and the user's history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.review.links import QueryLinks
from ui.service import account
from ui.view.escape import escape
from ui.view.filters import set_filters
from ui.view.query_panel import fill_panel
from ui.view.session import guarded, refuse, service, set_query, user

if TYPE_CHECKING:
    from retrieval import Query

KEY: Final = "q"
"""Of the address."""
SHOWN: Final = 15
"""Queries of the history."""


def links() -> QueryLinks:
    """The queries that this user searched."""
    return QueryLinks(service().links_folder, service().archive, user() or account())


def restore_place() -> None:
    """Make the query of the address the session's, where the reader changed the address. Before any of its fields is
    shown."""
    key = st.query_params.get(KEY, "")
    if key and key != st.session_state.get("place_address"):
        st.session_state["place_address"] = key
        _open(key)


def keep_place(query: Query) -> None:
    """Put the query of the page into its address."""
    state = st.session_state
    if state.get("place_query") != query:
        key, _ = guarded(lambda: links().keep(query))  # where it cannot be kept, the page answers all the same
        if key is None:
            return
        _note(key, query)
        state["trail"].append(key)
        state.pop("history", None)
    if st.query_params.get(KEY) != state["place_key"]:
        st.query_params[KEY] = state["place_address"] = state["place_key"]


def place() -> dict[str, str]:
    """What names the session's query in the address of another page."""
    key = st.session_state.get("place_key")
    return {KEY: key} if key else {}


def show_history() -> None:
    """Show the queries that the user searched, each to be opened again, and the way back by one."""
    if "history" not in st.session_state:
        past, _ = guarded(lambda: links().last(SHOWN))
        st.session_state["history"] = past or ()
    history = st.session_state["history"]
    with st.sidebar, st.expander("History"):
        if not history:
            st.caption("Queries that you search appear here.")
        if len(st.session_state.get("trail", ())) > 1:
            st.button("Undo the last change", icon=":material/undo:", on_click=_undo)
        for number, past in enumerate(history, start=1):
            st.button(f"{number}. {escape(past.words)}", key=f"history-{number}", on_click=_open, args=(past.key,))


def _open(key: str) -> None:
    query, problem = guarded(lambda: links().load(key))
    if query is None:
        refuse(problem)
        return
    set_filters(query.where, query.k)
    fill_panel(query)
    set_query(query)
    _note(key, query)
    st.session_state["trail"].append(key)


def _undo() -> None:
    trail: list[str] = st.session_state["trail"]
    del trail[-1]
    _open(trail.pop())


def _note(key: str, query: Query) -> None:
    st.session_state.update({"place_key": key, "place_query": query})
    st.session_state.setdefault("trail", [])
