"""The glossary: what it replaces, that it says so, and that it leaves all else alone."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation import Glossary, Replacement, build_prompt
from generation.prompts.glossary import Entry, glossary, in_words, read_glossary
from tests.generation.clip_tokens import count_tokens

COIN_REPORTS = Path(__file__).parents[3] / "../shared/data/coin-examples/reports.csv"

UNDERSTOOD = [
    ("Cue cells >20%", "Clue cells >20%"),
    ("no cue cell, rescue cells", "no clue cell, rescue cells"),
    ("(Transpiration of\n lymph nodes)", "(Aspiration of lymph nodes)"),
    ("Liquid accumulation in the left pleural cavity", "Left pleural effusion"),
    ("liquid accumulation in the pleural cavity", "pleural effusion"),
    ("The nuclei are displaced, large", "The nuclei are eccentric, large"),
]
UNTOUCHED = ["clue cells", "Transpiration", "nuclei were displaced", "(Ascites) smear", "liquid accumulation"]


@pytest.mark.parametrize(("wording", "meaning"), UNDERSTOOD)
def test_a_wording_becomes_what_it_means(wording: str, meaning: str) -> None:
    assert glossary().apply(wording)[0].split() == meaning.split()


@pytest.mark.parametrize("text", UNTOUCHED)
def test_other_words_stay(text: str) -> None:
    assert glossary().apply(text) == (text, ())


def test_what_was_replaced_is_reported_once() -> None:
    text, replaced = glossary().apply("Cue cells. cue  cells, cue cells; nuclear shift.")
    assert text == "Clue cells. clue cells, clue cells; eccentric nuclei."
    assert replaced == (
        Replacement("Cue cells", "Clue cells"),
        Replacement("cue cells", "clue cells"),
        Replacement("nuclear shift", "eccentric nuclei"),
    )
    assert in_words(replaced[:1]) == "“Cue cells” → “Clue cells”"


def test_the_prompt_shows_what_was_replaced_and_keeps_the_report() -> None:
    report = "NILM. Cue cells >20%."
    prompt = build_prompt(report, count_tokens=count_tokens, glossary=glossary())
    assert (prompt.report, prompt.text) == (report, "NILM. Clue cells >20%.")
    assert prompt.replaced == (Replacement("Cue cells", "Clue cells"),)
    assert build_prompt(report, count_tokens=count_tokens).text == report


def test_every_entry_says_where_it_is_from_and_why() -> None:
    known = glossary()
    assert known.version >= 1
    assert all(entry.source.startswith("Sample") and len(entry.reason) > 8 for entry in known.entries)
    for entry in known.entries:  # what is meant is no wording itself
        assert known.apply(entry.meaning.replace("{side}", "left"))[1] == ()


@pytest.mark.skipif(not COIN_REPORTS.is_file(), reason="COIN's example reports are not beside this checkout")
def test_every_entry_stands_in_the_report_it_names() -> None:
    with COIN_REPORTS.open(encoding="utf-8", newline="") as file:
        reports = {row["image"].removesuffix(".jpg"): row["report"] for row in csv.DictReader(file)}
    absent = [entry.wording for entry in glossary().entries if not entry.pattern.search(reports[entry.source])]
    assert absent == ["cue cell"]  # the singular of an entry that does


@given(st.text(max_size=200))
def test_applied_twice_it_changes_nothing_more(text: str) -> None:
    once, _ = glossary().apply(text)
    assert glossary().apply(once) == (once, ())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "version = 1",
        "entries = 3\nversion = 1",
        'version = 1\n[[entries]]\nwording = "a"\nmeaning = "b"',
        'version = 1\n[[entries]]\nwording = "a"\nmeaning = " "\nsource = "x"\nreason = "y"',
        'version = 1\n[[entries]]\nword = "a"',
    ],
)
def test_a_file_that_is_no_glossary_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "glossary.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="glossary"):
        read_glossary(path)


def test_a_wording_explained_twice_is_refused() -> None:
    entry = Entry("cue cells", "clue cells", "Sample2", "a reason")
    with pytest.raises(ValueError, match="twice"):
        Glossary(1, (entry, entry))
