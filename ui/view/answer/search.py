"""From a session's query to what is shown: by report and text at once; images join when they are generated.

    query ─► channels without images ─► shown ──────────────────► shown again, with what the images changed
       └───► the queue of all sessions ─► images ─► all channels ─┘

A query that changes while its images are generated (filters, number of cases, marks) keeps its place; one that needs
other images gives it up.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import streamlit as st

from ui.view.session import Outcome, guarded, service, user

if TYPE_CHECKING:
    from retrieval import GenerationDefault, Query
    from ui.generation_queue import QueuedQuery


def search(query: Query) -> Outcome:
    """The outcome of the query as far as it is there: the session's, or that of a new search."""
    before: Outcome | None = st.session_state.pop("outcome_before", None)
    kept: Outcome | None = st.session_state.get("outcome")
    archive, unopened = guarded(lambda: service().archive)
    if archive is None:
        return Outcome(query, None, unopened)
    if kept is None or kept.query != query or kept.archive is not archive or _is_unwanted(kept):
        kept = _answer(query, archive, kept or before)
    outcome = _with_images(kept)
    st.session_state["outcome"] = outcome
    return outcome


def wants_images() -> bool:
    """Whether images are generated for this session's query: switched on, and not stopped."""
    return is_switched_on() and not st.session_state.get("images_stopped", False)


def is_switched_on() -> bool:
    """Whether the reader wants generated images; as long as nobody touched the switch, as was measured on the
    archive."""
    chosen = st.session_state.get("with_images")
    if chosen is not None:
        return bool(chosen)
    default = image_default()
    return default is None or default.generates


def image_default() -> GenerationDefault | None:
    """Whether this archive's queries generate images, and why; None where that cannot be said."""
    return guarded(lambda: service().cases.generation_default())[0]


def stop_images() -> None:
    """Generate no more for this query."""
    st.session_state["images_stopped"] = True


def resume_images() -> None:
    """Generate for this query after all."""
    st.session_state["images_stopped"] = False


def needs_redrawing(outcome: Outcome) -> bool:
    """Whether `search` would show another outcome by now."""
    if not outcome.needs_images:
        return False
    queued = outcome.images
    if not wants_images():
        return queued is not None
    return queued is None or queued.is_stopped or queued.answer.done()


def _is_unwanted(outcome: Outcome) -> bool:
    """Whether it has images, which were switched off since."""
    return outcome.result is not None and outcome.result.generated is not None and not wants_images()


def same_images(old: Query, new: Query) -> bool:
    """Whether what is generated for one query is all that the other needs."""
    return (old.text, old.preset, old.site) == (new.text, new.preset, new.site) and set(new.seeds) <= set(old.seeds)


def _answer(query: Query, archive: object, before: Outcome | None) -> Outcome:
    """The answer by the channels without images; with them where nothing is to be generated."""
    related = before if before and before.archive is archive and same_images(before.query, query) else None
    if related is None:
        resume_images()
    channels, problem = guarded(lambda: service().cases.channels_for(query, generate=True))
    by_words, _ = guarded(lambda: service().cases.channels_for(query, generate=False))
    needs_images, result = not problem and channels != by_words, None
    if needs_images and wants_images() and related and related.result and related.result.generated:
        result, _ = guarded(lambda: service().search_at_hand(query, user=user()))
        needs_images = result is None
    if result is None and by_words:
        result, problem = guarded(lambda: service().search(query, user=user(), generate=False))
    queued = None if before is None else before.images
    if queued is not None and not (needs_images and related and not problem and service().queue.change(queued, query)):
        service().queue.stop(queued)
        queued = None
    return Outcome(query, result, problem, archive, needs_images=needs_images and not problem, images=queued)


def _with_images(outcome: Outcome) -> Outcome:
    """The outcome joined by its images where these are ready; else on its way to them, or not, as the reader wants."""
    queued = outcome.images
    if not outcome.needs_images:
        return outcome
    if not wants_images():
        if queued is not None:
            service().queue.stop(queued)
        return dataclasses.replace(outcome, images=None)
    if queued is None or queued.is_stopped:
        queued = service().queue.ask(outcome.query, user=user())
        _held().queued = queued
        return dataclasses.replace(outcome, images=queued)
    if not queued.answer.done():
        return outcome
    result, problem = guarded(queued.answer.result)
    if result is None:
        return dataclasses.replace(outcome, needs_images=False, images=None, images_problem=problem)
    return dataclasses.replace(outcome, result=result, needs_images=False, images=None, by_words=outcome.result)


class _Held:
    """What a session has in the queue."""

    def __init__(self) -> None:
        self.queue = service().queue
        self.queued: QueuedQuery | None = None

    def release(self) -> None:
        """Give up its place: the session is closed, or its connection lost. Connected again, it asks anew."""
        if self.queued is not None:
            self.queue.stop(self.queued)


@st.cache_resource(scope="session", on_release=_Held.release, show_spinner=False)
def _held() -> _Held:
    return _Held()
