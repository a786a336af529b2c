"""A report is answered by words at once; its generated images join, are stopped, switched off, or left behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
import streamlit as st
from streamlit.runtime import caching
from streamlit.testing.v1 import AppTest

from retrieval import Estimate, MeasuredGain, Query, SearchResult, keep_gain
from retrieval.generated.measured_gain import FILE
from tests.ui.view.pages import checked, click, joined, opened, viewer
from ui.view.session import Outcome, service

REPORT = "Clue cells."


@pytest.fixture(autouse=True)
def fresh(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A service of its own, whose cache holds nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COIN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
        service().close()
    st.cache_resource.clear()
    st.cache_data.clear()


def busy_device() -> AbstractContextManager[object]:
    """While it lasts, no image is generated."""
    return service().generator._lock


def ask(app: AppTest, report: str = REPORT) -> AppTest:
    app.text_area(key="report").set_value(report)
    return click(app, "Search by report")


def outcome(app: AppTest) -> Outcome:
    found = app.session_state["outcome"]
    assert isinstance(found, Outcome)
    return found


def shown(app: AppTest) -> list[str]:
    """The keys of the cases on the page, in their order."""
    result = outcome(app).result
    assert result is not None
    cards = [button.label for button in app.button if button.label.startswith("Open case #")]
    assert len(cards) == len(result.cases)
    return keys(result)


def keys(result: SearchResult) -> list[str]:
    return [ranked.case.key for ranked in result.cases]


def said(app: AppTest) -> str:
    return "\n".join(element.value for kind in (app.markdown, app.text) for element in kind)


def labels(app: AppTest) -> list[str]:
    return [button.label for button in app.button]


@pytest.mark.slow
def test_words_answer_while_the_device_is_busy_and_images_join() -> None:
    app = opened()
    with busy_device():
        ask(app)
        words = service().cases.run(Query(text=REPORT, seeds=service().seeds, channels=("joint", "report")))
        assert shown(app) == keys(words)
        assert "Stop" in labels(app)
        app.run()
        assert shown(app) == keys(words), "drawn again, it waits still"
    joined(app)
    assert shown(app) == keys(service().search(Query(text=REPORT, seeds=service().seeds)))
    assert "The generated images have joined" in said(app)
    assert "Stop" not in labels(app)
    app.run()
    assert "The generated images have joined" in said(app), "it says so until another query"


@pytest.mark.slow
def test_a_comparison_that_is_opened_before_the_images_says_so_and_shows_them_later() -> None:
    app = opened()
    with busy_device():
        click(ask(app), "Compare #1")
        assert viewer(app)["panes"][0]["pictures"] == []
        assert viewer(app)["note"] == "", "one picture has no other scale"
        assert "Stop" in labels(app)
    joined(app)
    assert len(viewer(app)["panes"][0]["pictures"]) == 2
    assert "Stop" not in labels(app)


@pytest.mark.slow
def test_a_stop_keeps_the_words_and_frees_the_device() -> None:
    app = opened()
    with busy_device():
        ask(app)
        words, queued = shown(app), outcome(app).images
        assert queued is not None
        click(app, "Stop")
        assert queued.is_stopped
    assert queued.answer.exception(600) is not None
    checked(app.run())
    assert shown(app) == words
    assert "without generated images" in said(app)
    checked(app.number_input(key="k").set_value(4).run())
    assert outcome(app).images is None, "stopped is stopped, for this text"
    click(app, "Generate images")
    joined(app)
    result = outcome(app).result
    assert result is not None
    assert result.generated is not None


@pytest.mark.slow
def test_switched_off_no_query_generates() -> None:
    app = opened()
    with busy_device():
        ask(app)
        queued = outcome(app).images
        assert queued is not None
        checked(app.toggle(key="with_images").set_value(False).run())
        assert queued.is_stopped
        ask(app, "Trichomonas.")
        assert outcome(app).images is None
        assert "without generated images" in said(app)
        checked(app.toggle(key="with_images").set_value(True).run())
        assert outcome(app).images is not None
    joined(app)
    checked(app.toggle(key="with_images").set_value(False).run())
    result = outcome(app).result
    assert result is not None
    assert result.generated is None, "switched off, they leave the answer, too"


@pytest.mark.slow
def test_images_of_a_query_that_was_left_are_not_shown() -> None:
    app = opened()
    with busy_device():
        ask(app)
        left = outcome(app).images
        assert left is not None
        ask(app, "Trichomonas.")
        assert left.is_stopped
    joined(app)
    result = outcome(app).result
    assert result is not None
    assert result.query.text == "Trichomonas."
    assert shown(app) == keys(service().search(Query(text="Trichomonas.", seeds=service().seeds)))


@pytest.mark.slow
def test_a_filter_meanwhile_keeps_the_place() -> None:
    app = opened()
    with busy_device():
        ask(app)
        queued = outcome(app).images
        checked(app.multiselect(key="filter_Site").set_value(["thyroid"]).run())
        assert outcome(app).images is queued
    joined(app)
    result = outcome(app).result
    assert result is not None
    assert result.generated is not None
    assert result.query.where is not None
    assert shown(app) == keys(service().search(result.query))


@pytest.mark.slow
def test_a_filter_afterwards_is_answered_whole_at_once() -> None:
    app = opened()
    joined(ask(app))
    with busy_device():
        checked(app.number_input(key="k").set_value(4).run())
        assert not outcome(app).needs_images
        assert shown(app) == keys(service().search(Query(text=REPORT, seeds=service().seeds, k=4)))


@pytest.mark.slow
def test_others_before_one_are_counted() -> None:
    first, second = opened(), opened()
    with busy_device():
        ask(first)
        ask(second, "Trichomonas.")
        assert "1 before you" in said(second)
        click(first, "Stop")
    joined(second)
    result = outcome(second).result
    assert result is not None
    assert result.query.text == "Trichomonas."


@pytest.mark.slow
def test_a_lost_connection_gives_up_the_place_and_asks_again() -> None:
    app = opened()
    with busy_device():
        ask(app)
        queued = outcome(app).images
        assert queued is not None
        caching.clear_session_resource_cache("test session id")  # as Streamlit does when the websocket is closed
        assert queued.is_stopped
        checked(app.run())
        assert outcome(app).images not in (None, queued)
    joined(app)
    assert "The generated images have joined" in said(app)


@pytest.mark.slow
def test_where_images_are_not_seen_to_help_the_page_says_so_and_the_switch_makes_them() -> None:
    archive, search = service().archive, service().cases
    prints = {"image": service().encoder.fingerprint, "text": service().encoder.fingerprint}
    measured = MeasuredGain("2026-11-30", 200, Estimate(0.0, -0.01, 0.01), service().generator.fingerprint, prints)
    keep_gain(archive, measured)
    try:
        default = search.generation_default()
        assert default is not None
        app = ask(opened())
        assert outcome(app).images is None
        assert outcome(app).needs_images
        assert "not seen to help on this archive" in said(app)
        assert app.toggle(key="with_images").value is False
        joined(checked(app.toggle(key="with_images").set_value(True).run()))
        result = outcome(app).result
        assert result is not None
        assert result.generated is not None
        assert "not seen to help on this archive" in said(app)
    finally:
        (archive.path / FILE).unlink()
