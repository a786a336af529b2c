"""The query's own side of a comparison: its picture, and the text that cases are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import PIL.Image

from ui.image_labels import EXPLAINED, SYNTHETIC
from ui.view.session import guarded, service
from ui.view.slide.shown import query_slide_picture
from ui.view.viewer.component import Mark, Picture
from ui.view.viewer.region import box_of
from ui.view.viewer.shown import case_picture, made_picture, upload_picture

if TYPE_CHECKING:
    from retrieval import Query, SearchResult

MOST: Final = 12
"""Pictures of a side, of which one is shown at a time."""


@dataclass(frozen=True)
class QuerySide:
    """What stands on the query's side."""

    pictures: tuple[Picture, ...]
    text: str
    marks: tuple[Mark, ...] = ()
    problem: str = ""
    """Why there is no picture."""


def query_side(query: Query, result: SearchResult | None, case: str) -> QuerySide:
    """That of a query; of a slide, its field that is nearest to the case of that key."""
    if query.case:
        return _case(query)
    if query.image:
        upload, problem = guarded(lambda: upload_picture(query.image, name=query.label, mpp=query.mpp))
        if upload is None:
            return QuerySide((), query.text, (), problem)
        marks = () if query.region is None else (Mark(upload.id, box_of(query.region, upload.width, upload.height)),)
        return QuerySide((upload,), query.text, marks)
    if query.slide:
        slide, problem = guarded(lambda: query_slide_picture(result, case))
        return QuerySide((), query.text, (), problem) if slide is None else QuerySide((slide[0],), query.text, slide[1])
    generated = () if result is None or result.generated is None else result.generated.images
    drawn = [check.generated for check in generated if check.used]
    return QuerySide(tuple(_synthetic(number, each.image) for number, each in enumerate(drawn[:MOST], 1)), query.text)


def _case(query: Query) -> QuerySide:
    case, problem = guarded(lambda: service().archive.case(query.case))
    if case is None:
        return QuerySide((), query.text, (), problem)
    images = [image for image in case.images if query.image_id in (None, image.id)][:MOST]
    pictures = tuple(case_picture(case, image, alt=f"Query case, image {n}") for n, image in enumerate(images, 1))
    marks: tuple[Mark, ...] = ()
    if query.region is not None and pictures:
        marks = (Mark(pictures[0].id, box_of(query.region, pictures[0].width, pictures[0].height)),)
    return QuerySide(pictures, query.text or case.report, marks)


def _synthetic(number: int, image: PIL.Image.Image) -> Picture:
    return made_picture(image, alt=f"Synthetic image {number}", label=EXPLAINED[SYNTHETIC])
