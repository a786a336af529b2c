"""Slides in the view, without a browser: at a field's place, searched by, and where their file is not at hand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from index_store import Archive, Case
from tests.ui.view.pages import checked, click, opened, page, viewer

SLIDE = "slide/page.py"


@pytest.fixture
def slides(
    slide_and_archive: Path, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The folder of slides of the view in force."""
    shutil.copy(slide_and_archive / "alpha.svs", tmp_path / "renamed.svs")
    (tmp_path / "another.svs").write_bytes(b"the first of the list, and no slide")
    for name, value in {
        **models,
        "COIN_ARCHIVE": str(slide_and_archive / "archive"),
        "COIN_SLIDES": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    yield tmp_path
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def case(slide_and_archive: Path) -> Case:
    with Archive.open(slide_and_archive / "archive", read_only=True) as archive:
        return archive.case("case-1")


def asked(case: Case, number: int) -> AppTest:
    """The slide's page at one of the case's fields."""
    image = case.images[number]
    return page(SLIDE, case=case.key, slide=case.slides[0].fingerprint, image=str(image.id))


def test_a_slide_opens_at_its_field_with_the_others_framed(slides: Path, case: Case) -> None:
    shown = viewer(asked(case, 1))
    (pane,) = shown["panes"]
    (picture,) = pane["pictures"]
    place = case.images[1].place
    assert place is not None
    assert picture["url"].endswith(f"{case.slides[0].fingerprint}/0")
    assert (picture["width"], picture["mpp"], picture["tiles"]["size"]) == (case.slides[0].width, 0.5, 512)
    at = picture["at"]
    assert at["x"] <= place.x and place.x + place.width <= at["x"] + at["width"]
    strong = [mark for mark in pane["marks"] if mark["strong"]]
    assert [(mark["name"], mark["x"], mark["y"]) for mark in strong] == [("field 2", place.x, place.y)]
    assert len(pane["marks"]) == 4


def test_a_part_of_a_slide_and_all_of_it_are_searched(slides: Path, case: Case) -> None:
    app = asked(case, 0)
    for side, value in (("Left", 256), ("Top", 128), ("Width", 300), ("Height", 200)):
        (field,) = [field for field in app.number_input if field.label == f"{side}, pixels"]
        field.set_value(value)
    click(app, "Search by this part")
    assert "Region 256, 128, 300, 200" in [caption.value for caption in app.caption]
    marks = viewer(app)["panes"][0]["marks"]
    assert [(mark["x"], mark["y"], mark["width"], mark["height"]) for mark in marks] == [(256, 128, 300, 200)]
    assert app.segmented_control(key="search_by").value == "Slide"
    assert app.selectbox(key="slide_name").value == "renamed.svs", "the form names the slide that was searched"
    app = asked(case, 0)
    click(app, "Search by the whole slide")
    assert any("of its fields" in caption.value for caption in app.caption)
    pairs = [caption.value for caption in app.caption if "query field at" in caption.value]
    assert pairs[0].startswith("1: **1.000**"), "each field meets itself"
    overviews = [image for images in app.image for image in images.proto.imgs if image.alt.startswith("Where these")]
    assert len(overviews) == 1, "the case has one slide"


def test_a_slide_that_is_gone_is_said_and_its_overview_shown(slides: Path, case: Case) -> None:
    (slides / "renamed.svs").unlink()
    app = asked(case, 0)
    assert any("not in the folder of slides any more" in note.value for note in app.info)
    (pane,) = viewer(app)["panes"]
    (picture,) = pane["pictures"]
    assert "/overviews/" in picture["url"] and picture["tiles"] is None
    assert all(mark["x"] + mark["width"] <= picture["width"] + 1 for mark in pane["marks"])
    assert not pane["region"], "nothing can be searched by a picture that small"


def test_a_slide_of_the_folder_is_searched_by_and_opened(slides: Path) -> None:
    app = opened()
    checked(app.segmented_control(key="search_by").set_value("Slide").run())
    assert app.selectbox(key="slide_name").options == ["another.svs", "renamed.svs"]
    click(app, "Search by slide")
    assert "another" in app.error[0].value
    app.selectbox(key="slide_name").set_value("renamed.svs")
    click(app, "Open the slide")
    assert viewer(app)["panes"][0]["pictures"][0]["alt"] == "Slide renamed.svs"
    assert "There is no slide" in page(SLIDE, file="../archive").error[0].value


def test_without_a_folder_no_slide_is_offered(slides: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COIN_SLIDES")
    assert "Slide" not in opened().segmented_control(key="search_by").options
    assert any("--slides" in note.value.replace("\\", "") for note in asked(case, 0).info)


def test_all_images_of_a_patient_are_shown_and_can_be_searched_by(slides: Path, case: Case) -> None:
    """What "2 more images" on a card leads to."""

    def window() -> None:
        from index_store import CaseFilter
        from ui.view.session import service
        from ui.view.viewer.enlarged import enlarge_patient

        case = service().archive.case("case-1")
        enlarge_patient(case, case.images[2], CaseFilter())

    (pane,) = viewer(AppTest.from_function(window, default_timeout=300).run())["panes"]
    assert [picture["id"] for picture in pane["pictures"]] == [str(image.id) for image in case.images]
    assert (pane["start"], pane["region"]) == (2, "Search by a region")


def test_a_review_shows_all_images_of_a_case(
    slides: Path, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COIN_QUERIES", str(tmp_path / "queries"))
    click(page("case_page.py", case=case.key), "Pin")
    shown = "".join(element.proto.body for element in page("review/page.py").get("html"))
    assert [f"/images/{image.id}.png" in shown for image in case.images] == [True] * 4


def test_one_case_is_counted_as_one(slides: Path) -> None:
    assert any(text.value.endswith("\n1 case, 4 images") for text in opened().sidebar.text)
