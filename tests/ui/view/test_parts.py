"""Parts of the view that need no page: lines of text, escaping, cut reports."""

from __future__ import annotations

import dataclasses

import pytest

from retrieval import Query, SearchResult
from tests.ui.text.test_text import case_of, result_of
from ui.view import question, results
from ui.view.escape import KEEPER, WORD_JOINER, escape, without_commands


@pytest.fixture
def result() -> SearchResult:
    return result_of(case_of())


def test_the_line_over_the_results_names_times(result: SearchResult) -> None:
    assert results.time_line(result).startswith("Searched in 0.75 s: generate 0.00, embed 0.50, search 0.250.")


def test_nearest_is_said_of_pictures_alone(result: SearchResult) -> None:
    assert results.heading(result) == "1 case"
    pictures = dataclasses.replace(result, query=Query(case="asked"))
    assert results.heading(pictures) == "1 nearest case"
    assert results.heading(dataclasses.replace(pictures, cases=result.cases * 2)) == "2 nearest cases"
    assert results.heading(dataclasses.replace(result, cases=result.cases * 2)) == "2 cases, best first"
    assert results.heading(dataclasses.replace(result, cases=())) == "No case found"


def test_a_report_on_a_card_is_cut_at_a_word() -> None:
    limit = question.LETTERS
    whole = "a" * limit
    assert question.shortened(whole) == whole
    assert question.shortened("one \n two") == "one two"
    words = "word " * limit
    cut = question.shortened(words)
    assert cut.endswith("word …")
    assert limit - 5 <= len(cut) <= limit + 2


def test_markdown_is_escaped_and_lines_become_one() -> None:
    assert escape("a *b*\n:red[c] $d$\x1b") == r"a \*b\* \:red\[c\] \$d\$"


def test_addresses_and_signs_are_kept_apart() -> None:
    """Streamlit makes links, icons and arrows of text from which the backslashes were taken out already."""
    for text in (
        "https://x.y",
        "HTTP://x.y",
        "www.x",
        "a@x.y",
        ":material/home:",
        ":smile:",
        "a -> b",
        "<->",
        "a -- b",
    ):
        assert WORD_JOINER in escape(text), text
        assert escape(text).replace(WORD_JOINER, "").replace("\\", "") == text
    assert WORD_JOINER not in escape("N:C ratio 3:1, 5-10 cells, p16+ - no; a:b, www, http, >=20%")


def test_notes_on_the_page_name_no_command_and_no_option() -> None:
    assert without_commands("The archive is empty: add reference cases with `coin add`.") == (
        f"The archive is empty. {KEEPER}"
    )
    note = "It is of this patient: leave the patient out (--exclude-patient P 1) to find others."
    assert without_commands(note) == "It is of this patient: leave the patient out to find others."
    assert without_commands("None was compared (tiny). `coin reembed --role text --encoder …` embeds them.") == (
        f"None was compared (tiny). {KEEPER}"
    )
    assert without_commands("Measured with others: `coin evaluate --choose` chooses. See `coin help`. Only 3.") == (
        f"Measured with others. {KEEPER} Only 3."
    )
    assert without_commands("A -- B: 3 of 10 (5 by chance).") == "A -- B: 3 of 10 (5 by chance)."
