"""Pinning a case of a result: how it was found, and with which versions."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from ui.review.records import Found, SyntheticImage, Versions
from ui.text.score import channel_shares, lead

if TYPE_CHECKING:
    from index_store import Archive
    from retrieval import Query, RankedCase, SearchResult
    from ui.review.store import Reviews
    from ui.text.score import ScoreScale


def found_case(
    reviews: Reviews, archive: Archive, result: SearchResult, ranked: RankedCase, scale: ScoreScale
) -> Found:
    """How a result has a case, with its score on the result's scale; its query is kept."""
    query, with_report = without_report(archive, result.query)
    images = () if result.generation is None else result.generation.images
    return Found(
        query=reviews.keep_query(query),
        with_report=with_report,
        rank=ranked.rank,
        channels=ranked.channel_ranks,
        image_id=ranked.image.id,
        versions=versions_of(archive, result),
        synthetic=tuple(
            SyntheticImage(each.provenance.seed, "" if each.path is None else str(each.path)) for each in images
        ),
        score=ranked.score,
        scale=scale,
        shares=channel_shares(ranked, result),
        lead=lead(ranked, result),
    )


def found_query(reviews: Reviews, archive: Archive, found: Found) -> Query:
    """The query that found a case, whole.

    Raises:
        retrieval.QueryError: it is not there any more, or cannot be read.
        index_store.CaseNotFoundError: it was a case with its report, and that case was removed.
    """
    query = reviews.queries.load(found.query)
    return replace(query, text=archive.case(query.case).report) if found.with_report else query


def versions_of(archive: Archive, result: SearchResult) -> Versions:
    """The versions that a result was made with."""
    made = result.generation.images[0].provenance if result.generation and result.generation.images else None
    return Versions(
        software=software(),
        revision=archive.revision,
        encoder=result.encoder,
        fingerprint=result.fingerprint,
        text_encoder=result.text_encoder,
        text_fingerprint=result.text_fingerprint,
        **(
            {}
            if made is None
            else {
                "base": made.model,
                "base_fingerprint": made.model_fingerprint,
                "lora": made.lora,
                "lora_fingerprint": made.lora_fingerprint,
            }
        ),
    )


def software() -> str:
    """This software's version."""
    try:
        return f"coin-retrieval {version('coin-retrieval')}"
    except PackageNotFoundError:
        return "coin-retrieval from a checkout"


def without_report(archive: Archive, query: Query) -> tuple[Query, bool]:
    """The query without the report of its own case, which must go with the case; and whether it had it.

    Raises `index_store.CaseNotFoundError`.
    """
    if query.case and query.text and query.text == archive.case(query.case).report:
        return replace(query, text=""), True
    return query, False
