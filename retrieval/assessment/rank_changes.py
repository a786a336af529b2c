"""What distinguishes two rankings of cases: which came, went and moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from retrieval.search.results import SearchResult
from retrieval.search.saved_queries import ranks_of


@dataclass(frozen=True)
class RankChange:
    """A case whose place changed. Ranks are from 1; None: it is not among the cases."""

    case: str
    """Its key."""
    before: int | None
    after: int | None


@dataclass(frozen=True)
class RankChanges:
    """The cases that came, went and moved, by rank (those that went by their former one), and how many kept theirs."""

    came: tuple[RankChange, ...]
    went: tuple[RankChange, ...]
    moved: tuple[RankChange, ...]
    kept: int


def rank_changes(before: SearchResult, after: SearchResult) -> RankChanges:
    """What changed from one result to another."""
    return ranks_changed(ranks_of(before), ranks_of(after))


def ranks_changed(old: Mapping[str, int], new: Mapping[str, int]) -> RankChanges:
    """What changed from ranks by case to others."""
    changes = [RankChange(case, old.get(case), new.get(case)) for case in dict.fromkeys([*new, *old])]
    return RankChanges(
        came=tuple(change for change in changes if change.before is None),
        went=tuple(change for change in changes if change.after is None),
        moved=tuple(c for c in changes if c.before is not None and c.after is not None and c.before != c.after),
        kept=sum(change.before == change.after for change in changes),
    )
