"""The entry script of the view: sign-in where it is demanded, the pages, the research-use banner, and an error where
the archive cannot be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import streamlit as st

from retrieval import RESEARCH_USE
from ui.serving.sign_in import read_sign_in
from ui.settings import Settings
from ui.view.answer.loading import show_loading
from ui.view.behaviour.shown import show_behaviour
from ui.view.escape import escape
from ui.view.reading.session import studies
from ui.view.review.tray import show_tray
from ui.view.session import guarded, service, user
from ui.view.viewer.enlarged import closed_window

SIDEBAR: Final = 240  # pixels

ABOUT: Final = "It finds similar cases and shows their reports."
READING_PAGE: Final = "reading/page.py"


def admitted() -> bool:
    """Whether the page may be shown; where not, show how to sign in, or why one may not enter."""
    allowed, problem = guarded(_is_allowed)
    if allowed:
        return True
    st.warning(f"**{RESEARCH_USE}**", icon=":material/science:")
    st.title("COIN retrieval", anchor=False)
    if problem:
        st.error(escape(problem))
    elif name := user():
        st.text(f"{name} is not among the users of this view.")
        st.button("Sign out", on_click=st.logout)
    else:
        st.text("Please sign in. What you search and open is recorded under your name where this view keeps a log.")
        st.button("Sign in", type="primary", on_click=st.login)
    return False


def _is_allowed() -> bool:
    file = Settings.from_env().sign_in
    return file is None or read_sign_in(file).admits(user())


def show_user() -> None:
    """Show who is signed in, and the way out."""
    if Settings.from_env().sign_in is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.text(f"Signed in as {user()}")
            st.button("Sign out", on_click=st.logout)


st.set_page_config(page_title="COIN retrieval", layout="wide", initial_sidebar_state=SIDEBAR)
for styles in ("tokens.css", "style.css"):
    st.html(Path(__file__).with_name(styles))
if not admitted():
    st.stop()
study_only, _ = guarded(lambda: Settings.from_env().reading_only == "yes")
reading = st.Page(READING_PAGE, title="Blinded reader study", url_path="reading", visibility="hidden")
page = st.navigation(
    [
        # The default page has no path of its own; a link to /reading must work in both views.
        st.Page(READING_PAGE, title="Blinded reader study", default=True, url_path="start"),
        reading,
    ]
    if study_only
    else [
        st.Page("search_page.py", title="Search", default=True),
        st.Page("case_page.py", title="Case", url_path="case", visibility="hidden"),
        st.Page("compare/page.py", title="Compare", url_path="compare", visibility="hidden"),
        st.Page("review/page.py", title="Review", url_path="review", visibility="hidden"),
        st.Page("slide/page.py", title="Slide", url_path="slide", visibility="hidden"),
        reading,
    ],
    position="hidden",
)
about = "Generated images are among those shown here." if study_only or page == reading else ABOUT
st.warning(f"**{RESEARCH_USE}** {about}", icon=":material/science:")
if study_only:
    show_user()
    page.run()
    st.stop()
closed_window()
status, problem = guarded(lambda: service().archive.status())
if status is None:
    st.error(escape(problem))
else:
    with st.sidebar:
        st.header("COIN retrieval", anchor=False)
        cases = f"{status.cases} case{'' if status.cases == 1 else 's'}"
        st.text(f"{status.name or status.path.name}\n{cases}, {status.images} image{'' if status.images == 1 else 's'}")
        show_user()
        show_loading()
        show_tray()
        if studies():
            st.page_link("search_page.py", label="Search")
            st.page_link(READING_PAGE, label="Blinded reader study")
    page.run()
    if page == reading:  # its keys stand on its buttons
        st.stop()
    with st.container(key="page_keys"):
        show_behaviour(f"{page.url_path}?{st.query_params.get('case', '')}")
