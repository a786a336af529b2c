"""A search result as JSON: with the provenance of each case and each image."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from retrieval.notice import RESEARCH_USE
from retrieval.search.query import query_to_dict
from retrieval.search.results import MatchedField, RankedCase, SearchResult
from retrieval.search.slides.slide_query import without_place

if TYPE_CHECKING:
    from retrieval.assessment.diagnostics import ResultDiagnostics
    from retrieval.generated.checked_generation import GeneratedQuery
    from retrieval.search.by_category import Gallery
    from retrieval.search.slides.read_slide import QueriedSlide


def to_json(
    result: SearchResult,
    diagnostics: ResultDiagnostics | None = None,
    gallery: Gallery | None = None,
    *,
    indent: int | None = 2,
) -> str:
    """The result as JSON text, with the research-use notice first. Non-ASCII text is kept as it is."""
    return json.dumps(to_dict(result, diagnostics, gallery), indent=indent, ensure_ascii=False)


def to_dict(
    result: SearchResult, diagnostics: ResultDiagnostics | None = None, gallery: Gallery | None = None
) -> dict[str, Any]:
    """The result as plain dicts, lists, strings and numbers, in a stable order of keys."""
    return {
        "notice": RESEARCH_USE,
        "query": _query(result),
        **({} if result.slide is None else {"slide": _slide(result.slide)}),
        "not_understood": result.not_understood,
        "encoder": {"name": result.encoder, "fingerprint": result.fingerprint},
        # Where another encoder compared the texts.
        **(
            {"text_encoder": {"name": result.text_encoder, "fingerprint": result.text_fingerprint}}
            if result.text_fingerprint
            else {}
        ),
        "fusion": {"method": result.rule.method, "weights": {a.channel: a.weight for a in result.channels}},
        "overlaps": [{**dataclasses.asdict(overlap), "disagree": overlap.disagree} for overlap in result.overlaps],
        "generation": None if result.generated is None else _generated(result.generated),
        "generation_default": None
        if result.generation_default is None
        else dataclasses.asdict(result.generation_default),
        "neighbourhood": None if diagnostics is None else dataclasses.asdict(diagnostics),
        "gallery": None if gallery is None else _gallery(gallery),
        "cases": [_case(entry) for entry in result.cases],
        "timing": {**dataclasses.asdict(result.timing), "total_s": result.timing.total_s},
        "notes": list(result.notes),
    }


def _query(result: SearchResult) -> dict[str, Any]:
    """All fields; the image's bytes are replaced by their SHA-256, a slide's path by its name."""
    query = result.query
    sha256 = hashlib.sha256(query.image).hexdigest() if query.image else ""
    values = {"kind": query.kind, **query_to_dict(query), "image": sha256}
    if query.slide is not None:
        values["slide"] = without_place(query.slide, "" if result.slide is None else result.slide.name)
    return values


def _slide(slide: QueriedSlide) -> dict[str, Any]:
    """The query's slide and its fields, in pixels of level 0."""
    values = {name: getattr(slide, name) for name in ("name", "fingerprint", "width", "height", "mpp")}
    return {**values, "fields": [dataclasses.asdict(field) for field in slide.fields]}


def _generated(generated: GeneratedQuery) -> dict[str, Any]:
    return {
        "prompt": dataclasses.asdict(generated.generation.prompt),
        "images": [
            {
                "path": None if check.generated.path is None else str(check.generated.path),
                "cached": check.generated.cached,
                "provenance": dataclasses.asdict(check.generated.provenance),
                **{
                    field.name: getattr(check, field.name)
                    for field in dataclasses.fields(check)
                    if field.name not in ("generated", "part")
                },
                "part": None if check.part is None else dataclasses.asdict(check.part),
            }
            for check in generated.images
        ],
    }


def _gallery(gallery: Gallery) -> dict[str, Any]:
    return {
        "system": gallery.system,
        "site": gallery.site,
        "rows": [
            {
                "category": row.category,
                "tier": row.tier,
                "available": row.available,
                "cases": [
                    {"case": entry.case.key, "patient": entry.case.patient, "similarity": entry.similarity}
                    for entry in row.cases
                ],
            }
            for row in gallery.rows
        ],
        "category": gallery.category,
        "look_alikes": [row.category for row in gallery.look_alikes],
        "sources": [dataclasses.asdict(source) for source in gallery.sources],
    }


def _case(entry: RankedCase) -> dict[str, Any]:
    case, image = entry.case, entry.image
    return {
        "rank": entry.rank,
        "score": entry.score,
        "similarity": entry.similarity,
        "channels": [dataclasses.asdict(rank) for rank in entry.channel_ranks],
        "alone": entry.only_channel,
        "contains_words": entry.contains_words,
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
            "note": image.note,
            "mpp": image.mpp,
            "mpp_source": image.mpp_source,
            "place": None if image.place is None else dataclasses.asdict(image.place),
        },
        "other_images": entry.other_images,
        **({"matches": [_match(match) for match in entry.matches]} if entry.matches else {}),
    }


def _match(match: MatchedField) -> dict[str, Any]:
    """A field of the query's slide and the stored image that it met."""
    image = match.image
    place = None if image.place is None else dataclasses.asdict(image.place)
    met = {"case": image.case_key, "path": str(image.path), "sha256": image.sha256, "slide": image.slide}
    return {
        "similarity": match.similarity,
        "field": dataclasses.asdict(match.field),
        "image": {**met, "place": place},
    }
