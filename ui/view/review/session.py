"""The reviews of the view's user, and which of them the session has open. Each change is on disk before the page shows
it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from ui.review.pinning import found_case
from ui.review.store import Reviews
from ui.service import account
from ui.text.score import score_scale
from ui.view.session import guarded, service, user

if TYPE_CHECKING:
    from index_store import Case
    from retrieval import RankedCase, SearchResult
    from ui.review.records import Review


def reviews() -> Reviews:
    """The reviews of who signed in; of the view's own account where nobody signs in."""
    return Reviews(service().reviews_folder, user() or account())


def current_review() -> Review | None:
    """The review that this session has open: at first the one that was changed last; None where there is none."""
    store = reviews()
    name = st.session_state.get("review")
    if name is None or name not in store:  # the others are not read where one is open
        names = store.names()
        if not names:
            return None
        name = st.session_state["review"] = names[0]
    return store.load(name)


def pinned_keys() -> frozenset[str]:
    """The cases that are pinned to the session's review; none where it cannot be read, which the tray says."""
    review, _ = guarded(current_review)
    return frozenset() if review is None else frozenset(pin.case for pin in review.pins)


def open_review(name: str) -> None:
    """Make this the session's review."""
    st.session_state["review"] = name


def create_review(name: str) -> None:
    """Begin a review, and open it."""
    change(lambda: open_review(reviews().create(name).name))


def pin_result(result: SearchResult, ranked: RankedCase) -> None:
    """Pin a case of a result to the session's review, or begin the first review with it."""
    scale = score_scale(result, service().rules["report"])
    change(lambda: _pin(ranked.case.key, lambda: found_case(reviews(), service().archive, result, ranked, scale)))


def pin_case(key: str) -> None:
    """Pin a case that no search found."""
    change(lambda: _pin(key, lambda: None))


def _pin(key: str, found: Callable[[], Any]) -> None:
    review = current_review() or reviews().create("Review 1")
    reviews().pin(review.name, key, found())


def unpin(key: str) -> None:
    """Take a case from the session's review."""
    review = current_review()
    if review is not None:
        change(lambda: reviews().unpin(review.name, key))


def change(call: Callable[[], object]) -> None:
    """Change a review in a callback; why it could not be changed is shown when the page is drawn."""
    _, problem = guarded(call)
    if problem:
        st.session_state["review_problem"] = problem


def review_problem() -> str:
    """Why the last change could not be stored; returned once."""
    return str(st.session_state.pop("review_problem", ""))


def reviewed_case(key: str) -> Case:
    """A pinned case; the audit log records it once a session. Raises `index_store.CaseNotFoundError`."""
    archive = service().archive
    known: set[tuple[str, str]] = st.session_state.setdefault("reviewed", set())
    if (archive.uuid, key) in known:
        return archive.case(key)
    case = service().case(key, user=user())
    known.add((archive.uuid, key))
    return case
