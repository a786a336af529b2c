"""`coin reading`: a study is made, read, closed and evaluated by the commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from generation.phantom import Phantom
from retrieval import RESEARCH_USE, open_reader_study
from tests.ui.conftest import coin
from tests.ui.reading_parts import PAIRS, run_reading_new


@pytest.fixture
def folder(environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COIN_READINGS", str(tmp_path / "readings"))
    return tmp_path


def rate_all(readings: Path, reader: str, score: int) -> None:
    study = open_reader_study(readings, "pilot")
    study.ratings.begin(reader, pseudonym=True)
    for picture in study.pictures:
        for question, answer in (("anatomic", score), ("diagnostic", 3), ("guess", "generated")):
            study.ratings.rate(reader, picture.id, question, answer)
    study.close()


def test_from_making_one_to_its_results(folder: Path, phantoms: list[Phantom]) -> None:
    assert "There is no study" in coin("reading", "list").stdout
    run_reading_new(folder, phantoms)
    shown = coin("reading", "list").stdout
    assert "pilot" in shown
    assert "nobody has begun" in shown
    early = coin("reading", "results", "pilot")
    assert early.exit_code == 1
    assert "nobody has begun" in early.stderr
    for reader, score in (("Eins", 4), ("Zwei", 2)):
        rate_all(folder / "readings", reader, score)
    assert coin("reading", "close", "pilot", "--reader", "Eins").exit_code == 0
    assert "frozen" in coin("reading", "close", "pilot", "--reader", "Eins").stderr
    assert "Nobody reads" in coin("reading", "close", "pilot", "--reader", "Drei").stderr
    table = folder / "ratings.csv"
    results = coin("reading", "results", "pilot", "--csv", table)
    assert results.exit_code == 0, results.output
    said = " ".join(results.stdout.split())
    assert "All images in the role of real ones are phantoms here" in said
    assert "Readers counted, all of them closed: Eins (a pseudonym)" in said
    assert "Still reading, and not counted: Zwei (a pseudonym)" in said
    assert results.stdout.rstrip().endswith(RESEARCH_USE)
    with table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * PAIRS
    assert sorted({row["kind"] for row in rows}) == ["generated", "phantom"]
    assert {row["notice"] for row in rows} == {RESEARCH_USE}
    coin("reading", "close", "pilot", "--reader", "Zwei")
    document = json.loads(coin("reading", "results", "pilot", "--json").stdout)
    assert document["notice"] == RESEARCH_USE
    assert len(document["ratings"]) == 4 * PAIRS
    assert [scores["real"]["mean"] for scores in document["results"]["scores"]] == [3, 3]
    undefined = [found["undefined"] for found in document["results"]["agreement"] if found["question"] == "diagnostic"]
    assert "every answer is the same" in undefined[0]
    assert "NaN" not in json.dumps(document)
    again = coin("reading", "results", "pilot").stdout
    assert "undefined: every answer is the same" in " ".join(again.split())
    listed = json.loads(coin("reading", "list", "--json").stdout)["readings"]["pilot"]
    assert [(reader["name"], reader["complete"], bool(reader["closed"])) for reader in listed] == [
        ("Eins", 2 * PAIRS, True),
        ("Zwei", 2 * PAIRS, True),
    ]


def test_what_was_made_is_told_to_its_owner(folder: Path, phantoms: list[Phantom]) -> None:
    made = coin("generate", "--text", phantoms[0].report, "--n-images", "2", "--out", folder / "made")
    assert made.exit_code == 0
    counts = ("--n-real", "2", "--n-generated", "2")
    result = coin("reading", "new", "x", "--generated", folder / "made", "--size", "48", "--hide-labels", *counts)
    said = " ".join(result.stdout.split())
    assert "4 pictures: 2 phantoms instead of real ones and 2 generated." in said
    assert "48 × 48 pixels, JPEG quality 98, 4:4:4; site and category are hidden from readers" in said
    assert "Keep the folder from them" in said
    assert "Not every picture has a counterpart" in said
    assert phantoms[0].report[:20] not in said


def test_the_cache_may_be_the_source(folder: Path) -> None:
    """The tests' cache is full of what other tests generated; here it is empty."""
    empty = coin("reading", "new", "x", "--generated", "cache", "--cache", folder / "nothing")
    assert empty.exit_code == 1
    assert "no folder of generated images" in empty.stderr
    (folder / "cache").mkdir()
    counts = ("--n-images", "2", "--cache", folder / "cache", "--out", folder / "out")
    assert coin("generate", "--text", "Clue cells.", *counts).exit_code == 0
    made = ("--generated", "cache", "--cache", folder / "cache", "--n-real", "2", "--n-generated", "2")
    assert coin("reading", "new", "x", *made).exit_code == 0


def test_too_few_images_are_explained(folder: Path, phantoms: list[Phantom]) -> None:
    (folder / "made").mkdir()
    result = coin("reading", "new", "x", "--generated", folder / "made")
    assert result.exit_code == 1
    assert "50 real images were requested, and 24 can be used" in result.stderr
    result = coin("reading", "new", "x", "--generated", folder / "made", "--n-real", "2")
    assert "generate more with `coin generate --out FOLDER`" in result.stderr
    assert "no reading 'nobody'" in coin("reading", "results", "nobody").stderr
    assert not list((folder / "readings").glob("*")) if (folder / "readings").exists() else True


def test_the_view_of_readings_alone_needs_one(folder: Path) -> None:
    result = coin("ui", "--reading-only", "yes", "--no-browser")
    assert result.exit_code == 1
    assert "there is no reader study" in result.stderr
