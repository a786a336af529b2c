"""A review in the view, without a browser: pinned from a card, noted, ticked, resumed; a removed case is said so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from generation.phantom import Phantom
from tests.ui.conftest import coin
from tests.ui.view.pages import checked, click, opened, page
from ui.settings import Settings

REVIEW = "review/page.py"


@pytest.fixture(autouse=True)
def settings(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COIN_QUERIES", str(tmp_path / "queries"))
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


def by_case(app: AppTest) -> AppTest:
    checked(app.segmented_control(key="search_by").set_value("Case").run())
    app.selectbox(key="case_key").set_value(app.selectbox(key="case_key").options[3])
    app.checkbox(key="case_report").set_value(True)
    return click(app, "Search by case")


def field(app: AppTest, label: str) -> object:
    (found,) = [area for area in app.text_area if area.label == label]
    return found


def test_a_card_is_pinned_noted_and_resumed(archive: Path) -> None:
    before = {path: path.read_bytes() for path in archive.rglob("*") if path.is_file() and path.suffix != ".lock"}
    app = by_case(opened())
    click(app, "Pin #1")
    click(app, "Pin #2")
    assert any("\n1. " in text.value and "\n2. " in text.value for text in app.sidebar.text), "the tray"
    app = checked(app.switch_page(REVIEW).run())
    checked(field(app, "Note on 2").set_value("Compare **the nuclei**").run())  # type: ignore[attr-defined]
    checked(field(app, "Note on the whole").set_value("Seminar").run())  # type: ignore[attr-defined]
    (first,) = [group for group in app.get("button_group") if group.label == "Case 1 is"]
    checked(first.set_value(["relevant", "poor"]).run())
    click(app, "Up 2")

    again = page(REVIEW)  # another session: nothing of the first one is in it
    assert [area.value for area in again.text_area] == ["Seminar", "Compare **the nuclei**", ""]
    (second,) = [group for group in again.get("button_group") if group.label == "Case 2 is"]
    assert second.value == ["relevant", "poor"]
    assert any("Found as \\#2" in caption.value for caption in again.caption)
    (button,) = [button for button in again.button if button.label.startswith("Search again by case")]
    checked(button.click().run())
    (first_key, *_) = again.session_state["query"].more
    assert (again.session_state["query"].more, again.session_state["query"].less) == ((first_key,), ())
    changed = [path for path, data in before.items() if path.read_bytes() != data]
    assert changed == [], "a review changes nothing of the archive"


@pytest.mark.slow
def test_two_tabs_of_a_user_keep_both_notes() -> None:
    first = by_case(opened())
    click(first, "Pin #1")
    checked(first.switch_page(REVIEW).run())
    second = page(REVIEW)
    checked(field(first, "Note on 1").set_value("one").run())  # type: ignore[attr-defined]
    checked(field(second, "Note on 1").set_value("two").run())  # type: ignore[attr-defined]
    assert field(second, "Note on 1").value == "one\n\ntwo"  # type: ignore[attr-defined]
    assert any("changed in another tab" in error.value for error in second.error)
    checked(first.run())
    assert field(first, "Note on 1").value == "one\n\ntwo", "what was not typed on follows"  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_removed_case_is_said_and_only_its_note_is_left(
    archive: Path, phantoms: list[Phantom], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = shutil.copytree(archive, tmp_path / "archive")
    monkeypatch.setenv("COIN_ARCHIVE", str(copied))
    app = by_case(opened())
    query = app.selectbox(key="case_key").value
    click(app, "Pin #1")
    app = checked(app.switch_page(REVIEW).run())
    (key,) = [element.value for element in app.markdown if element.value.startswith("**1. ")]
    checked(field(app, "Note on 1").set_value("Was alike").run())  # type: ignore[attr-defined]
    name = key.strip("*").removeprefix("1. ").replace("\\", "")
    kept = "".join(path.read_text() for path in Settings.from_env().queries_folder.rglob("*.json"))
    assert query in kept
    assert not [phantom.key for phantom in phantoms if phantom.report in kept], "a report is not kept"
    assert coin("remove", name, "--yes", "--archive", copied).exit_code == 0
    app = page(REVIEW)
    assert any(name in error.value.replace("\\", "") for error in app.error)
    assert field(app, "Note on 1").value == "Was alike"  # type: ignore[attr-defined]
    assert not app.expander


def test_reviews_are_begun_chosen_and_deleted_after_a_question() -> None:
    app = page(REVIEW)
    assert [element.value for element in app.main.markdown] == [], "no string of the script is drawn"
    assert any("begin a review" in text.value for text in app.text)
    app.text_input(key="new_review_name").set_value("A/B?")
    click(app, "Begin")
    app.text_input(key="new_review_name").set_value("Second")
    click(app, "Begin")
    assert app.selectbox(key="review_chosen").value == "Second"
    checked(app.selectbox(key="review_chosen").set_value("A/B?").run())
    assert "A/B?" in [text.value for text in app.sidebar.text]
    assert any(link.proto.label == "Review: 0 cases" for link in app.sidebar.get("page_link"))
    click(app, "Delete this review")
    assert app.selectbox(key="review_chosen").options == ["Second"]
