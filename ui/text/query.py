"""What a query asks, in words: its picture, its filters, and what else was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from index_store import CaseFilter
    from retrieval import Query

LETTERS: Final = 60
"""Of a text, in a line."""
# Field of CaseFilter -> what its values are.
_FILTERS: Final[Mapping[str, str]] = {
    "sites": "Site",
    "systems": "Reporting system",
    "categories": "Category",
    "stains": "Stain",
    "preparations": "Preparation",
    "kinds": "Kind of image",
    "sources": "Source",
    "exclude_patients": "Without patient",
    "exclude_cases": "Without case",
}


def picture_words(query: Query) -> str:
    """What stands in the place of a picture: "image a.png", "a part of image 7 of case K"; empty where nothing does."""
    if query.image:
        picture = f"image {query.label}".strip()
    elif query.slide is not None:
        area = query.slide.at
        name = query.slide.path.replace("\\", "/").rpartition("/")[2]
        return f"slide {name}" if area is None else f"the part {area} of slide {name}"
    elif query.case:
        picture = f"case {query.case}" if query.image_id is None else f"image {query.image_id} of case {query.case}"
    else:
        return ""
    if query.region is None:
        return picture
    left, top, right, bottom = (f"{side:.0%}" for side in astuple(query.region))
    return f"a part of {picture}: from {left} to {right} of its width, {top} to {bottom} of its height"


def query_words(query: Query) -> str:
    """What a query asks, in a line: its picture, and the beginning of its text."""
    text = " ".join(query.text.split())
    words = [picture_words(query), f"{text[:LETTERS]}…" if len(text) > LETTERS else text]
    return ", ".join(filter(None, words))


def filter_words(where: CaseFilter | None) -> list[str]:
    """Each restriction in words, as "Site: cervix or thyroid"."""
    if where is None:
        return []
    words = [f"{name}: {_either(getattr(where, field))}" for field, name in _FILTERS.items() if getattr(where, field)]
    if where.labels:
        words.append(f"Label: {_either(['/'.join(filter(None, label)) for label in where.labels])}")
    if where.mpp is not None:
        words.append(f"Scale: {where.mpp[0]:g} to {where.mpp[1]:g} µm a pixel")
    if where.phantoms is not None:
        words.append("Phantoms only" if where.phantoms else "Without phantoms")
    return words


def choice_words(query: Query) -> list[str]:
    """What else decides the answer and was chosen: channels, fusion, weights, site, the query's own patient."""
    from retrieval import channel_label

    words = []
    if query.channels:
        words.append(f"Only by: {', '.join(map(channel_label, query.channels))}")
    if query.fusion is not None:
        words.append(f"Joined by {'ranks' if query.fusion == 'rrf' else 'scores'}")
    if query.weights:
        words.append(f"Weights: {', '.join(f'{channel_label(name)} {weight:g}' for name, weight in query.weights)}")
    if query.site:
        words.append(f"Generated images of: {query.site}")
    if query.include_own_patient:
        words.append("With other cases of its own patient")
    return words


def _either(values: Sequence[str]) -> str:
    return " or ".join(values)
