"""What distinguishes two rankings of cases: which came, went and moved."""

from __future__ import annotations

from dataclasses import dataclass

from retrieval.search.results import SearchResult


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
    old, new = _ranks(before), _ranks(after)
    changes = [RankChange(case, old.get(case), new.get(case)) for case in dict.fromkeys([*new, *old])]
    return RankChanges(
        came=tuple(change for change in changes if change.before is None),
        went=tuple(change for change in changes if change.after is None),
        moved=tuple(c for c in changes if c.before is not None and c.after is not None and c.before != c.after),
        kept=sum(change.before == change.after for change in changes),
    )


def _ranks(result: SearchResult) -> dict[str, int]:
    return {ranked.case.key: ranked.rank for ranked in result.cases}
