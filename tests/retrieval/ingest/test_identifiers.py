"""Direct identifiers: found where somebody planted them, and nowhere else."""

from __future__ import annotations

import csv
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks.identifiers import is_found
from generation.phantom import phantom_cases
from retrieval.ingest.deidentification import identifiers_in_key
from retrieval.ingest.identifiers import KINDS, RULES, find_identifiers, redact

SET = tomllib.loads((Path(__file__).parent / "planted_identifiers.toml").read_text(encoding="utf-8"))
COIN = Path(__file__).parents[4] / "shared" / "data" / "coin-examples" / "reports.csv"


def found(text: str) -> list[tuple[str, str]]:
    return [(item.kind, text[item.start : item.end]) for item in find_identifiers(text)]


@pytest.mark.parametrize("report", [report for report in SET["report"] if "beyond" not in report])
def test_what_was_planted_is_found_as_what_it_is(report: dict[str, Any]) -> None:
    text = report["text"]
    for kind, words in report["planted"]:
        assert is_found(text, words)
        assert any(item == kind and (part in words or words in part) for item, part in found(text)), found(text)
    left = redact(text, find_identifiers(text))
    assert not any(words in left for _, words in report["planted"])


def test_every_kind_was_planted() -> None:
    assert {kind for report in SET["report"] for kind, _ in report["planted"]} == set(KINDS)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_finds_what_no_other_rule_finds(name: str) -> None:
    text, words = SET["only"][name]
    start, end = text.index(words), text.index(words) + len(words)
    finding = {other: [span for span in rule.spans(text) if span[0] < end] for other, rule in RULES.items()}
    # An NHS number has the form of a telephone number too: its rule decides what it is called.
    also = {"telephone number, North American", "telephone number, grouped"} if name == "NHS number" else set()
    assert {other for other, spans in finding.items() if spans} == {name, *also}
    ((first, last),) = finding[name]
    assert first <= start
    assert last >= end
    assert [item.kind for item in find_identifiers(text)] == [RULES[name].kind]


def test_no_rule_was_planted_that_is_not_there() -> None:
    assert set(SET["only"]) == set(RULES)


@pytest.mark.parametrize("text", SET["lookalikes"]["texts"])
def test_what_only_looks_like_one_is_left_alone(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text", ["SMITH, John 62y", "SMITH, John (62 F)", "Smith, John (M/62)", "SMITH, Mary Jane 45 F"]
)
def test_names_as_laboratories_head_a_report(text: str) -> None:
    assert found(f"{text}\nCervical smear, NILM.")[0][0] == "name"


@pytest.mark.parametrize("text", ["BRAF^V600E was found.", "EGFR^L858R mutation.", "Mean p^A7 of two.", "12-CIN-1234"])
def test_powers_and_mutations_name_nobody(text: str) -> None:
    assert found(text) == []


def test_phantom_reports_name_nobody() -> None:
    reports = {phantom.report for split in ("train", "held-out") for phantom in phantom_cases(400, seed=3, split=split)}
    assert len(reports) > 700
    assert [text for text in reports if find_identifiers(text)] == []


@pytest.mark.skipif(not COIN.is_file(), reason="COIN's example reports are not on this machine")
def test_coins_reports_name_nobody() -> None:
    with COIN.open(encoding="utf-8", newline="") as rows:
        reports = [row["report"] for row in csv.DictReader(rows)]
    assert len(reports) == 20
    assert [text for text in reports if find_identifiers(text)] == []


def test_overlapping_ones_are_one_of_the_longer_one_s_kind() -> None:
    text = "Address: 4 Garden Road, 12.03.2021 in Springfield; NILM."
    assert found(text) == [("postal address", "4 Garden Road, 12.03.2021 in Springfield")]
    assert found("Smear of 03.05.2021 14 slides.") == [("date", "03.05.2021")]


def test_redacting_leaves_the_rest_word_for_word() -> None:
    text = "Smear of Mrs. Jane Doe, MRN 00482913, 12.03.2021: HSIL, CIN 3."
    assert redact(text, find_identifiers(text)) == "Smear of Mrs. [name], MRN [record number], [date]: HSIL, CIN 3."
    assert find_identifiers(redact(text, find_identifiers(text))) == ()


def test_a_date_that_the_calendar_does_not_have_is_none() -> None:
    assert found("30.02.2021, 2021-13-40, 31 April") == []
    assert [kind for kind, _ in found("29.02.2020, 2/30/2021 or 30/2/2021")] == ["date"]


UNITS = (
    "1",
    "12 ",
    "Aa ",
    "Aa-",
    "AA-",
    "A. ",
    "Dr. Aa ",
    "1/",
    "a@",
    "+49 30 901820 ",
    "(02) 9374 4000 ",
    "13800138000 ",
    "012 34 ",
    "12 Aa Aa ",
    "Aa, ",
    "May 3 ",
    "\n",
)


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_a_hostile_text_takes_no_more_time_for_its_length_than_any_other(unit: str) -> None:
    # Before the patterns had limits, the longest report that a manifest may hold took up to three minutes.
    started = time.process_time()
    find_identifiers(unit * (100_000 // len(unit)))
    assert time.process_time() - started < 60


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("DE LA CRUZ, MARÍA (62F) NILM", "DE LA CRUZ, MARÍA"),
        ("VAN DER BERG, ANNA, 47 years. NILM.", "VAN DER BERG, ANNA"),
        ("Patient name SMITH JOHN 12.03.1961 NILM", "SMITH JOHN"),
        ("PATIENT NAME  Doe, Jane  F  NILM", "Doe, Jane"),
    ],
)
def test_a_listed_name_of_several_words_is_found(text: str, name: str) -> None:
    assert ("name", name) in found(text)


@pytest.mark.parametrize(
    "text", ["Patient name and number were checked.", "PATIENT NAME AND DATE CHECKED", "3mar2020x"]
)
def test_what_is_said_of_a_name_is_none(text: str) -> None:
    assert not find_identifiers(text)


@pytest.mark.parametrize("key", ["DOE, JANE", "Doe, Jane", "DOE^JANE", "van der Berg, Anna", "O'Neill, Mary-Ann M."])
def test_a_key_that_is_a_name_is_one(key: str) -> None:
    assert [item.kind for item in identifiers_in_key(key)] == ["name"]


@pytest.mark.parametrize("key", ["Case, Two", "Slide A, Level B", "P-17", "Breast, Left", "HSIL, CIN", "S1, S2"])
def test_a_key_that_is_no_name_is_none(key: str) -> None:
    assert identifiers_in_key(key) == ()
