"""What a query in words must say to be understood; the sentences of the tests are, but for those in other languages."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.language.concepts import known_category
from retrieval.language.words.bm25 import ReportWords
from retrieval.language.words.query_problem import (
    CONTRADICTION,
    NO_FINDING,
    NO_KNOWN_WORD,
    NOT_ENGLISH,
    NOT_IN_REPORTS,
    OPPOSITE,
    denied_category,
    opposite_of,
    query_problem,
)
from tests.processor_time import processor_seconds

SENTENCES = Path(__file__).parents[1] / "sentences.csv"
NO_REPORTS = ReportWords([])


@pytest.mark.parametrize(
    "text",
    [
        "NILM.",
        "hsil",
        "Bethesda III",
        "Paris 5",
        "Milan, category IVa",
        "Thy3",
        "CIN2",
        "HPV16",
        "C5",
        "eosinophils",
        "Hürthle cells",
        "No malignant cells.",
        "<p>HSIL</p>",
        "Clue cells, negative for malignancy.",
        "Tumours",
        "N/C < 5, mitoses > 3",
        "high-grade",
        "Low grade",
    ],
)
def test_a_finding_is_understood(text: str) -> None:
    assert query_problem(text, NO_REPORTS) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x", NO_FINDING),
        ("!!! 123 <br>", NO_FINDING),
        ("Cervical smear, right side.", NO_FINDING),
        ("How are you?", NO_FINDING),
        ("<b>hello</b>", NO_KNOWN_WORD),
        ("<script>alert(1)</script>", NO_KNOWN_WORD),
        ("the quick brown fox", NO_KNOWN_WORD),
        ("weather in Paris", NO_KNOWN_WORD),
        ("Milan in 1999", NO_KNOWN_WORD),
        ("恶性", NO_KNOWN_WORD),
        ("子宫颈涂片未见恶性细胞", NOT_ENGLISH),
        ("Kein Nachweis maligner Zellen.", NOT_ENGLISH),
        ("Negativo para malignidad.", NOT_ENGLISH),
        ("Clue cells. Papillary carcinoma. Negative for malignancy.", CONTRADICTION),
    ],
)
def test_what_says_nothing_is_not(text: str, problem: str) -> None:
    assert query_problem(text, NO_REPORTS) == problem


def test_the_archive_may_know_words_that_the_vocabulary_does_not() -> None:
    known = ReportWords(["A spotted one.", "Basilisks!"])
    assert query_problem("Spotted basilisk cells", known) == ""
    assert query_problem("Spotted yellow unicorns", known) == NO_KNOWN_WORD  # fewer than half


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("eosinophils", NOT_IN_REPORTS),
        ("Bethesda III", NOT_IN_REPORTS),
        ("Papillary carcinoma", NOT_IN_REPORTS),
        ("thyroid, no eosinophils", NOT_IN_REPORTS),
        ("eosinophils, koilocytes", ""),
        ("H-SIL", ""),
        ("high-grade", ""),
        ("intermediate-grade", NOT_IN_REPORTS),
    ],
)
def test_one_of_the_words_must_be_in_a_report(text: str, problem: str) -> None:
    held = ReportWords(["Thyroid, no cells.", "Koilocytes.", "High-grade squamous intraepithelial lesion."])
    assert query_problem(text, held) == problem
    assert query_problem(text, held.changed([0, 1, 2], [])) == "", "an archive without reports says nothing"


def test_a_phrase_is_known_by_its_words_too() -> None:
    held = ReportWords(["Negative for intraepithelial lesion or malignancy.", "Squamous carcinoma."])
    assert query_problem("Clue cells seen, negative for malignancy.", held) == ""
    assert query_problem("Papillary carcinoma.", held) == NOT_IN_REPORTS


def test_a_text_with_a_category_contradicts_itself_in_nothing() -> None:
    text = "Carcinoma of the cervix treated in 2018. Smear: metastatic carcinoma not seen, no malignancy, carcinoma."
    assert query_problem(text, NO_REPORTS, is_labelled=True) == ""


def test_ordinary_reports_are_understood() -> None:
    with SENTENCES.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "ordinary"]
    problems = {row["text"]: query_problem(row["text"], NO_REPORTS, is_labelled=bool(row["category"])) for row in rows}
    assert {text: problem for text, problem in problems.items() if problem} == {}
    assert len(rows) == 200


@pytest.mark.parametrize(
    ("text", "tiers", "problem"),
    [
        ("Clue cells, negative for malignancy.", ["malignant"] * 6 + ["negative"] * 4, OPPOSITE),
        ("Clue cells, negative for malignancy.", ["malignant"] * 5 + ["negative"] * 5, ""),
        ("Adenocarcinoma.", ["malignant"] * 10, ""),
        ("Clue cells.", ["malignant"] * 10, ""),
        ("Negative for malignancy.", [], ""),
    ],
)
def test_cases_of_what_is_denied_are_no_answer(text: str, tiers: list[str], problem: str) -> None:
    assert opposite_of(text, tiers) == problem


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("No HSIL, no LSIL.", "HSIL LSIL"),
        ("Negative for HSIL and LSIL.", "HSIL LSIL"),
        ("HSIL is excluded.", "HSIL"),
        ("HSIL: absent", "HSIL"),
        ("No LSIL; HSIL.", "LSIL"),
        ("Without high-grade squamous intraepithelial lesion.", "HSIL"),
        ("Cannot exclude HSIL.", ""),
        ("HSIL?", ""),
        ("HSIL, no invasion.", ""),
        ("HSIL. No HSIL in the second smear.", ""),
    ],
)
def test_cases_of_a_category_that_is_denied_are_no_answer(text: str, denied: str) -> None:
    hsil, lsil, nilm = (known_category("cervix", "", name) for name in ("HSIL", "LSIL", "NILM"))
    for category in (hsil, lsil):
        assert category is not None
        assert bool(denied_category(text, [category] * 6 + [nilm] * 4)) is (category.name in denied)
        assert bool(denied_category(text, [category, None, category, *[nilm] * 7])) is (category.name in denied)
    assert denied_category(text, [nilm] * 6 + [None] * 4) == ""
    assert denied_category(text, [hsil, lsil, nilm, None]) == ""
    assert denied_category(text, []) == ""


@given(st.text(max_size=300))
def test_any_text_has_an_answer(text: str) -> None:
    assert query_problem(text, NO_REPORTS) in ("", NOT_ENGLISH, NO_FINDING, NO_KNOWN_WORD, CONTRADICTION)


@pytest.mark.parametrize("text", ["carcinoma ", "no malignant cells, ", "<a ", "&", "x ", "A, "])
def test_hostile_texts_cost_little(text: str) -> None:
    long = text * (100_000 // len(text))
    assert processor_seconds(lambda: (query_problem(long, NO_REPORTS), opposite_of(long, ["malignant"])), enough=1) < 1
