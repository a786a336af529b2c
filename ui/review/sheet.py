"""The evidence sheet of a review, as data: its queries, and the pinned cases with pictures, reports, notes, versions.

`ui/html/sheet_page.py` writes it as a page; `sheet_json` and `sheet_csv` write it here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from retrieval import RESEARCH_USE, RetrievalError
from ui.review.pictures import SheetPicture, case_picture, query_pictures
from ui.review.pinning import found_query, software
from ui.text.case import case_summary, label_text
from ui.text.json_text import json_text
from ui.text.query import choice_words, filter_words, picture_words

if TYPE_CHECKING:
    from index_store import Archive, Case
    from ui.review.records import Found, Pin, Review, Versions
    from ui.review.store import Reviews

COLUMNS: Final = (
    *("number", "case", "patient", "site", "system", "category", "stain", "preparation", "phantom", "image_sha256"),
    *("mpp", "ticks", "note", "query", "rank", "score", "unit", "made_of", "report"),
    *("removed", "review", "user", "archive", "revision", "encoder_fingerprint", "software", "notice"),
)


@dataclass(frozen=True)
class SheetQuery:
    """A query that found some of the cases."""

    number: int
    words: str
    """What it searched by, but for its text."""
    text: str
    choices: tuple[str, ...]
    order: tuple[str, ...]
    """What its cases are ordered by."""
    pictures: tuple[SheetPicture, ...]
    problem: str
    """Why it, or its pictures, cannot be shown."""
    versions: Versions


@dataclass(frozen=True)
class SheetCase:
    """A pinned case; of a removed one, what its user wrote."""

    number: int
    key: str
    ticks: tuple[str, ...]
    note: str
    problem: str
    """That it was removed, or why its picture cannot be shown."""
    removed: bool = False
    summary: str = ""
    patient: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    stain: str = ""
    preparation: str = ""
    phantom: bool = False
    report: str = ""
    picture: SheetPicture | None = None
    other_images: int = 0
    query: int | None = None
    """The number of the query that found it; None where it was pinned from its own page."""
    rank: int | None = None
    score: float | None = None
    """The number of its card, in that unit; None where an earlier version pinned it."""
    unit: str = ""
    score_text: str = ""
    made_of: tuple[str, ...] = ()
    """What each channel added to the number, its place and similarity; why the case stood before others."""


@dataclass(frozen=True)
class EvidenceSheet:
    """A review at one moment."""

    review: str
    user: str
    note: str
    archive: str
    archive_id: str
    revision: int
    """The archive's now; a query's versions have that of its result."""
    encoder: str
    fingerprint: str
    software: str
    made: str
    """ISO 8601, UTC."""
    queries: tuple[SheetQuery, ...]
    cases: tuple[SheetCase, ...]


def make_sheet(archive: Archive, reviews: Reviews, review: Review, opened: Callable[[str], Case]) -> EvidenceSheet:
    """The sheet of a review. `opened` gives a case of the archive and records that it was shown."""
    queries: dict[tuple[str, Versions], SheetQuery] = {}
    for pin in review.pins:
        if pin.found is not None and (key := (pin.found.query, pin.found.versions)) not in queries:
            same = [one.found for one in review.pins if one.found and (one.found.query, one.found.versions) == key]
            order = tuple(dict.fromkeys(found.scale.words for found in same if found.scale is not None))
            queries[key] = _query(archive, reviews, pin.found, len(queries) + 1, order)
    cases = []
    for number, pin in enumerate(review.pins, start=1):
        query = None if pin.found is None else queries[pin.found.query, pin.found.versions].number
        cases.append(_case(number, pin, query, opened))
    encoder = archive.encoder
    return EvidenceSheet(
        review=review.name,
        user=review.user,
        note=review.note,
        archive=archive.name or archive.path.name,
        archive_id=archive.uuid,
        revision=archive.revision,
        encoder="" if encoder is None else encoder.name,
        fingerprint="" if encoder is None else encoder.fingerprint,
        software=software(),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        queries=tuple(queries.values()),
        cases=tuple(cases),
    )


def sheet_json(sheet: EvidenceSheet) -> str:
    """The sheet as one JSON object, pictures by their checksums."""
    queries = [_without_data(dataclasses.asdict(query)) for query in sheet.queries]
    cases = [_without_data(dataclasses.asdict(case)) for case in sheet.cases]
    return json_text(dataclasses.asdict(sheet) | {"queries": queries, "cases": cases}) + "\n"


def sheet_csv(sheet: EvidenceSheet) -> str:
    """A row a case. Cells that a spreadsheet would compute get an apostrophe in front."""
    from generation import csv_text

    rows = []
    for case in sheet.cases:
        picture = case.picture
        rows.append(
            {
                **dict.fromkeys(COLUMNS, ""),
                **{name: getattr(case, name) for name in ("number", "patient", "stain", "preparation", "phantom")},
                **dict(case.labels),
                "case": case.key,
                "image_sha256": "" if picture is None else picture.sha256,
                "mpp": "" if picture is None else picture.mpp or "unknown",
                "ticks": "; ".join(case.ticks),
                "note": case.note,
                "query": case.query or "",
                "rank": case.rank or "",
                "score": "" if case.score is None else case.score,
                "unit": case.unit,
                "made_of": "; ".join(case.made_of),
                "report": case.report,
                "removed": case.removed,
                "review": sheet.review,
                "user": sheet.user,
                "archive": sheet.archive,
                "revision": sheet.revision,
                "encoder_fingerprint": sheet.fingerprint,
                "software": sheet.software,
                "notice": RESEARCH_USE,
            }
        )
    return csv_text(COLUMNS, rows)


def _query(archive: Archive, reviews: Reviews, found: Found, number: int, order: tuple[str, ...]) -> SheetQuery:
    from index_store import ArchiveError

    try:
        query = found_query(reviews, archive, found)
    except (ArchiveError, RetrievalError) as error:
        return SheetQuery(number, "what cannot be shown", "", (), order, (), str(error), found.versions)
    pictures, problem = query_pictures(archive, query, found)
    choices = (*choice_words(query), *(f"Filter: {words}" for words in filter_words(query.where)))
    for word, keys in (("More like", query.more), ("Less like", query.less)):
        choices += (f"{word} {', '.join(keys)}",) if keys else ()
    words = picture_words(query) or "a report"
    return SheetQuery(number, words, query.text.strip(), choices, order, pictures, problem, found.versions)


def _case(number: int, pin: Pin, query: int | None, opened: Callable[[str], Case]) -> SheetCase:
    from index_store import CaseNotFoundError

    found = pin.found
    sheet = SheetCase(number, pin.case, pin.ticks, pin.note, "", query=query)
    if found is not None:
        sheet = dataclasses.replace(sheet, rank=found.rank, **_score(found))
    try:
        case = opened(pin.case)
    except CaseNotFoundError as error:
        return dataclasses.replace(sheet, removed=True, problem=str(error))
    wanted = None if found is None else found.image_id
    image = next((image for image in case.images if image.id == wanted), next(iter(case.images), None))
    picture, problem = (None, "It has no image.") if image is None else case_picture(case, image)
    return dataclasses.replace(
        sheet,
        problem=problem,
        summary=case_summary(case, image),
        patient=case.patient,
        labels=tuple((name, label_text(case, name)) for name in ("site", "system", "category")),
        stain=case.stain,
        preparation=case.preparation,
        phantom=case.phantom,
        report=case.report,
        picture=picture,
        other_images=max(0, len(case.images) - 1),
    )


def _score(found: Found) -> dict[str, Any]:
    """The number of the case's card, and what it is made of."""
    made_of = tuple(filter(None, (*found.made_of, found.lead)))
    if found.scale is None or found.score is None:
        return {"made_of": made_of}
    score, unit = float(found.scale.part(found.score)), found.scale.unit
    return {"score": score, "unit": unit, "score_text": found.score_text, "made_of": made_of}


def _without_data(values: dict[str, object]) -> dict[str, object]:
    """Without the pictures' bytes, which only the page needs."""

    def bare(value: object) -> object:
        return {name: kept for name, kept in value.items() if name != "data"} if isinstance(value, dict) else value

    return {
        name: [bare(each) for each in value] if isinstance(value, list | tuple) else bare(value)
        for name, value in values.items()
    }
