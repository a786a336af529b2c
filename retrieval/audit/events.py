"""The events of an audit log: fingerprints and numbers of a query and its results, no word of a report.

Cases and images are named by their ids in the archive, which are never used again; keys may be accession numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from retrieval.search.query import query_to_dict

if TYPE_CHECKING:
    from index_store import Archive, Case
    from retrieval.search.by_category import Gallery
    from retrieval.search.query import Query
    from retrieval.search.results import SearchResult


def query_sha256(query: Query) -> str:
    """SHA-256, in hex, of the query as it is saved (`query_to_dict`, keys sorted): equal for equal queries.

    It hides the words, but whoever guesses the whole query can confirm the guess.
    """
    return hashlib.sha256(json.dumps(query_to_dict(query), sort_keys=True).encode()).hexdigest()


def query_event(query: Query) -> dict[str, Any]:
    """The fields of a query, before it is run."""
    return {"query": query_sha256(query), "kind": query.kind, "software": _software()}


def result_event(archive: Archive, result: SearchResult) -> dict[str, Any]:
    """The fields of a result: the versions that it was made with, and what it shows.

    `revision` is the archive's, which grows with every change that a search could see: records and index alike.
    """
    query, generation = result.query, result.generation
    made = None if generation is None or not generation.images else generation.images[0].provenance
    by_case = [*([query.case] if query.case else []), *query.more, *query.less]
    return {
        "revision": archive.revision,
        "encoder": result.fingerprint,
        **({"text_encoder": result.text_fingerprint} if result.text_fingerprint else {}),
        "generator": None if made is None else {"base": made.model_fingerprint, "lora": made.lora_fingerprint},
        "channels": [channel.channel for channel in result.channels],
        "asked_by_cases": [archive.case(key).id for key in by_case],
        "cases": [ranked.case.id for ranked in result.cases],
        "images": [ranked.image.id for ranked in result.cases],
    }


def categories_event(gallery: Gallery) -> dict[str, Any]:
    """The fields of a comparison by category: the cases that it shows."""
    return {"cases": sorted({ranked.case.id for row in gallery.rows for ranked in row.cases})}


def cases_event(cases: Iterable[Case]) -> dict[str, Any]:
    """The fields of a view of whole cases: which these are."""
    return {"cases": [case.id for case in cases]}


def _software() -> str:
    try:
        return version("coin-retrieval")
    except PackageNotFoundError:
        return "checkout"
