"""A search result as JSON: everything a reader needs to say where each case and each image came from."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from retrieval.notice import RESEARCH_USE
from retrieval.results import RankedCase, SearchResult

if TYPE_CHECKING:
    from generation import Generation


def to_json(result: SearchResult, *, indent: int | None = 2) -> str:
    """The result as JSON text, with the research-use notice first. Non-ASCII text is kept as it is."""
    return json.dumps(to_dict(result), indent=indent, ensure_ascii=False)


def to_dict(result: SearchResult) -> dict[str, Any]:
    """The result as plain dicts, lists, strings and numbers, in a stable order of keys."""
    return {
        "notice": RESEARCH_USE,
        "query": dataclasses.asdict(result.query),
        "filter": None if result.where is None else dataclasses.asdict(result.where),
        "encoder": {"name": result.encoder, "fingerprint": result.fingerprint},
        "generation": None if result.generation is None else _generation(result.generation),
        "cases": [_case(entry) for entry in result.cases],
        "timing": {**dataclasses.asdict(result.timing), "total_s": result.timing.total_s},
        "notes": list(result.notes),
    }


def _generation(generation: Generation) -> dict[str, Any]:
    return {
        "prompt": dataclasses.asdict(generation.prompt),
        "images": [
            {
                "path": None if drawn.path is None else str(drawn.path),
                "cached": drawn.cached,
                "provenance": dataclasses.asdict(drawn.provenance),
            }
            for drawn in generation.images
        ],
    }


def _case(entry: RankedCase) -> dict[str, Any]:
    case, image = entry.case, entry.image
    return {
        "rank": entry.rank,
        "score": entry.score,
        "similarity": entry.similarity,
        "case": case.key,
        "patient": case.patient,
        "site": case.site,
        "system": case.system,
        "category": case.category,
        "derived": list(case.derived),
        "report": case.report,
        "phantom": case.phantom,
        "source": case.source,
        "license": case.license,
        "attributes": dict(case.attributes),
        "image": {
            "path": str(image.path),
            "sha256": image.sha256,
            "kind": image.kind,
            "stain": image.stain,
            "preparation": image.preparation,
            "slide": image.slide,
        },
        "other_images": entry.other_images,
    }
