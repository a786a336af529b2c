"""Whatever a text is, no function that reads texts takes more than a second of processor time for 100,000 characters.

A report, a query or a cell of a manifest can hold anything. What is not linear shows on texts that repeat a few
characters: the places where a pattern may begin, and those where it fails late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generation.prompts.condensing import condense
from generation.prompts.glossary import glossary
from generation.prompts.prompt import split_chunks
from index_store.manifest.cells import clean_cell
from retrieval.ingest.identifiers import find_identifiers
from retrieval.language.concepts import plain, site_concept
from retrieval.language.english import is_english
from retrieval.language.label_extraction import read_report
from retrieval.language.query_text import conclusion_key, query_text
from retrieval.language.words.bm25 import ReportWords, with_meanings
from retrieval.language.words.query_problem import malignancy_in, query_problem
from retrieval.language.words.terms import content_words, query_terms, terms_of
from tests.index_store.thoroughness import thoroughness
from tests.processor_time import processor_seconds
from ui.view.escape import escape

CHARACTERS = 100_000
SECONDS = 1.0


REPORTS = ReportWords(["Cervical smear: HSIL."])


def words(text: str) -> int:
    return len(text.split())


FUNCTIONS: dict[str, Callable[[str], Any]] = {
    "clean_cell": lambda text: clean_cell("site", text),
    "conclusion_key": conclusion_key,
    "condense": lambda text: condense(text, count_tokens=words, limit=75),
    "content_words": content_words,
    "escape": escape,
    "find_identifiers": find_identifiers,
    "glossary": lambda text: glossary().apply(text),
    "is_english": is_english,
    "malignancy_in": malignancy_in,
    "plain": plain,
    "query_problem": lambda text: query_problem(text, REPORTS),
    "query_text": query_text,
    "read_report": read_report,
    "site_concept": site_concept,
    "query_terms": query_terms,
    "split_chunks": lambda text: split_chunks(text, count_tokens=words, limit=75),
    "terms_of": terms_of,
    "with_meanings": with_meanings,
}
# fmt: off
PIECES = st.sampled_from((
    "a", "A", "x ", " ", "  ", "\n", "\t", "\r\n", "\x00", "é", "ß", "宫", "\u200b", "_", "-", "–", "/", "\\", "|",
    "*", "(", ")", "[", "]", "[x] ", "{", "<", ">", "&", "$", "`", "@", "^", "~", "#", "%", "+", "=", "'", '"',
    ",", ", ", ".", ". ", ":", ": ", ";", "; ", "?", "? ", "!", "0", "12", "12.", "12/", "+44 20 ", "(02) ", "00",
    "1. ", "2019: ", "no ", "not ", "without ", "negative for ", "or ", "versus ", "and ", "history of ", "final ",
    "preliminary: ", "carcinoma ", "HSIL ", "benign ", "cells ", "cue cell ", "left ", "lymph node ",
    "Bethesda III-", "Pap class ", "Diagnosis: ", "Comment: ", "Patient: ", "Dr. ", "DOE^", "DOE, JANE ", "Mrs ",
    "MRN ", "www.", "http://a.b", "CIN 2-", "non-neoplastic", "liver", "LN ", "Thy3a", "C1/", "insufficient ", "H-SIL",
    "姓名:", "NAME ", "smear of ", "maligno ",
))
# fmt: on
HOSTILE = st.lists(PIECES, min_size=1, max_size=6).map("".join)


def check(name: str, unit: str) -> None:
    """Run a function on a text that repeats `unit`."""
    text = (unit * (CHARACTERS // len(unit) + 1))[:CHARACTERS]
    function = FUNCTIONS[name]
    function("warm up: Cervical smear, no malignant cells. 02 93 74 40 00")  # a number loads the plans of all regions
    assert processor_seconds(lambda: function(text), enough=SECONDS) < SECONDS, repr(unit)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
@settings(max_examples=thoroughness(4, 300), derandomize=True, suppress_health_check=list(HealthCheck))
@given(unit=HOSTILE)
def test_any_text_takes_less_than_a_second(name: str, unit: str) -> None:
    check(name, unit)


# fmt: off
ONCE_SLOW = (
    "a, ", "[ ] ", "[x] ", ". ", "carcinoma or ", "? ", "\n", "not ", "Bethesda III-", "A. benign ", "(",
    "history of ", "2019: HSIL; ", "x", "carcinoma ", "- ", "é", "宫", "no carcinoma, ", "{", "C1 C2 C3 C4 ",
    "versus ", "/ ", "____ ", "Cancer Centre ", "final ", "preliminary: ", "risk of ", "left: ", "1. ",
    "Comment: ", "DIAGNOSIS: ", "\t", "\x00", "0 ", "CIN 2-", "CIN 2/", "00 ", "02 93 74 40 ",
    "non-neoplastic", "liver, ",
)
# fmt: on
"""Texts of these were slow once, or stand for a rule of the labels."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_texts_that_were_slow_once_take_less_than_a_second(name: str) -> None:
    for unit in ONCE_SLOW:
        check(name, unit)
