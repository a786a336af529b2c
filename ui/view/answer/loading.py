"""What of the models is loaded, in the sidebar while they load. Everything else of the page can be used meanwhile."""

from __future__ import annotations

from typing import Final

import streamlit as st

from ui.serving.shared_service import Loading, shared_loading
from ui.settings import Settings
from ui.view.escape import escape
from ui.view.viewer.enlarged import window_is_open

EVERY: Final = 1.0  # seconds
ICONS: Final = {"waits": "hourglass_empty", "loads": "progress_activity", "is ready": "check", "is not ready": "error"}


def show_loading() -> None:
    """Show each part that a search needs, and how far it is, until all are there; then what could not be."""
    loading = shared_loading(Settings.from_env())
    if loading.is_under_way:
        st.fragment(_show, run_every=EVERY)(loading)
    for part in loading.parts:
        if part.problem and not loading.is_under_way:
            st.caption(f":material/error: {part.name}: is not ready. {escape(part.problem)}")


def _show(loading: Loading) -> None:
    for part in loading.parts:
        st.caption(f":material/{ICONS[part.state]}: {part.name}: {part.state}")
    if not loading.is_under_way and not window_is_open():
        st.rerun()
