"""What each reader of a query gets, and what the query is known to be."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from index_store import Case, CaseFilter
from retrieval import Query, read_report
from retrieval.language.words.bm25 import ReportWords
from retrieval.language.words.query_problem import DENIED, OPPOSITE
from retrieval.search.understand import not_understood, understand, understand_text
from retrieval.search.understood_query import QueryAttributes

TEXT = "(Thyroid) Cue cells and papillary groups. Papillary carcinoma. Follow-up is recommended."
NO_REPORTS = SimpleNamespace(words=ReportWords([]))
STRIPPED = "(Thyroid) Cue cells and papillary groups. Papillary carcinoma."


@dataclass
class Records:
    """An archive of cases a, b and c."""

    def case(self, key: str) -> Case:
        return Case(ord(key), key, f"patient {key}", "", site="urine", system="Paris 2.0", category="HGUC")


def understood(query: Query, **options: Any) -> Any:
    text = understand_text(query.text, **options)
    return understand(query, text, Records(), lambda: NO_REPORTS)  # type: ignore[arg-type,return-value]


def test_each_reader_gets_its_own_text() -> None:
    text = understand_text(TEXT)
    assert text is not None
    assert text.generator == STRIPPED
    assert text.tower == STRIPPED.replace("Cue cells", "Clue cells")
    assert text.words == f"{TEXT} clue"
    assert text.reading == read_report(STRIPPED)
    assert text.notes == ("Understood by the glossary, where reports are compared: “Cue cells” → “Clue cells”.",)


def test_without_the_glossary_or_its_wordings_the_tower_reads_what_the_generator_reads() -> None:
    plain = understand_text(TEXT, use_glossary=False)
    assert plain is not None
    assert (plain.tower, plain.words, plain.notes) == (STRIPPED, TEXT, ())
    whole = understand_text(TEXT, strip=str)
    assert whole is not None
    assert whole.generator == TEXT
    assert "Follow-up is recommended" in whole.tower
    assert understand_text(" \n") is None


@pytest.mark.parametrize(
    ("query", "attributes"),
    [
        (Query(text=TEXT), QueryAttributes("thyroid", "Bethesda thyroid 2023", "Malignant", "report")),
        (Query(text=TEXT, site="urine"), QueryAttributes("urine", "Bethesda thyroid 2023", "Malignant", "report")),
        (Query(text="Clusters of cells.", site="lung"), QueryAttributes("lung", "", "", "report")),
        (Query(text="Clusters of cells."), QueryAttributes()),
        (Query(text=TEXT, case="a"), QueryAttributes("urine", "Paris 2.0", "HGUC", "case")),
        (Query(image=b"x"), QueryAttributes()),
    ],
)
def test_what_a_query_is_known_to_be(query: Query, attributes: QueryAttributes) -> None:
    assert understood(query).attributes == attributes


def test_neither_the_query_nor_its_patient_competes() -> None:
    where = CaseFilter(sites=("urine",), exclude_cases=("x",), exclude_patients=("y",))
    found = understood(Query(case="a", where=where, more=("b",), less=("c", "b")))
    assert found.where == where
    assert found.competing == CaseFilter(
        sites=("urine",), exclude_cases=("x", "a"), exclude_patients=("y", "patient a")
    )
    assert [case.key for case in found.feedback.more] == ["b"]
    assert [case.key for case in found.feedback.less] == ["c", "b"]
    with_own = understood(Query(case="a", include_own_patient=True))
    assert with_own.competing == CaseFilter(exclude_cases=("a",))
    assert understood(Query(text=TEXT)).competing is None


@pytest.mark.parametrize(
    ("text", "categories", "why"),
    [
        ("Squamous cells, negative for malignancy.", ("SCC", "Adenocarcinoma"), OPPOSITE),
        ("No HSIL.", ("HSIL", "HSIL"), DENIED),
        ("HSIL.", ("HSIL", "HSIL"), ""),
    ],
)
def test_cases_of_a_malignancy_or_of_a_category_that_is_denied_are_no_answer(
    text: str, categories: tuple[str, ...], why: str
) -> None:
    found = [Case(n, str(n), str(n), "", site="cervix", category=name) for n, name in enumerate(categories)]
    query = understood(Query(text=text))
    assert not_understood(query, text, found) == why
