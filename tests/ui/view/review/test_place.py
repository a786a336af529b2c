"""The address names the query: another session, a colleague, or the same after a restart, opens the same page by it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.elements.lib import policies
from streamlit.testing.v1 import AppTest

from index_store import Archive
from tests.ui.conftest import coin
from tests.ui.view.pages import APP, checked, click, opened, page, viewer


@pytest.fixture(autouse=True)
def settings(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COIN_QUERIES", str(tmp_path / "queries"))
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture(autouse=True)
def no_field_has_two_values(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Streamlit warns, once a process, of a field with a default whose value the script sets, too."""
    monkeypatch.setattr(policies, "_shown_default_value_warning", False)
    yield
    assert not policies._shown_default_value_warning


def by_case(app: AppTest, number: int) -> AppTest:
    checked(app.segmented_control(key="search_by").set_value("Case").run())
    app.selectbox(key="case_key").set_value(app.selectbox(key="case_key").options[number])
    return click(app, "Search by case")


def at(key: str) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=300)
    app.query_params["q"] = key
    return checked(app.run())


def test_a_link_opens_query_filters_and_marks_again() -> None:
    app = by_case(opened(), 3)
    click(app, "More like #2")
    checked(app.number_input(key="k").set_value(4).run())
    key = str(app.query_params["q"])
    asked = app.session_state["query"]
    st.cache_resource.clear()  # as a restart
    again = at(key)
    assert (again.session_state["query"].case, again.session_state["query"].more) == (asked.case, asked.more)
    assert again.number_input(key="k").value == 4
    assert again.selectbox(key="case_key").value == asked.case
    assert sum(button.label.startswith("Open case #") for button in again.button) == 4
    assert again.query_params["q"] == key, "opening a link makes no other one"
    compared = page("compare/page.py", q=key, case=[again.session_state["query"].more[0]])
    assert next(iter(viewer(compared)["panes"]))["title"] == "Query"
    click(opened_again := page("case_page.py", q=key, case=asked.case), "Back to the search")
    assert opened_again.session_state["query"].case == asked.case


@pytest.mark.slow
def test_changes_are_undone_and_the_history_leads_back() -> None:
    app = by_case(opened(), 3)
    first = app.session_state["query"].case
    by_case(app, 5)
    click(app, "More like #1")
    click(app, "Undo the last change")
    assert app.session_state["query"].more == ()
    click(app, "Undo the last change")
    assert app.session_state["query"].case == first
    other = opened()  # the same user, another session
    (oldest,) = [button for button in other.button if button.key == "history-3"]
    assert first in oldest.label.replace("\\", "")
    checked(oldest.click().run())
    assert other.session_state["query"].case == first


def test_a_saved_query_says_what_came_and_went_since(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = shutil.copytree(archive, tmp_path / "archive")
    monkeypatch.setenv("COIN_ARCHIVE", str(copied))
    app = by_case(opened(), 3)
    app.text_input(key="query_name").set_value("last week")
    click(app, "Save query")
    again = click(opened(), "Run again")
    assert any("nothing changed" in element.value for element in again.markdown)
    shown = [ranked.case.key for ranked in again.session_state["outcome"].result.cases]
    with Archive.open(copied) as changed:
        changed.remove(shown[0])
    again = click(opened(), "Run again")
    (said,) = [element.value.replace("\\", "") for element in again.markdown if "Since this query" in element.value]
    assert "the archive changed" in said
    assert f"1 came, 1 went, {len(shown) - 1} moved; 0 kept" in said
    assert any(f"{shown[0]} went, it was #1" in text.value for text in again.text)
    printed = coin("search", "--query", "last week", "--archive", copied).output
    assert f"{shown[0]} went, it was #1" in printed
    click(again, "Keep these cases as its answer")
    assert any("nothing changed" in element.value for element in again.markdown)


def test_an_address_that_names_nothing_is_said() -> None:
    app = at("0" * 40)
    assert any("search again" in error.value for error in app.error)
    assert not any(button.label.startswith("Open case #") for button in app.button)
