"""The line above the cases that says how far the generated images are, and what they changed; stop, and switch off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.text.search import changes_list, changes_words
from ui.view.answer.search import (
    image_default,
    is_switched_on,
    needs_redrawing,
    resume_images,
    stop_images,
)
from ui.view.escape import escape
from ui.view.session import Outcome, service
from ui.view.viewer.enlarged import window_is_open

if TYPE_CHECKING:
    from retrieval import RankChanges, SearchResult
    from ui.generation_queue import QueuedQuery

EVERY: Final = 1.0  # seconds between two looks at the queue


def show_images(outcome: Outcome) -> None:
    """Show what becomes of the query's generated images; nothing where it has none. While they are on their way, the
    line is drawn anew by itself, and the page when they are there."""
    if outcome.images_problem:
        st.error(escape(outcome.images_problem))
    if outcome.needs_images:
        st.fragment(_show_way, run_every=EVERY if outcome.images else None)(outcome)
    elif outcome.result is not None and outcome.result.generated is not None:
        _show_joined(outcome.by_words, outcome.result)


def _show_way(outcome: Outcome) -> None:
    queued = outcome.images
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if queued is None:
            st.markdown(f"By report and text alone, without generated images. {_why()}", width="stretch")
            if is_switched_on():
                st.button("Generate images", on_click=resume_images)
        else:
            _show_progress(queued)
            st.button("Stop", on_click=stop_images, help="The cases stay as they are")
        _switch()
    if needs_redrawing(outcome) and not window_is_open():
        st.rerun()


def _show_progress(queued: QueuedQuery) -> None:
    before = service().queue.before(queued)
    if before:
        st.markdown(f"By report and text; images wait for their turn: **{before} before you**.", width="stretch")
        return
    done, total = queued.steps or (0, 0)
    words = f"step {done} of {total}" if done else "the model is prepared"
    st.progress(done / total if done else 0.0, f"By report and text; images are generated: {words}", width="stretch")


def _switch() -> None:
    default = image_default()
    st.toggle(
        "Generated images",
        default is None or default.generates,
        key="with_images",
        persist_state="session",
        help="Compare reports by synthetic images made of them, too. Off: by report and text alone, for all queries. "
        f"{_why()}",
    )


def _why() -> str:
    """Where images were measured on this archive and are seen not to help, or where nothing was: a sentence."""
    default = image_default()
    return "" if default is None or (default.is_measured and default.generates) else escape(default.words)


def _show_joined(before: SearchResult | None, after: SearchResult) -> None:
    from retrieval import rank_changes

    changes = None if before is None else rank_changes(before, after)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        line = "With generated images." if changes is None else changes_line(changes)
        default = image_default()  # that nothing was measured stands with the switch: the first case is to be in sight
        why = _why() if default is not None and default.is_measured else ""
        st.markdown(f"{line} {why}", width="stretch")
        if changes is not None and (lines := changes_list(changes)):
            with st.popover("Which cases"):
                st.text("\n".join(lines))
        _switch()


def changes_line(changes: RankChanges) -> str:
    """In a sentence, how many cases the generated images brought, took and moved."""
    words = changes_words(changes)
    if not words:
        return "The generated images have joined: the cases and their order are the same."
    return f"The generated images have joined. Of the cases, {words}."
