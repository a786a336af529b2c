"""What one session of the view holds: the query asked, and the answer to it.

The answer is a function of the query, filters and k included. It is worked out again when one of them changes, and
kept while the reader looks at a case and comes back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from ui.errors import user_message
from ui.service import Progress, Service
from ui.settings import Settings

if TYPE_CHECKING:
    from index_store import Case
    from retrieval import Gallery, Query, SearchResult

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """A result, or the message that says why there is none; and to what."""

    query: Query
    result: SearchResult | None
    problem: str = ""


@st.cache_resource(show_spinner=False)
def _service(settings: Settings) -> Service:
    return Service(settings, place="view")


def service() -> Service:
    """The one service that all sessions share."""
    return _service(Settings.from_env())


def question() -> Query | None:
    """What was asked last; filters and k are the sidebar's."""
    asked: Query | None = st.session_state.get("question")
    return asked


def ask(asked: Query) -> None:
    """Ask: the search page answers when it is drawn next."""
    st.session_state["question"] = asked
    st.session_state.pop("answer", None)  # the same question may be asked anew, after an error for instance
    st.session_state.pop("refusal", None)


def ask_guarded(make: Callable[[], Query]) -> None:
    """Ask what `make` returns; where that cannot be asked, the page says why and shows what it showed before."""
    query, problem = guarded(make)
    if query is None:
        st.session_state["refusal"] = problem
    else:
        ask(query)


def refusal() -> str:
    """Why the last query could not be asked; shown once."""
    return str(st.session_state.pop("refusal", ""))


def ask_by_case(key: str) -> None:
    """Ask for the cases nearest to one of the archive, and show so in the query panel."""
    from retrieval import Query

    ask(Query(case=key))
    st.session_state["search_by"] = "Case"
    st.session_state["case_key"] = key


def answer(asked: Query, progress: Progress) -> Answer:
    """The answer to `asked`: the one at hand, or a new one."""
    held: Answer | None = st.session_state.get("answer")
    if held is not None and held.query == asked:
        return held
    result, problem = guarded(lambda: service().ask(asked, progress=progress, user=user()))
    made = Answer(asked, result, problem)
    st.session_state["answer"] = made
    return made


def gallery(result: SearchResult) -> Gallery | None:
    """The nearest cases of each category, worked out and recorded once an answer."""
    held: tuple[SearchResult, Gallery | None] | None = st.session_state.get("gallery")
    if held is None or held[0] is not result:
        held = result, service().gallery(result, user=user())
        st.session_state["gallery"] = held
    return held[1]


def opened_case(key: str) -> Case:
    """The case of the page. It is recorded when it is opened, not each time that its page is drawn."""
    if st.session_state.get("opened") == key:
        return service().archive.case(key)
    case = service().case(key, user=user())
    st.session_state["opened"] = key
    return case


def left_case() -> None:
    """Another page is shown: the same case, seen again, is opened again."""
    st.session_state.pop("opened", None)


def user() -> str:
    """Who sits before the view, for the audit log: whom the proxy names, or who signed in; else nobody in particular.

    A header is worth as much as the proxy that sets it: the view answers on this machine only, and whoever reaches it
    past the proxy can name anybody.
    """
    header = service().settings.user_header
    if header is not None:
        return st.context.headers.get(header) or f"not named by {header}"
    signed_in = st.user.to_dict()
    if not signed_in.get("is_logged_in"):
        return ""
    return str(signed_in.get("email") or signed_in.get("name") or signed_in.get("sub") or "")


def guarded(call: Callable[[], T]) -> tuple[T | None, str]:
    """What `call` returns and no message, or None and the one message to show. Internals go to the log alone."""
    try:
        return call(), ""
    except Exception as error:
        message = user_message(error)
        if message is None:
            logger.exception("The view met a defect")
            message = "Something went wrong inside the program. What happened is in the log of the server."
        return None, message
