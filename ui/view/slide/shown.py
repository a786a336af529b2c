"""Whole slides as the viewer takes them: tiles where the slide's file is at hand, else the archive's overview."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import streamlit as st

from ui.serving.pictures.addresses import overview_url, slide_url
from ui.serving.pictures.deep_zoom import TILE, zoom_levels
from ui.serving.pictures.slide_files import SlideFiles, slide_files
from ui.text.case import format_name
from ui.view.session import service
from ui.view.viewer.component import Box, Mark, Picture, Tiles
from ui.view.viewer.shown import base_path, size_text

if TYPE_CHECKING:
    from index_store import Case, CaseSlide, SlideInfo, SlidePlace
    from retrieval import SearchResult

MOST_MARKS: Final = 300
"""Fields framed on a slide."""


def open_slides() -> SlideFiles:
    """The slides that this view may open."""
    return slide_files(service().settings.slides)


def slide_picture(
    info: SlideInfo, name: str, *, at: Box | None = None, mpp: float | None = None, plane: int = 0
) -> Picture:
    """A slide whose file is at hand."""
    scale = mpp or info.mpp
    first, last = zoom_levels(info)
    address = slide_url(base_path(), info.fingerprint, plane)
    notes = " ".join(info.notes)
    caption = f"{size_text(info.width, info.height)}, {format_name(info.format)}. {notes}".strip()
    tiles = Tiles(TILE, first, last)
    size = info.width, info.height
    return Picture(info.fingerprint, address, *size, f"Slide {name}", scale, caption=caption, tiles=tiles, at=at)


def overview_picture(case: Case, slide: CaseSlide, name: str) -> Picture:
    """The archive's own small picture of a slide."""
    scale, size = _overview_size(slide)
    mpp = slide.mpp * scale if slide.mpp else None
    address = overview_url(base_path(), case.key, slide)
    caption = f"Overview of a slide of {size_text(slide.width, slide.height)}."
    return Picture(slide.fingerprint, address, *size, f"Overview of slide {name}", mpp, caption=caption)


def field_marks(
    slide: str, places: Iterable[tuple[str, SlidePlace]], *, strong: Iterable[SlidePlace] = (), scale: float = 1.0
) -> list[Mark]:
    """Frames on a slide at places with their names; `scale`: its pixels for one of the picture."""
    chosen = set(strong)
    inside = [(name, place) for name, place in places if place.slide == slide]
    inside.sort(key=lambda each: each[1] not in chosen)
    return [
        Mark(slide, box_at(place, scale), name if place in chosen else "", place in chosen)
        for name, place in inside[:MOST_MARKS]
    ]


def box_at(place: SlidePlace, scale: float = 1.0) -> Box:
    """A place in pixels of a picture that is `scale` times smaller than the slide."""
    x, y, width, height = (round(side / scale) for side in (place.x, place.y, place.width, place.height))
    return Box(x, y, max(1, width), max(1, height))


def overview_scale(slide: CaseSlide) -> float:
    """Pixels of the slide for one of its overview."""
    return _overview_size(slide)[0]


def query_slide_picture(result: SearchResult | None, case: str = "") -> tuple[Picture, tuple[Mark, ...]]:
    """The slide of a query with the fields that query; at the field nearest to a case, where one is named.

    Raises:
        index_store.SlideProblem: its file is not at hand.
        retrieval.QueryError: the query was not answered.
    """
    from index_store import SlideProblem

    if result is None or result.slide is None or result.query.slide is None:
        raise SlideProblem("The query's slide was not read: no channel of this search compares pictures.")
    info = open_slides().described(result.slide.fingerprint, result.slide.name.rpartition(".")[0])
    matches = next((ranked.matches for ranked in result.cases if ranked.case.key == case), ())
    strong = [match.field for match in matches]
    if result.query.slide.at is not None:
        strong = [result.slide.fields[0]]
    at = box_at(strong[0]) if strong else None
    names = [(f"{number}", place) for number, place in enumerate(strong, 1)]
    names += [("", place) for place in result.slide.fields if place not in strong]
    marks = field_marks(info.fingerprint, names, strong=strong)
    return slide_picture(info, result.slide.name, at=at, mpp=result.slide.mpp), tuple(marks)


@st.cache_data(max_entries=500, show_spinner=False)
def _size_of(path: str, sha256: str) -> tuple[int, int]:
    from pathlib import Path

    from index_store import decode_image

    return decode_image(Path(path), expected=sha256).size


def _overview_size(slide: CaseSlide) -> tuple[float, tuple[int, int]]:
    from index_store import SlideProblem

    if slide.overview is None:
        raise SlideProblem("The archive keeps no overview of this slide.")
    size = _size_of(str(slide.overview), slide.overview_sha256)
    return max(slide.width, slide.height) / max(size), size
