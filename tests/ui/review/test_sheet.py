"""The evidence sheet: what it holds, in each form; nothing of a removed case; nothing that others wrote is run."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from generation import read_csv
from index_store import Archive
from retrieval import RESEARCH_USE, Query
from tests.ui.conftest import coin
from ui.html.sheet_page import sheet_page
from ui.review.pictures import SheetPicture
from ui.review.pinning import found_case
from ui.review.records import review_from_dict, review_to_dict
from ui.review.sheet import EvidenceSheet, make_sheet, sheet_csv, sheet_json
from ui.review.store import Reviews
from ui.service import Service
from ui.settings import Settings
from ui.text.score import channel_shares, score_parts, score_scale
from ui.text.search import rank_text

HOSTILE = '=1+1"<script>alert(1)</script>'
NAME = "Seminar"


@pytest.fixture
def reviewed(environment: dict[str, str], archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service on a copy of the archive, and a review with two cases that a report found, and one pinned alone."""
    monkeypatch.setenv("COIN_ARCHIVE", str(shutil.copytree(archive, tmp_path / "archive")))
    monkeypatch.setenv("COIN_QUERIES", str(tmp_path / "queries"))
    service = Service(Settings.from_env())
    result = service.search(Query(text="Clue cells.", seeds=(0, 1)))
    reviews = Reviews(service.reviews_folder, "ada")
    reviews.create(NAME)
    for ranked in result.cases[:2]:
        scale = score_scale(result, service.rules["report"])
        reviews.pin(NAME, ranked.case.key, found_case(reviews, service.archive, result, ranked, scale))
    reviews.pin(NAME, service.archive.cases(limit=1)[0].key)
    reviews.write_note(NAME, HOSTILE, case=result.cases[0].case.key)
    reviews.tick(NAME, result.cases[0].case.key, ("relevant", "poor"))
    return service


def made(service: Service) -> EvidenceSheet:
    reviews = Reviews(service.reviews_folder, "ada")
    return make_sheet(service.archive, reviews, reviews.load(NAME), service.case)


class Elements(HTMLParser):
    """The elements and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_has_all_in_one_file(reviewed: Service) -> None:
    sheet = made(reviewed)
    page = Elements(sheet_page(sheet))
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 2 + 3, "two synthetic images, and a picture a case"
    assert all(str(picture["src"]).startswith("data:image/") and picture["alt"] for picture in pictures)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})
    assert HOSTILE in page.text
    assert page.text.count("SYNTHETIC: generated, no patient") == 2
    assert page.text.count("PHANTOM: rendered, no patient") == 3
    assert "scale unknown" in page.text
    (head,) = re.findall("<thead>.*?</thead>", sheet_page(sheet), re.DOTALL)
    assert RESEARCH_USE in head, "a table's head is printed on every page"
    versions = sheet.queries[0].versions
    for words in ("Clue cells.", versions.fingerprint, versions.base_fingerprint, versions.software, sheet.archive_id):
        assert words in page.text
    for case in sheet.cases:
        assert case.report in page.text
        assert all(line in page.text for line in (case.score_text, *case.made_of))


def test_json_and_table_say_the_same(reviewed: Service) -> None:
    sheet = made(reviewed)
    document = json.loads(sheet_json(sheet))
    assert document["notice"] == RESEARCH_USE
    rows = list(read_csv(io.StringIO(sheet_csv(sheet), newline="")))
    assert [row["case"] for row in rows] == [case["key"] for case in document["cases"]]
    assert [row["image_sha256"] for row in rows] == [case["picture"]["sha256"] for case in document["cases"]]
    assert (rows[0]["note"], rows[0]["ticks"], rows[0]["mpp"]) == (HOSTILE, "relevant; poor", "1.5")
    assert [row["rank"] for row in rows] == ["1", "2", ""]
    assert {row["notice"] for row in rows} == {RESEARCH_USE}
    assert "data:image" not in sheet_json(sheet)
    (first, *_) = csv.DictReader(io.StringIO(sheet_csv(sheet), newline=""))
    assert first["note"] == f"'{HOSTILE}", "no formula to a spreadsheet"


def test_the_number_of_a_case_is_that_of_its_card(reviewed: Service) -> None:
    result = reviewed.search(Query(text="Clue cells.", seeds=(0, 1)))
    scale = score_scale(result, reviewed.rules["report"])
    sheet = made(reviewed)
    assert scale.words in sheet.queries[0].order
    rows = list(read_csv(io.StringIO(sheet_csv(sheet), newline="")))
    for ranked, case, row in zip(result.cases, sheet.cases[:2], rows, strict=False):
        parts = score_parts(ranked.channel_ranks, channel_shares(ranked, result), scale)
        assert case.score_text == scale.text(ranked.score) == f"{row['score']} {row['unit']}"
        assert case.made_of[: len(parts)] == tuple(part.text for part in parts)
        assert "similarity" in row["made_of"]
    assert (rows[2]["score"], rows[2]["made_of"]) == ("", ""), "pinned from its own page"


def test_a_case_that_an_earlier_version_pinned_has_its_places_alone(reviewed: Service) -> None:
    reviews = Reviews(reviewed.reviews_folder, "ada")
    document = review_to_dict(reviews.load(NAME))
    found = document["pins"][0]["found"]
    for name in ("score", "scale", "shares", "lead"):
        del found[name]
    found["similarity"] = 0.5
    kept = review_from_dict(json.loads(json.dumps(document))).pins[0].found
    assert kept is not None
    assert (kept.score_text, kept.made_of) == ("", tuple(map(rank_text, kept.channels)))


def test_a_removed_case_leaves_its_note_alone(reviewed: Service) -> None:
    first = made(reviewed).cases[0]
    with Archive.open(reviewed.settings.archive) as archive:
        archive.remove(first.key)
    sheet = made(reviewed)
    case = sheet.cases[0]
    assert (case.removed, case.note, case.report, case.picture) == (True, HOSTILE, "", None)
    assert first.key in case.problem
    for text in (sheet_page(sheet), sheet_json(sheet), sheet_csv(sheet)):
        assert first.report not in text
        assert "script" in text


def test_a_query_whose_synthetic_images_are_gone_says_so(reviewed: Service, tmp_path: Path) -> None:
    reviews = Reviews(reviewed.reviews_folder, "ada")
    path = next(iter(reviews.folder.glob("*.json")))
    path.write_text(path.read_text().replace(str(Path(reviewed.settings.cache or "")), str(tmp_path / "gone")))
    (query,) = made(reviewed).queries
    assert query.pictures == ()
    assert "2 synthetic images are no longer in the cache" in query.problem


def test_the_scale_bar_is_a_round_number_of_at_most_a_third() -> None:
    picture = SheetPicture("", "", "", 1000, 800, 0.25)
    assert (picture.bar, picture.scale) == ((50, 20), "0.25 µm a pixel, 250 µm wide")
    assert SheetPicture("", "", "", 1000, 800, None).bar is None


def test_the_command_writes_the_same(reviewed: Service, tmp_path: Path) -> None:
    names = [tmp_path / f"sheet.{kind}" for kind in ("html", "json", "csv")]
    run = coin("sheet", NAME, "--user", "ada", "--html", names[0], "--json", names[1], "--csv", names[2])
    assert run.exit_code == 0, run.output
    sheet = made(reviewed)
    stamp = re.compile(r"20\d\d-\d\d-\d\dT[\d:+]+")
    for path, text in zip(names, (sheet_page(sheet), sheet_json(sheet), sheet_csv(sheet)), strict=True):
        with path.open(encoding="utf-8", newline="") as file:
            assert stamp.sub("", file.read()) == stamp.sub("", text)
    assert f"{NAME}  3 cases" in coin("sheet", "--user", "ada").output
    assert "has no review" in coin("sheet").output
    assert coin("sheet", NAME, "--user", "ada").exit_code == 2
    assert "no review 'other'" in coin("sheet", "other", "--user", "ada", "--html", names[0]).output


def test_what_was_ticked_measures_the_search(reviewed: Service, tmp_path: Path) -> None:
    reviews = Reviews(reviewed.reviews_folder, "ada")
    first, second, alone = (pin.case for pin in reviews.load(NAME).pins)
    reviews.tick(NAME, second, ("wrong site",))
    reviews.tick(NAME, alone, ("relevant",))
    file = tmp_path / "judgements.json"
    assert coin("sheet", NAME, "--user", "ada", "--judgements", file).exit_code == 0
    (judged,) = json.loads(file.read_text(encoding="utf-8"))["judgements"]
    assert judged["relevant"] == {first: True, second: False}, "what no query found is no judgement of one"
    run = coin("evaluate", "--judgements", file, "--json", tmp_path / "figures.json")
    assert run.exit_code == 0, run.output
    assert "1 query with 2 judged cases" in run.output
    scores = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["scores"]
    assert (scores["P@1"]["mean"], scores["nDCG@10"]["mean"], scores["P@1"]["low"]) == (1, 1, None)
    assert coin("evaluate", "--judgements", file, "--html", tmp_path / "x.html").exit_code == 2
