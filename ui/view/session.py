"""The state of one session of the view: the current query and its result.

The result is a function of the query, filters and k included. It is computed anew when one of them changes
(`ui.view.answer`), and kept while the user looks at a case and comes back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from ui.errors import user_message
from ui.service import Service
from ui.serving.shared_service import shared_service
from ui.serving.sign_in import user_name
from ui.settings import Settings

if TYPE_CHECKING:
    from index_store import Case
    from retrieval import Gallery, Query, SearchResult
    from ui.generation_queue import QueuedQuery

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Refused:
    """A query that could not be made. It takes the place of the last one: no cases stand beside it."""

    problem: str
    last: Query | None
    """The last query that could be made."""


@dataclass(frozen=True)
class Outcome:
    """A query with its result, or with the reason why there is none."""

    query: Query
    result: SearchResult | None
    problem: str = ""
    archive: object = None
    """The open archive that was asked: another object where the folder holds another archive by now."""
    needs_images: bool = False
    """Whether generated images would join the answer and have not."""
    images: QueuedQuery | None = None
    """The query on its way to the answer with images; None where they are not wanted."""
    by_words: SearchResult | None = None
    """The answer without images, which `result` took the place of."""
    images_problem: str = ""
    """Why there are no images."""


def service() -> Service:
    """The service that all sessions share."""
    return shared_service(Settings.from_env())


def current_query() -> Query | None:
    """The last query; its filters and k are replaced by the sidebar's. None where what was asked last is refused."""
    asked: Query | Refused | None = st.session_state.get("query")
    return None if isinstance(asked, Refused) else asked


def refused() -> Refused | None:
    """Why there is nothing to show for what was asked last; None where there is."""
    asked: Query | Refused | None = st.session_state.get("query")
    return asked if isinstance(asked, Refused) else None


def set_query(query: Query) -> None:
    """Make this the current query: the search page runs it when it is shown next."""
    _ask(query)
    # The same query may be repeated, for instance after an error. What is generated for the last may serve this one.
    if (left := st.session_state.pop("outcome", None)) is not None:
        st.session_state["outcome_before"] = left


def try_query(make: Callable[[], Query]) -> None:
    """Make the result of `make` the current query; where it raises, what was asked is refused."""
    query, problem = guarded(make)
    if query is None:
        refuse(problem)
    else:
        set_query(query)


def refuse(problem: str) -> None:
    """Show this in the place of cases: what was asked is no query."""
    before = refused()
    _ask(Refused(problem, current_query() if before is None else before.last))


def ask_last() -> None:
    """Return to the last query that could be made, and to its cases."""
    before = refused()
    if before is not None and before.last is not None:
        _ask(before.last)


def asked_count() -> int:
    """How many queries were asked in this session, refused ones included."""
    return int(st.session_state.get("asked", 0))


def _ask(asked: Query | Refused) -> None:
    st.session_state["query"] = asked
    st.session_state["asked"] = asked_count() + 1


def query_by_case(key: str) -> None:
    """Query by a case of the archive, and show that in the query panel."""
    from retrieval import Query

    set_query(Query(case=key))
    st.session_state["search_by"] = "Case"
    st.session_state["case_key"] = key


def current_result() -> SearchResult | None:
    """The result of the current query; None before one, or where it has none."""
    kept = current_outcome()
    return None if kept is None else kept.result


def current_outcome() -> Outcome | None:
    """The current query with its result; None before one was searched."""
    kept: Outcome | None = st.session_state.get("outcome")
    return None if current_query() is None else kept


def gallery(result: SearchResult) -> Gallery | None:
    """The nearest cases of each category, computed and recorded once a result."""
    kept: tuple[SearchResult, Gallery | None] | None = st.session_state.get("gallery")
    if kept is None or kept[0] is not result:
        kept = result, service().gallery(result, user=user())
        st.session_state["gallery"] = kept
    return kept[1]


def opened_case(key: str) -> Case:
    """The case of the page. The audit log records it when it is opened, not each time that the page is rendered."""
    archive = service().archive
    if st.session_state.get("opened") == (archive, key):
        return archive.case(key)
    case = service().case(key, user=user())
    st.session_state["opened"] = archive, key
    return case


def opened_cases(keys: Sequence[str]) -> list[Case]:
    """The cases of a comparison, recorded as `opened_case` does."""
    archive = service().archive
    known = st.session_state.get("opened_side_by_side", (None, ()))
    cases = [
        archive.case(key) if known[0] is archive and key in known[1] else service().case(key, user=user())
        for key in keys
    ]
    st.session_state["opened_side_by_side"] = archive, tuple(keys)
    return cases


def left_case() -> None:
    """Note that another page is shown: the same case, shown again, counts as opened again."""
    st.session_state.pop("opened", None)
    st.session_state.pop("opened_side_by_side", None)


def user() -> str:
    """The user, for the audit log: whom the proxy names, or who signed in; else the empty string.

    A header is worth as much as the proxy that sets it: the view answers on this machine only, and whoever reaches it
    past the proxy can name anybody.
    """
    header = Settings.from_env().user_header
    if header is not None:
        return st.context.headers.get(header) or f"not named by {header}"
    return user_name(st.user.to_dict())


def guarded(call: Callable[[], T]) -> tuple[T | None, str]:
    """What `call` returns and no message, or None and the message to show. Details of a defect go to the log alone."""
    try:
        return call(), ""
    except Exception as error:
        message = user_message(error)
        if message is None:
            logger.exception("The view met a defect")
            message = "Something went wrong inside the program. What happened is in the log of the server."
        return None, message
