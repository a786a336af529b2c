"""The view's behaviour, page by page, on real models and a real archive; no browser (see `test_browser.py`)."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from PIL import Image
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block, NumberInput

from generation import PRESETS
from generation.phantom import Phantom
from index_store import CaseFilter
from retrieval import Query
from tests.ui.conftest import CASES, coin
from tests.ui.view.pages import checked, click, joined, opened, viewer
from ui.pictures.sizes import png_bytes
from ui.service import Service
from ui.settings import Settings
from ui.view import query_panel
from ui.view.example_reports import EXAMPLE_REPORTS

CASE_PAGE = "case_page.py"
HOSTILE = "**bold** <script>alert(1)</script> :red[x] $y$ [l](javascript:1) https://evil.example :smile:"


@pytest.fixture(scope="module", autouse=True)
def one_service() -> Iterator[None]:
    """What sessions share (open archives, models, pictures) is shared by the tests, too: each is a session."""
    yield
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def app(environment: dict[str, str]) -> AppTest:
    """The view on the shared archive, just opened."""
    return opened()


@pytest.fixture(scope="module")
def answered(models: dict[str, str], archive: Path) -> AppTest:
    """The view after a search by report, for tests that only look at it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**models, "COIN_ARCHIVE": str(archive)}.items():
            patch.setenv(name, value)
        return search_by_report(opened(), "Clue cells.")


def texts(app: AppTest) -> list[str]:
    return [element.value for element in app.text]


def search_by_report(app: AppTest, report: str) -> AppTest:
    app.text_area(key="report").set_value(report)
    return joined(click(app, "Search by report"))


def region_field(app: AppTest, label: str) -> NumberInput:
    (found,) = [field for field in app.number_input if field.label == f"{label}, pixels"]
    return found


def rows_of(block: Block) -> Iterator[Block]:
    """The containers whose parts stand side by side."""
    for child in block.children.values():
        if isinstance(child, Block):
            flex = child.proto.flex_container if child.type == "flex_container" else None
            if flex is not None and flex.direction == flex.HORIZONTAL:
                yield child
            yield from rows_of(child)


def ranks(app: AppTest) -> int:
    return sum(button.label.startswith("Open case #") for button in app.button)


def test_the_start_page_invites_and_searches_nothing(app: AppTest) -> None:
    assert ranks(app) == 0
    assert not app.error
    assert any("phantoms" in text and f"{CASES} cases" in text for text in texts(app))


def test_a_report_shows_synthetic_images_and_cases(answered: AppTest, phantoms: list[Phantom]) -> None:
    assert ranks(answered) == 10
    captions = [caption.value for caption in answered.caption]
    assert [caption for caption in captions if "SYNTHETIC" in caption] == [
        "**SYNTHETIC**, seed 0",
        "**SYNTHETIC**, seed 1",
    ]
    assert any(caption.startswith(f"Preset draft: {PRESETS['draft'].steps} steps") for caption in captions)
    assert any("generate" in caption and "embed" in caption and "search" in caption for caption in captions)
    assert "Clue cells." in texts(answered), "the prompt is not shown"
    assert "Negative prompt:" not in captions, "there is none"
    reports = {phantom.report for phantom in phantoms}
    assert len([text for text in texts(answered) if text in reports]) == 10
    assert len(answered.image) == 2, "the synthetic ones; those of cases are loaded by the browser"
    shown = [html.proto.body for html in answered.get("html") if "<img" in html.proto.body]
    assert [body.partition('alt="')[2].partition(":")[0] for body in shown] == [
        f"Case #{rank}" for rank in range(1, 11)
    ]
    beside = [[caption.value for caption in row.get("caption")] for row in rows_of(answered.main)]
    assert ["**SYNTHETIC**, seed 0", "**SYNTHETIC**, seed 1"] in beside, "the images of a report stand side by side"


@pytest.mark.slow
def test_what_the_glossary_replaced_stands_beside_the_prompt(
    app: AppTest, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    search_by_report(app, "Cue cells.")
    assert "Cue cells." in texts(app), "COIN's own words are drawn by"
    assert any("“Cue cells” → “Clue cells”" in note.value for note in app.info)
    monkeypatch.setenv("COIN_GLOSSARY", "yes")
    search_by_report(app, "Some cue cells.")
    assert "Some clue cells." in texts(app)
    assert "Replaced by the glossary:" in [caption.value for caption in app.caption]
    assert "“cue cells” → “clue cells”" in texts(app)


@pytest.mark.slow
def test_a_query_that_is_not_understood_says_so_and_shows_no_agreement(app: AppTest) -> None:
    search_by_report(app, "x")
    assert ranks(app)
    assert any("The query is not understood" in warning.value for warning in app.warning)
    assert not any("Agreement among" in caption.value for caption in app.caption)


def test_every_phantom_on_screen_is_labelled(answered: AppTest) -> None:
    labels = [element.value for element in answered.markdown if "PHANTOM" in element.value]
    assert len(labels) == 10


def test_buttons_have_labels_of_their_own(answered: AppTest) -> None:
    labels = [button.label for button in answered.button]
    assert len(labels) == len(set(labels))


@pytest.mark.slow
def test_the_number_of_images_and_the_seed_can_be_chosen(app: AppTest) -> None:
    app.number_input(key="n_images").set_value(1)
    app.number_input(key="seed").set_value(42)
    search_by_report(app, "Clue cells.")
    assert [c.value for c in app.caption if "SYNTHETIC" in c.value] == ["**SYNTHETIC**, seed 42"]


def test_an_example_fills_the_report(app: AppTest) -> None:
    label, report = next(iter(EXAMPLE_REPORTS.items()))
    checked(app.pills(key="example").set_value(label).run())
    assert app.text_area(key="report").value == report


def test_filters_apply_at_once(app: AppTest, phantoms: list[Phantom]) -> None:
    search_by_report(app, "Clue cells.")
    checked(app.multiselect(key="filter_Site").set_value(["thyroid"]).run())
    thyroid = {phantom.report for phantom in phantoms if phantom.morphology.site == "thyroid"}
    assert ranks(app) == len(thyroid)
    assert {text for text in texts(app) if text in {p.report for p in phantoms}} == thyroid
    assert any("Only 3" in note.value for note in app.info)


def test_an_empty_report_is_answered_with_one_message(app: AppTest) -> None:
    search_by_report(app, "  ")
    assert len(app.error) == 1
    assert "report is empty" in app.error[0].value
    assert ranks(app) == 0


def ask_nothing(app: AppTest, way: str) -> None:
    """Ask what cannot be answered, in the place of an answered query."""
    if way == "an empty report":
        search_by_report(app, " ")
    elif way == "an edited text that is empty":
        app.text_area(key="edited_text").set_value("")
        click(app, "Search with this text")
    elif way == "a saved query that is gone":
        app.text_input(key="query_name").set_value("gone")
        click(app, "Save query")
        shutil.rmtree(os.environ["COIN_QUERIES"])
        click(app, "Run again")
    else:
        checked(app.segmented_control(key="search_by").set_value(way).run())
        click(app, f"Search by {way.lower()}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "way",
    [
        *("an empty report", "an edited text that is empty", "a saved query that is gone"),
        *("Image", "Case"),
    ],
)
def test_what_cannot_be_answered_never_stands_beside_older_cases(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    monkeypatch.setenv("COIN_QUERIES", str(tmp_path / "queries"))
    app = search_by_report(opened(), "Clue cells.")
    assert ranks(app) == 10
    ask_nothing(app, way)
    assert ranks(app) == 0
    assert len(app.error) == 1
    assert not any("SYNTHETIC" in caption.value for caption in app.caption), "the last query's pictures"
    click(app, "Back to the last results")
    assert ranks(app) == 10
    assert not app.error


@pytest.mark.slow
def test_above_the_cases_stands_what_they_answer(app: AppTest, phantoms: list[Phantom]) -> None:
    checked(app.segmented_control(key="search_by").set_value("Case").run())
    app.selectbox(key="case_key").set_value(phantoms[4].key)
    app.checkbox(key="case_report").check()
    click(app, "Search by case")
    checked(app.multiselect(key="filter_Site").set_value(["thyroid", "urine"]).run())
    click(app, "More like #2")
    assert "What was asked" in [heading.value for heading in [*app.title, *app.header, *app.subheader]]
    assert f"**Case {phantoms[4].key}**".replace("-", "\\-") in [e.value for e in app.markdown]
    assert any(phantoms[4].report in text for text in texts(app))
    assert any("Site\\: thyroid or urine" in caption.value for caption in app.caption)
    assert any((button.key or "").startswith("unmark-") for button in app.button)
    click(app, "Reset the filters")
    assert app.multiselect(key="filter_Site").value == []
    assert ranks(app) == 10
    assert any("Filters:** none" in caption.value for caption in app.caption)


@pytest.mark.slow
def test_what_a_saved_query_leaves_out_stays_out_and_is_said(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, phantoms: list[Phantom]
) -> None:
    """No field of the page shows such a filter."""
    monkeypatch.setenv("COIN_QUERIES", str(tmp_path / "queries"))
    service = Service(Settings.from_env())
    service.queries.save("kept", Query(text="Clue cells.", where=CaseFilter(exclude_cases=(phantoms[0].key,)), k=24))
    service.close()
    app = opened()
    click(app, "Run again")
    assert app.text_area(key="report").value == "Clue cells.", "the form shows another text than the one that asked"
    assert ranks(app) == 23
    assert any("Without case" in caption.value for caption in app.caption)
    click(app, "Reset the filters")
    assert ranks(app) == 24


def test_an_uploaded_image_finds_itself(app: AppTest, manifest: Path, phantoms: list[Phantom]) -> None:
    image = manifest.parent / "images" / f"{phantoms[2].key}.png"
    checked(app.segmented_control(key="search_by").set_value("Image").run())
    app.file_uploader(key="upload").set_value(("field.png", image.read_bytes(), "image/png"))
    click(app, "Search by image")
    assert phantoms[2].report in texts(app)
    assert any("#1" in element.value and "1.000" in element.value for element in app.markdown)
    labels = [element.value for element in app.markdown if "PHANTOM" in element.value]
    assert len(labels) == 10
    (query,) = viewer(app)["panes"][0]["pictures"]
    assert "PHANTOM" in query["label"], "the uploaded phantom is not labelled"
    assert (query["width"], query["height"]) == (64, 64), "the picture's own pixels"


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"<html>no image</html>", png_bytes(Image.new("RGB", (64, 64)))[:60]])
def test_an_upload_that_is_no_image(app: AppTest, content: bytes) -> None:
    checked(app.segmented_control(key="search_by").set_value("Image").run())
    app.file_uploader(key="upload").set_value(("field.png", content, "image/png"))
    click(app, "Search by image")
    assert len(app.error) == 1
    assert "image" in app.error[0].value
    assert ranks(app) == 0


def test_searching_without_an_image_or_a_case_asks_for_one(app: AppTest) -> None:
    for kind in ("Image", "Case"):
        checked(app.segmented_control(key="search_by").set_value(kind).run())
        click(app, f"Search by {kind.lower()}")
        assert "Choose" in app.error[0].value


def test_a_case_is_picked_by_its_key(app: AppTest, phantoms: list[Phantom]) -> None:
    checked(app.segmented_control(key="search_by").set_value("Case").run())
    app.selectbox(key="case_key").set_value(phantoms[4].key)
    click(app, "Search by case")
    assert ranks(app) == 10
    assert any(phantoms[4].key in text for text in texts(app))


@pytest.mark.slow
def test_a_case_beyond_those_offered_can_still_be_asked_by(
    environment: dict[str, str], phantoms: list[Phantom], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_panel, "PICKABLE", 2)
    app = opened()
    app.query_params["case"] = phantoms[-1].key
    checked(app.switch_page(CASE_PAGE).run())
    click(app, "Find similar cases")
    assert app.selectbox(key="case_key").value == phantoms[-1].key
    assert len(app.selectbox(key="case_key").options) == 3, "those offered, and the one that was asked by"
    assert ranks(app) == 10


@pytest.mark.slow
def test_a_case_is_found_by_key_label_and_words_of_its_report(
    environment: dict[str, str], phantoms: list[Phantom], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_panel, "PICKABLE", 2)
    app = opened()
    checked(app.segmented_control(key="search_by").set_value("Case").run())
    last = max(phantoms, key=lambda phantom: phantom.key)

    def found(text: str) -> list[str]:
        checked(app.text_input(key="case_words").set_value(text).run())
        return list(app.selectbox(key="case_key").options)

    name = f"{last.key} · {last.profile.site} · {last.profile.category}"
    assert name not in app.selectbox(key="case_key").options
    assert name in found(last.key[:-1])
    assert name in found(f"{last.profile.site} {last.report}")
    assert found("neither word") == []
    assert "No cases found" in [caption.value for caption in app.caption]
    found(last.key)
    app.selectbox(key="case_key").set_value(name)
    click(app, "Search by case")
    assert app.session_state["query"].case == last.key


@pytest.mark.slow
def test_find_similar_asks_by_that_case(app: AppTest) -> None:
    search_by_report(app, "Clue cells.")
    click(app, "Find similar to #2")
    assert ranks(app) == 10
    assert any(element.value.startswith("**Case ") for element in app.markdown)
    assert app.segmented_control(key="search_by").value == "Case"


@pytest.mark.slow
def test_open_case_leads_to_its_page_and_back(app: AppTest, phantoms: list[Phantom]) -> None:
    search_by_report(app, "Clue cells.")
    click(app, "Open case #1")
    case = app.query_params["case"]
    (phantom,) = [phantom for phantom in phantoms if phantom.key == case]
    assert phantom.report in texts(app)
    assert phantom.morphology.system in texts(app)
    assert len(viewer(app)["panes"][0]["pictures"]) == 1
    click(app, "Back to the search")
    assert ranks(app) == 10, "the result was lost on the way"
    assert app.text_area(key="report").value == "Clue cells."


def test_a_case_page_can_be_bookmarked(app: AppTest, phantoms: list[Phantom]) -> None:
    app.query_params["case"] = phantoms[7].key
    checked(app.switch_page(CASE_PAGE).run())
    assert phantoms[7].report in texts(app)
    click(app, "Find similar cases")
    assert ranks(app) == 10


def test_an_unknown_case_page_says_so(app: AppTest) -> None:
    app.query_params["case"] = "nobody"
    checked(app.switch_page(CASE_PAGE).run())
    assert "nobody" in app.error[0].value


def test_a_case_page_without_a_case(app: AppTest) -> None:
    checked(app.switch_page(CASE_PAGE).run())
    assert "No case chosen" in [heading.value for heading in [*app.title, *app.header, *app.subheader]]


@pytest.mark.slow
def test_text_of_others_is_never_markup(
    models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key, patient, report, site and source all hold Markdown, HTML and Streamlit directives."""
    for name, value in {**models, "COIN_ARCHIVE": str(tmp_path / "archive")}.items():
        monkeypatch.setenv(name, value)
    Image.effect_noise((64, 64), 60).convert("RGB").save(tmp_path / "a.png")
    row = dict.fromkeys(("case", "patient", "report", "site", "category", "stain", "source", "scanner"), HOSTILE)
    (tmp_path / "list.jsonl").write_text(json.dumps({"image": "a.png", **row}), encoding="utf-8")
    assert coin("init").exit_code == 0
    assert "added 1 images" in coin("add", tmp_path / "list.jsonl").stdout
    app = opened()
    search_by_report(app, HOSTILE)
    marked_up(app)
    click(app, "Open case #1")
    marked_up(app)
    assert HOSTILE in texts(app)
    app.query_params["case"] = HOSTILE + "x"
    checked(app.run())
    assert app.error
    marked_up(app)


@pytest.mark.slow
def test_a_case_page_says_what_was_read_from_the_report(
    models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**models, "COIN_ARCHIVE": str(tmp_path / "archive")}.items():
        monkeypatch.setenv(name, value)
    Image.new("RGB", (64, 64), "pink").save(tmp_path / "a.png")
    row = {"image": "a.png", "case": "case-1", "site": "urine", "report": "Urine cytology: no malignant cells."}
    (tmp_path / "list.jsonl").write_text(json.dumps(row), encoding="utf-8")
    assert coin("init").exit_code == 0
    assert coin("add", tmp_path / "list.jsonl").exit_code == 0
    app = opened()
    app.query_params["case"] = "case-1"
    checked(app.switch_page(CASE_PAGE).run())
    assert {"urine", "Paris 2.0 (extracted from the report)", "NHGUC (extracted from the report)"} <= set(texts(app))


@pytest.mark.slow
def test_a_case_page_shows_all_its_images_in_one_viewer(
    models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**models, "COIN_ARCHIVE": str(tmp_path / "archive")}.items():
        monkeypatch.setenv(name, value)
    rows = []
    for number, mpp in enumerate(("0.25", "", "")):
        Image.effect_noise((64, 48), 60 + number).convert("RGB").save(tmp_path / f"{number}.png")
        rows.append(json.dumps({"image": f"{number}.png", "case": "case-1", "report": "Urine.", "mpp": mpp}))
    (tmp_path / "list.jsonl").write_text("\n".join(rows), encoding="utf-8")
    assert coin("init").exit_code == 0
    assert coin("add", tmp_path / "list.jsonl").exit_code == 0
    app = opened()
    app.query_params["case"] = "case-1"
    checked(app.switch_page(CASE_PAGE).run())
    pictures = viewer(app)["panes"][0]["pictures"]
    assert [picture["alt"] for picture in pictures] == [f"Image {number} of 3" for number in (1, 2, 3)]
    assert {(picture["width"], picture["height"]) for picture in pictures} == {(64, 48)}
    assert [picture["mpp"] for picture in pictures] == [0.25, None, None]
    assert "Scale unknown" in pictures[1]["caption"]


def marked_up(app: AppTest) -> None:
    """No element that Streamlit reads as Markdown holds the text unescaped."""
    kinds = (app.markdown, app.caption, app.error, app.info, app.warning, app.subheader, app.header, app.title)
    values = [element.value for kind in kinds for element in kind]
    values += [button.label for button in app.button]
    for value in values:
        for part in ("**bold**", "<script>", ":red[", "$y$", "[l](", "https://", ":smile"):
            assert part not in value, value


@pytest.mark.parametrize("setting", ["COIN_ARCHIVE", "COIN_ENCODER", "COIN_BASE"])
def test_what_is_missing_is_named(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv(setting, "not there")
    app = opened()
    if setting != "COIN_ARCHIVE":
        search_by_report(app, "Clue cells.")
    assert len(app.error) == 1
    assert "not there" in app.error[0].value.replace("\\", "")


# Channels and refinement


def test_each_card_says_which_channel_put_it_there(answered: AppTest) -> None:
    places = [
        caption.value for caption in answered.caption if "generated images" in caption.value and "·" in caption.value
    ]
    assert len(places) == 10
    assert all("text to image" in place and "reports" in place for place in places)


def test_the_number_on_a_card_is_the_one_that_ranks(answered: AppTest) -> None:
    """It was the cosine similarity of one channel: 0.912 on the first card and 0.931 on the second."""
    heads = [element.value.replace("\\", "") for element in answered.markdown if element.value.startswith("**#")]
    numbers = [float(re.findall(r"· ([0-9.]+) points", head)[0]) for head in heads]
    assert len(numbers) == 10
    assert numbers == sorted(numbers, reverse=True)
    assert 0 < numbers[-1] < numbers[0] <= 100
    assert any("Ordered by points" in heading.proto.help for heading in answered.header)
    parts = [text for text in texts(answered) if re.search(r" of \d+, place ", text)]
    assert len(parts) == 30, "each card says what each of the three channels added"
    added = [float(re.findall(r": ([0-9.]+) of", part)[0]) for part in parts[:3]]
    assert sum(added) == pytest.approx(numbers[0], abs=0.2)


@pytest.mark.slow
def test_pictures_say_their_own_size_and_the_reader_chooses_how_many_stand_in_a_row(app: AppTest) -> None:
    search_by_report(app, "Clue cells.")
    assert [caption.value for caption in app.caption].count("field\\, 64 × 64 pixels\\, 96 × 96 µm") == 10
    assert app.segmented_control(key="per_row").value == 3
    checked(app.segmented_control(key="per_row").set_value(2).run())
    click(app, "Open case #1")
    click(app, "Back to the search")
    assert app.segmented_control(key="per_row").value == 2, "the choice was lost on the way"
    assert ranks(app) == 10


def test_a_card_has_three_buttons_below_its_picture(answered: AppTest) -> None:
    (row,) = [row for row in rows_of(answered.main) if [b.label for b in row.get("button")][:1] == ["Compare #1"]]
    *buttons, menu = [child.type for child in row.children.values()]
    assert menu == "popover"
    assert set(buttons) == {"button"}
    assert len(buttons) <= 3


@pytest.mark.slow
def test_more_and_less_like_refine_the_query_and_can_be_taken_back(app: AppTest) -> None:
    search_by_report(app, "Clue cells.")
    click(app, "More like #4")
    click(app, "Less like #7")
    marks = [button for button in app.button if (button.key or "").startswith("unmark-")]
    assert [mark.label.split()[0] for mark in marks] == ["More", "Less"]
    checked(marks[0].click().run())
    assert [button.label.split()[0] for button in app.button if (button.key or "").startswith("unmark-")] == ["Less"]


@pytest.mark.slow
def test_a_generated_image_can_be_dropped_and_the_text_edited(app: AppTest) -> None:
    search_by_report(app, "Clue cells.")
    click(app, "Drop seed 0")
    assert [c.value for c in app.caption if "SYNTHETIC" in c.value] == ["**SYNTHETIC**, seed 1"]
    assert not any(button.label.startswith("Drop") for button in app.button), "the last image can be dropped"
    app.text_area(key="edited_text").set_value("Trichomonas.")
    joined(click(app, "Search with this text"))
    assert [c.value for c in app.caption if "SYNTHETIC" in c.value] == ["**SYNTHETIC**, seed 1"]
    assert "Trichomonas." in texts(app)


@pytest.mark.slow
def test_a_part_of_an_image_asks(app: AppTest, manifest: Path, phantoms: list[Phantom]) -> None:
    image = manifest.parent / "images" / f"{phantoms[2].key}.png"
    checked(app.segmented_control(key="search_by").set_value("Image").run())
    app.file_uploader(key="upload").set_value(("field.png", image.read_bytes(), "image/png"))
    click(app, "Search by image")
    whole = [element.value for element in app.markdown if element.value.startswith("**#")]
    width = region_field(app, "Width").value
    region_field(app, "Width").set_value(width // 2)
    click(app, "Search by this part")
    assert any(element.value.startswith("**A part of image field") for element in app.markdown)
    assert [element.value for element in app.markdown if element.value.startswith("**#")] != whole
    assert region_field(app, "Width").value == width // 2, "the fields show another part than the one that asked"
    (mark,) = viewer(app)["panes"][0]["marks"]
    assert (mark["x"], mark["width"], mark["height"]) == (0, width // 2, region_field(app, "Height").value)
    click(app, "Whole image again")
    assert [element.value for element in app.markdown if element.value.startswith("**#")] == whole
    region_field(app, "Width").set_value(1)
    click(app, "Search by this part")
    assert "region" in app.error[0].value


@pytest.mark.slow
def test_an_image_and_its_report_ask_together(app: AppTest, manifest: Path, phantoms: list[Phantom]) -> None:
    image = manifest.parent / "images" / f"{phantoms[2].key}.png"
    checked(app.segmented_control(key="search_by").set_value("Image").run())
    app.file_uploader(key="upload").set_value(("field.png", image.read_bytes(), "image/png"))
    app.text_area(key="image_report").set_value("Clue cells.")
    click(app, "Search by image")
    assert "**Image field\\.png**" in [element.value for element in app.markdown]
    assert "Clue cells." in texts(app)
    places = [caption.value.replace("\\", "") for caption in app.caption]
    assert any(place.startswith("image #1 ·") for place in places)


@pytest.mark.slow
def test_a_query_is_saved_asked_again_and_deleted(app: AppTest) -> None:
    checked(app.multiselect(key="filter_Site").set_value(["thyroid"]).run())
    checked(app.number_input(key="k").set_value(3).run())
    search_by_report(app, "Clue cells.")
    found = ranks(app)
    assert found == 3
    app.text_input(key="query_name").set_value("thyroid alone")
    click(app, "Save query")
    checked(app.multiselect(key="filter_Site").set_value([]).run())
    checked(app.number_input(key="k").set_value(10).run())
    search_by_report(app, "Trichomonas.")
    assert ranks(app) == 10
    assert app.selectbox(key="saved_query").options == ["thyroid alone"]
    click(app, "Run again")
    assert "Clue cells." in texts(app)
    assert app.multiselect(key="filter_Site").value == ["thyroid"]
    assert app.number_input(key="k").value == 3
    assert ranks(app) == found
    app.text_input(key="query_name").set_value("thyroid alone")
    click(app, "Save query")
    assert "already" in app.error[0].value
    app.text_input(key="query_name").set_value("thyroid alone")
    app.checkbox(key="query_replace").check()
    click(app, "Save query")
    assert not app.error
    assert any("cannot be taken back" in text for text in texts(app)), "deleted without a question"
    click(app, "Yes, delete it")
    assert not [box for box in app.selectbox if box.key == "saved_query"]


def test_the_neighbourhood_is_described_and_never_as_a_finding(app: AppTest) -> None:
    search_by_report(app, "(Fine-needle aspiration of the thyroid) Smear shows colloid. Benign follicular nodule.")
    checked(app.segmented_control(key="tab").set_value("Diagnostics").run())
    headings = [heading.value for heading in [*app.title, *app.header, *app.subheader]]
    assert "Agreement among the retrieved cases" in headings
    assert any("no finding about the query" in caption.value for caption in app.caption)
    tables = [frame.value for frame in app.dataframe]
    assert next(iter(tables[0]["category"])) == "Nondiagnostic"
    assert any("Bethesda thyroid 2023" in e.value and "the query's report" in e.value for e in app.markdown)
    assert sum(table["cases"].sum() for table in tables if "cases" in table) == 10
    assert any("Texts are not judged" in caption.value for caption in app.caption)


def test_rows_by_category_stand_beside_the_ranking(app: AppTest) -> None:
    search_by_report(app, "(Fine-needle aspiration of the thyroid) Smear shows colloid. Benign follicular nodule.")
    checked(app.segmented_control(key="tab").set_value("By category").run())
    rows = [e.value for e in app.markdown if " patient" in e.value]
    assert rows
    assert not any("1 patients" in row for row in rows)
    assert any("no vote" in caption.value for caption in app.caption)
    enlarge = next(button for button in app.button if button.label.startswith("Enlarge "))
    checked(enlarge.click().run())
    assert viewer(app, -1)["panes"][0]["region"], "no viewer of the picture"
    compare = next(button for button in app.button if button.label.startswith("Compare "))
    checked(compare.click().run())
    assert "case" in app.query_params
