"""The page that compares, without a browser: who stands beside whom, and which words are marked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st

from generation.phantom import Phantom
from tests.ui.view.pages import checked, click, joined, opened, page, viewer

COMPARE = "compare/page.py"


@pytest.fixture(autouse=True)
def settings(environment: dict[str, str]) -> Iterator[None]:
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


def marked(pane: dict[str, object]) -> list[str]:
    parts: object = pane["report"]
    assert isinstance(parts, list)
    return [text for text, shared in parts if shared]


def test_a_card_leads_to_the_query_beside_its_case(phantoms: list[Phantom]) -> None:
    app = opened()
    app.text_area(key="report").set_value("Clue cells.")
    joined(click(app, "Search by report"))
    click(app, "Compare #2")
    query, case = viewer(app)["panes"]
    assert query["title"] == "Query"
    assert [picture["label"] for picture in query["pictures"]] == ["SYNTHETIC: generated, no patient"] * 2
    assert "".join(text for text, _ in query["report"]) == "Clue cells."
    key = app.query_params["case"]
    assert case["title"] == f"#2 {key}"
    report = next(phantom.report for phantom in phantoms if phantom.key == key)
    assert "".join(text for text, _ in case["report"]).endswith(report)
    words = {word.casefold().rstrip("s") for word in marked(case)}
    assert words <= {"clue", "cell"}
    assert "unknown" in viewer(app)["note"]


def test_cases_alone_are_compared_with_each_other_and_others_can_be_chosen(phantoms: list[Phantom]) -> None:
    keys = [phantom.key for phantom in phantoms[:3]]
    app = page(COMPARE, case=keys[:2])
    first, second = viewer(app)["panes"]
    assert [first["title"], second["title"]] == keys[:2]
    assert marked(first)
    assert {word.casefold().rstrip("s") for word in marked(first)} == {
        word.casefold().rstrip("s") for word in marked(second)
    }
    checked(app.multiselect[0].set_value([keys[1]]).run())
    (alone,) = viewer(app)["panes"]
    assert marked(alone) == [], "there is nothing to compare it with"
    app = page(COMPARE, case=[*keys, phantoms[3].key])
    assert len(viewer(app)["panes"]) == 3


def test_an_unknown_case_and_none_are_said() -> None:
    assert "nobody" in page(COMPARE, case=["nobody"]).error[0].value
    assert any("Choose one to three cases" in text.value for text in page(COMPARE).text)


def test_an_uploads_region_is_framed_beside_the_case(manifest: Path, phantoms: list[Phantom]) -> None:
    app = opened()
    checked(app.segmented_control(key="search_by").set_value("Image").run())
    picture = manifest.parent / "images" / f"{phantoms[2].key}.png"
    app.file_uploader(key="upload").set_value(("field.png", picture.read_bytes(), "image/png"))
    app.number_input(key="image_mpp").set_value(0.25)
    click(app, "Search by image")
    (width,) = [field for field in app.number_input if field.label == "Width, pixels"]
    width.set_value(32)
    click(app, "Search by this part")
    click(app, "Compare #1")
    query, _ = viewer(app)["panes"]
    assert query["pictures"][0]["mpp"] == 0.25
    assert [(mark["width"], mark["height"]) for mark in query["marks"]] == [(32, 64)]
