"""The page before the pages, where users must sign in: nothing of the archive is shown to anybody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from retrieval import RESEARCH_USE
from tests.ui.serving.test_sign_in import GOOD, written
from tests.ui.view.pages import APP

USERS = f'[auth]\n{GOOD}users = ["*@hospital.example"]\n'


@pytest.fixture
def file(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = written(tmp_path, USERS)
    monkeypatch.setenv("COIN_SIGN_IN", str(path))
    yield path
    st.cache_resource.clear()
    st.cache_data.clear()


def opened(monkeypatch: pytest.MonkeyPatch, **claims: Any) -> AppTest:
    """The view as the browser of somebody shows it who signed in with these claims; without any, nobody did."""
    monkeypatch.setattr(type(st.user), "to_dict", lambda _: claims)
    app = AppTest.from_file(str(APP), default_timeout=600)
    app.query_params["case"] = "phantom-1"
    app.run()
    assert not app.exception
    assert RESEARCH_USE in app.warning[0].value
    return app


def closed(app: AppTest) -> tuple[list[str], list[str]]:
    """Texts and buttons of a page that shows nothing else."""
    assert [app.sidebar.children, list(app.markdown[1:]), list(app.selectbox), list(app.text_area)] == [{}, [], [], []]
    return [text.value for text in app.text], [button.label for button in app.button]


def test_before_sign_in_there_is_a_button(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, buttons = closed(opened(monkeypatch))
    assert texts[0].startswith("Please sign in.")
    assert buttons == ["Sign in"]


def test_who_is_not_on_the_list_is_told_so(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts, buttons = closed(opened(monkeypatch, is_logged_in=True, email="**eve**@elsewhere.example"))
    assert texts == ["**eve**@elsewhere.example is not among the users of this view."]
    assert buttons == ["Sign out"]


@pytest.mark.parametrize("reading_only", ["no", "yes"])
def test_who_is_on_the_list_enters_and_can_leave(
    file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reading_only: str
) -> None:
    monkeypatch.setenv("COIN_READING_ONLY", reading_only)
    monkeypatch.setenv("COIN_READINGS", str(tmp_path))
    app = opened(monkeypatch, is_logged_in=True, email="ada@hospital.example")
    assert "Signed in as ada@hospital.example" in [text.value for text in app.text]
    assert "Sign out" in [button.label for button in app.button]
    file.write_text(USERS.replace("*@", "bob@"))  # holds at the next click
    assert closed(app.run())[1] == ["Sign out"]


@pytest.mark.parametrize("broken", ["absent", "no TOML", "open to all"])
def test_a_file_that_cannot_be_used_keeps_everybody_out(
    file: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    if broken == "absent":
        file.unlink()
    elif broken == "no TOML":
        file.write_text("[auth")
    else:
        file.chmod(0o644)
    app = opened(monkeypatch, is_logged_in=True, email="ada@hospital.example")
    assert closed(app) == ([], [])
    assert len(app.error) == 1
