"""What one session of the view holds: the question asked, and the answer to it.

The answer is a function of question, filters and k. It is worked out again when one of them changes, and kept while
the reader looks at a case and comes back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import streamlit as st

from ui.errors import user_message
from ui.service import Progress, Service
from ui.settings import Settings

if TYPE_CHECKING:
    from index_store import CaseFilter
    from retrieval import SearchResult

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """What is asked: a report with how its images are made, the bytes of an image file, or a case's key."""

    kind: Literal["report", "image", "case"]
    text: str = ""
    image: bytes = b""
    label: str = ""
    n_images: int = 4
    seed: int = 0
    preset: str = "draft"


@dataclass(frozen=True)
class Answer:
    """A result, or the message that says why there is none; and to what."""

    question: Question
    where: CaseFilter | None
    k: int
    result: SearchResult | None
    problem: str = ""


@st.cache_resource(show_spinner=False)
def _service(settings: Settings) -> Service:
    return Service(settings)


def service() -> Service:
    """The one service that all sessions share."""
    return _service(Settings.from_env())


def question() -> Question | None:
    """What was asked last."""
    asked: Question | None = st.session_state.get("question")
    return asked


def ask(asked: Question) -> None:
    """Ask: the search page answers when it is drawn next."""
    st.session_state["question"] = asked
    st.session_state.pop("answer", None)  # the same question may be asked anew, after an error for instance


def ask_by_case(key: str) -> None:
    """Ask for the cases nearest to one of the archive, and show so in the query panel."""
    ask(Question("case", label=key))
    st.session_state["search_by"] = "Case"
    st.session_state["case_key"] = key


def answer(asked: Question, where: CaseFilter | None, k: int, progress: Progress) -> Answer:
    """The answer to `asked` under these filters: the one at hand, or a new one."""
    held: Answer | None = st.session_state.get("answer")
    if held is not None and (held.question, held.where, held.k) == (asked, where, k):
        return held
    result, problem = guarded(lambda: _search(asked, where, k, progress))
    made = Answer(asked, where, k, result, problem)
    st.session_state["answer"] = made
    return made


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


def _search(asked: Question, where: CaseFilter | None, k: int, progress: Progress) -> SearchResult:
    if asked.kind == "image":
        return service().by_image(asked.image, label=asked.label, where=where, k=k)
    if asked.kind == "case":
        return service().by_case(asked.label, where=where, k=k)
    return service().by_report(
        asked.text,
        where=where,
        k=k,
        n_images=asked.n_images,
        seed=asked.seed,
        preset=asked.preset,
        progress=progress,
    )
