"""Judgements of a reader: what they say of a search is checked against a count by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from index_store import CaseNotFoundError
from retrieval import EvaluationError, JudgedQuery, Query, evaluate_judgements, judgements_text, read_judgements


class Archive:
    """Cases whose patients have their names; "gone" is not there."""

    def case(self, key: str) -> SimpleNamespace:
        if key == "gone":
            raise CaseNotFoundError(key)
        return SimpleNamespace(patient=f"patient of {key}")


class Search:
    """Ranks cases in the order of the query's text."""

    def run(self, query: Query) -> SimpleNamespace:
        found = query.text.split()[: query.k]
        return SimpleNamespace(
            cases=[SimpleNamespace(rank=n, case=Archive().case(key)) for n, key in enumerate(found, 1)]
        )


def measured(*judged: JudgedQuery) -> Any:
    return evaluate_judgements(Search(), Archive(), judged)  # type: ignore[arg-type]


def test_the_ranking_is_condensed_to_what_was_judged() -> None:
    result = measured(JudgedQuery(Query(text="u1 a u2 b c", k=1), {"a": False, "b": True, "c": True}))
    # a (not), b, c: nobody judged u1 and u2
    best = 1 + 1 / math.log2(3)
    assert {name: round(score.mean, 9) for name, score in result.scores.items()} == {
        "P@1": 0,
        "P@5": 2 / 5,
        "nDCG@10": round((1 / math.log2(3) + 1 / math.log2(4)) / best, 9),
    }
    assert not any(score.has_interval for score in result.scores.values()), "one query says how sure nothing is"
    assert (result.queries, result.judged) == (1, 3)


def test_what_the_search_does_not_return_stands_last_relevant_ones_at_the_end() -> None:
    result = measured(JudgedQuery(Query(text="u"), {"a": True, "b": False}))
    assert result.scores["P@1"].mean == 0
    assert result.scores["nDCG@10"].mean == pytest.approx(1 / math.log2(3))


def test_queries_without_a_relevant_case_and_removed_cases_are_named() -> None:
    nothing = JudgedQuery(Query(text="b"), {"b": False})
    removed = JudgedQuery(Query(text="c"), {"gone": True, "c": False})
    result = measured(nothing, removed, *(JudgedQuery(Query(text=f"a u{n}"), {"a": True}) for n in range(6)))
    assert (result.queries, result.left_out, result.removed) == (6, 2, ("gone",))
    assert result.scores["P@1"].has_interval
    with pytest.raises(EvaluationError, match="nothing can be measured"):
        measured(nothing, removed)


def test_judgements_come_back_and_those_of_one_query_are_joined() -> None:
    query = Query(text="Clue cells.", k=3)
    first, second = JudgedQuery(query, {"a": True}), JudgedQuery(query, {"b": False})
    assert read_judgements(judgements_text("x", [first, second]).encode(), "x") == (
        JudgedQuery(query, {"a": True, "b": False}),
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff", "no file of judgements"),
        (b"[]", "no file of judgements"),
        (b'{"version": 2, "archive": "x", "judgements": []}', "version 2"),
        (b'{"version": 1, "archive": "y", "judgements": []}', "another archive"),
        (b'{"version": 1, "archive": "x", "judgements": []}', "no judgement"),
        (judgements_text("x", [JudgedQuery(Query(text="t"), {"a": 1})]).encode(), "neither true"),  # type: ignore[dict-item]
    ],
)
def test_what_is_no_file_of_judgements_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        read_judgements(data, "x")
