"""What changed from one ranking to another, worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from retrieval import RankChanges, SearchResult, rank_changes
from retrieval.assessment.rank_changes import RankChange


def ranked(keys: str) -> SearchResult:
    cases = [SimpleNamespace(case=SimpleNamespace(key=key), rank=rank) for rank, key in enumerate(keys, 1)]
    return cast(SearchResult, SimpleNamespace(cases=cases))


def test_cases_come_go_and_move() -> None:
    assert rank_changes(ranked("abcde"), ranked("acfbe")) == RankChanges(
        came=(RankChange("f", None, 3),),
        went=(RankChange("d", 4, None),),
        moved=(RankChange("c", 3, 2), RankChange("b", 2, 4)),
        kept=2,
    )


def test_nothing_changes() -> None:
    assert rank_changes(ranked("abc"), ranked("abc")) == RankChanges((), (), (), 3)
    assert rank_changes(ranked(""), ranked("a")) == RankChanges((RankChange("a", None, 1),), (), (), 0)
