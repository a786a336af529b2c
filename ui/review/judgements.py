"""What was ticked in a review, as judgements of the queries that found the cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval import JudgedQuery
from ui.review.pinning import found_query

if TYPE_CHECKING:
    from index_store import Archive
    from retrieval import Query
    from ui.review.records import Found, Review
    from ui.review.store import Reviews


def judged_queries(archive: Archive, reviews: Reviews, review: Review) -> tuple[JudgedQuery, ...]:
    """The queries of a review with their ticked cases: relevant where that is ticked. Pins without a tick, and those
    that no query found, are left out. Raises as `found_query`."""
    first: dict[str, Found] = {}
    relevant: dict[str, dict[str, bool]] = {}
    for pin in review.pins:
        if pin.found is not None and pin.is_relevant is not None:
            first.setdefault(pin.found.query, pin.found)
            relevant.setdefault(pin.found.query, {})[pin.case] = pin.is_relevant
    return tuple(JudgedQuery(found_query(reviews, archive, found), relevant[name]) for name, found in first.items())


def marked_query(judged: JudgedQuery) -> Query:
    """The query with what was ticked as relevance feedback."""
    query = judged.query
    for case, relevant in judged.relevant.items():
        query = query.more_like(case) if relevant else query.less_like(case)
    return query
