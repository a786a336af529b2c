"""The page of a blinded reading, driven without a browser: entrance, rating, going on, closing, truth."""

from __future__ import annotations

from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from retrieval import RESEARCH_USE, ReaderStudy, open_reader_study
from tests.ui.reading_parts import PAIRS
from tests.ui.view.pages import APP, checked, click
from tests.ui.view.test_view import HOSTILE, marked_up, texts

PAGE = "reading/page.py"
HIDDEN = "Real or generated: hidden until you close your reading."
TOTAL = 2 * PAIRS


def opened() -> AppTest:
    app = checked(AppTest.from_file(str(APP), default_timeout=600).run())
    return checked(app.switch_page(PAGE).run())


def begin(reader: str) -> AppTest:
    app = opened()
    app.text_input(key="reading_as").set_value(reader)
    return click(app, "Begin or resume")


def press(app: AppTest, key: str) -> AppTest:
    return checked(app.button(key=key).click().run())


def chosen(app: AppTest) -> set[str]:
    """Keys of the answers that are shown as given."""
    return {
        str(button.key)
        for button in app.button
        if button.proto.type == "primary" and str(button.key).split("-")[0] in ("anatomic", "diagnostic", "guess")
    }


def heading(app: AppTest) -> str:
    return str([*app.main.title, *app.main.header][0].value)


def everything_shown(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.error, app.info, app.warning, app.title, app.header, app.text)
    alts = [image.alt for images in app.image for image in images.proto.imgs] if hasattr(app, "image") else []
    return "\n".join([*(str(element.value) for kind in kinds for element in kind), *map(str, alts)])


def test_picture_after_picture_is_rated_and_stored_at_once(study: ReaderStudy) -> None:
    app = begin("P1")
    assert heading(app) == f"Picture 1 of {TOTAL}"
    assert any(caption.value.startswith(HIDDEN) for caption in app.caption)
    assert len(app.image) == 1
    first = study.order("P1")[0].id
    press(app, "anatomic-4")
    press(app, "diagnostic-2")
    press(app, "guess-generated")
    assert chosen(app) == {"anatomic-4", "diagnostic-2", "guess-generated"}
    app.text_area(key="comment-0").set_value("too round")
    checked(app.run())
    found = study.ratings.of("P1")[first]
    assert (found.anatomic, found.diagnostic, found.guess, found.comment) == (4, 2, "generated", "too round")
    press(app, "guess-generated")
    assert study.ratings.of("P1")[first].guess is None, "a guess cannot be taken back"
    click(app, "Next")
    assert heading(app) == f"Picture 2 of {TOTAL}"
    assert chosen(app) == set()
    assert app.text_area(key="comment-1").value == ""
    click(app, "Previous")
    assert chosen(app) == {"anatomic-4", "diagnostic-2"}
    assert app.text_area(key="comment-0").value == "too round"


@pytest.mark.slow
def test_a_new_session_goes_on_where_the_last_one_stopped(study: ReaderStudy) -> None:
    app = begin("P1")
    for score in ("anatomic-4", "diagnostic-2"):
        press(app, score)
    click(app, "Next")
    press(app, "anatomic-1")  # half an answer
    again = begin("  P1 ")
    assert heading(again) == f"Picture 2 of {TOTAL}"
    assert chosen(again) == {"anatomic-1"}
    other = begin("P2")
    assert heading(other) == f"Picture 1 of {TOTAL}"
    assert chosen(other) == set()
    click(other, "Stop for now")
    assert "Blinded reader study" in heading(other)


@pytest.mark.slow
def test_nothing_on_the_page_tells_what_a_picture_is(study: ReaderStudy) -> None:
    """Whatever the picture, the same words stand around it, but its place and what is stated of it."""
    app = begin("P1")
    truth = study.truth().origins
    pages = {True: set[str](), False: set[str]()}
    for place, picture in enumerate(study.order("P1")):
        shown = everything_shown(app)
        assert picture.id not in shown
        for word in (f"Picture {place + 1} of {TOTAL}", picture.site, picture.category):
            shown = shown.replace(word, "")
        pages[truth[picture.id].generated].add(shown)
        if place < TOTAL - 1:
            click(app, "Next")
    assert pages[True] == pages[False]
    assert len(pages[True]) == 1
    for word in ("SYNTHETIC", "PHANTOM:", "preset", "seed"):
        assert word not in next(iter(pages[True]))


@pytest.mark.slow
def test_two_tabs_of_one_reader_do_not_overwrite_each_other(study: ReaderStudy) -> None:
    tab, other = begin("P1"), begin("P1")
    press(tab, "anatomic-5")
    press(other, "diagnostic-1")
    found = study.ratings.of("P1")[study.order("P1")[0].id]
    assert (found.anatomic, found.diagnostic) == (5, 1)
    assert chosen(other) == {"anatomic-5", "diagnostic-1"}


@pytest.mark.slow
def test_zoom_shows_a_part_of_the_same_size(study: ReaderStudy) -> None:
    app = begin("P1")
    before = app.image[0].proto.imgs[0].url
    checked(app.segmented_control(key="zoom-0").set_value(4).run())
    checked(app.slider(key="across-0").set_value(0).run())
    assert app.image[0].proto.imgs[0].url != before
    import io

    from PIL import Image

    from ui.view.reading.session import SHOWN, part_png

    sizes = set()
    for picture in study.pictures:
        for zoom in (1, 2, 4):
            with Image.open(io.BytesIO(part_png(study, picture.id, zoom, 0, 100))) as image:
                sizes.add((image.size, image.format, tuple(image.info)))
    assert sizes == {((SHOWN, SHOWN), "PNG", ())}


@pytest.mark.slow
def test_closing_freezes_and_shows_the_truth_with_its_marks(study: ReaderStudy) -> None:
    app, other_tab = begin("P1"), begin("P1")
    for place in range(TOTAL):
        press(app, f"anatomic-{1 + place % 5}")
        press(app, "diagnostic-3")
        press(app, "guess-real")
        if place < TOTAL - 1:
            if place == TOTAL - 2:
                assert any("1 picture lacks a rating" in element.value for element in app.markdown)
            click(app, "Next")
    assert any(f"{TOTAL} rated" in text for text in texts(app))
    click(app, "Close for good")
    assert "closed" in heading(app)
    marks = [element.value for element in app.markdown if "no patient" in element.value]
    assert sum("SYNTHETIC" in mark for mark in marks) == PAIRS
    assert sum("PHANTOM" in mark for mark in marks) == PAIRS
    assert len(app.image) == TOTAL
    numbers = [int(element.value.split(".")[0]) for element in app.text if "Your rating" in element.value]
    assert numbers == list(range(1, TOTAL + 1))
    assert any("All images in the role of real ones are phantoms" in text for text in texts(app))
    assert len(app.dataframe) == 2, "scores and guesses; one reader agrees with nobody"
    press(other_tab, "anatomic-5")  # what was on screen there before
    assert "closed" in heading(other_tab)
    assert study.ratings.of("P1")[study.order("P1")[0].id].anatomic == 1
    again = begin("P1")
    assert "closed" in heading(again)


@pytest.mark.slow
def test_closing_with_pictures_left_says_how_many(study: ReaderStudy) -> None:
    app = begin("P1")
    assert any(f"{TOTAL} pictures lack a rating" in element.value for element in app.markdown)
    click(app, "Close for good")
    assert any("too few" in table.value.to_string() for table in app.dataframe)


def test_figures_of_two_readers_show_their_agreement(study: ReaderStudy) -> None:
    for reader in ("P1", "P2"):
        study.ratings.begin(reader, pseudonym=False)
        for number, picture in enumerate(study.pictures):
            study.ratings.rate(reader, picture.id, "anatomic", 1 + number % 5)
            study.ratings.rate(reader, picture.id, "diagnostic", 2)
        study.ratings.close_reader(reader)
    app = begin("P1")
    shown = " ".join(app.dataframe[2].value.astype(str).to_numpy().ravel()).replace("\\", "")
    assert "Cohen's kappa, quadratic weights" in shown
    assert "undefined: every answer is the same" in shown
    assert "nan" not in shown.lower()
    marks = [element.value for element in app.markdown if "no patient" in element.value]
    assert [mark.split("[")[0] for mark in marks] == [":violet-badge"] * TOTAL, "the colour of what is no real image"


def test_names_and_comments_are_never_markup(study: ReaderStudy) -> None:
    name = HOSTILE[:60]
    app = begin(name)
    app.text_area(key="comment-0").set_value(HOSTILE)
    checked(app.run())
    marked_up(app)
    click(app, "Close for good")
    marked_up(app)
    assert any(HOSTILE in text for text in texts(app))


def test_what_cannot_be_a_name_is_said(study: ReaderStudy) -> None:
    app = begin("   ")
    assert "name or a pseudonym" in app.error[0].value
    assert study.ratings.readers() == ()


def test_the_page_is_linked_only_where_there_is_a_reading(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COIN_READINGS", str(tmp_path / "nothing"))
    app = opened()
    assert "No reader study here" in heading(app)
    assert not any("coin " in text for text in texts(app)), "no command line on a page"
    assert all(link.proto.label.startswith("Review:") for link in app.sidebar.get("page_link"))
    st.cache_resource.clear()


def test_a_view_of_readings_alone_has_no_search(study: ReaderStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COIN_READING_ONLY", "yes")
    monkeypatch.setenv("COIN_ARCHIVE", "not there")
    app = AppTest.from_file(str(APP), default_timeout=600).run()
    assert not app.exception
    assert RESEARCH_USE in app.warning[0].value
    assert "Blinded reader study" in heading(app)
    assert not app.error
    assert not app.sidebar.get("page_link")
    assert not [button for button in app.button if "earch" in button.label]


def test_a_damaged_study_is_said_and_not_shown(study: ReaderStudy) -> None:
    (study.folder / "study.json").write_text("{}")
    app = opened()
    assert "format None" in app.error[0].value.replace("\\", "")
    assert open_reader_study is not None
