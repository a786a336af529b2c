"""From a slide to the fields that are worth cutting out of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from index_store.errors import SlideProblem
from index_store.slides.field import DAMAGED, OUT_OF_FOCUS, ChosenFields, Field, FieldChoice
from index_store.slides.focus import sharpness
from index_store.slides.places import Places, counted, places
from index_store.slides.region import reading_level, slide_mpp
from index_store.slides.slide import Slide
from index_store.slides.spread import ordered
from index_store.slides.survey import Survey, survey

TRIES: Final = 2
"""For each field that is wanted, so many candidates are read closely at most."""
BLURRED: Final = 0.2
"""Sharpness below which a field is out of focus on any slide."""


def choose_fields(
    slide: Slide,
    choice: FieldChoice | None = None,
    *,
    mpp: float | None = None,
    box: tuple[int, int, int, int] | None = None,
) -> ChosenFields:
    """Choose the fields of a slide; nothing is stored.

    Args:
        slide: an open slide.
        choice: how many, how large, by which rule.
        mpp: µm a pixel of level 0, where the slide does not say it.
        box: x, y, width, height in pixels of level 0: look at this part only.

    Raises:
        SlideProblem: the scale is unknown, or the slide is smaller than a field.
    """
    start = time.perf_counter()
    choice = choice or FieldChoice()
    scale, notes = slide_mpp(slide, mpp)
    whole = (0, 0, slide.info.width, slide.info.height)
    box = box or whole
    width = round(choice.width_um / scale)
    if min(box[2:]) < width:
        raise SlideProblem(
            f"{slide.name} is {box[2] * scale:.0f} × {box[3] * scale:.0f} µm: smaller than a field of "
            f"{choice.width_um:g} µm. Choose smaller fields, or add it as an image."
        )
    seen = survey(slide, scale, choice.width_um, box)
    found = places(seen, choice)
    total, candidates, left_out = counted(found)
    confirmed = _confirmed(slide, seen, found, choice, scale)
    reasons = Counter(left_out)
    reasons.update(confirmed.left_out)
    return ChosenFields(
        confirmed.fields,
        total,
        dict(reasons),
        candidates,
        seen.megapixels + confirmed.megapixels,
        time.perf_counter() - start,
        (*slide.info.notes, *notes),
    )


@dataclass(frozen=True)
class _Confirmed:
    fields: tuple[Field, ...]
    left_out: Counter[str]
    megapixels: float


def _confirmed(slide: Slide, seen: Survey, found: Places, choice: FieldChoice, mpp: float) -> _Confirmed:
    """The first candidates that are in focus where they are read, at most `TRIES` × `choice.most` of them read."""
    order = ordered(found, choice)
    kept: list[Field] = []
    left_out: Counter[str] = Counter()
    tried, megapixels, least = 0, 0.0, 0.0
    while len(kept) < choice.most and tried < TRIES * choice.most:
        batch = list(islice(order, min(choice.most - len(kept), TRIES * choice.most - tried)))
        if not batch:
            break
        tried += len(batch)
        read = list(_read(slide, seen, found, batch, choice, mpp))
        if not least:
            known = [field.sharpness for field in read if field is not None]
            least = max(BLURRED, choice.sharpness * float(np.quantile(known, 0.75))) if known else BLURRED
        for field in read:
            if field is None:
                left_out[DAMAGED] += 1
                continue
            megapixels += field.pixels**2 * len(slide.info.planes) / 1e6
            if field.sharpness < least:
                left_out[OUT_OF_FOCUS] += 1
            else:
                kept.append(field)
    return _Confirmed(tuple(kept), left_out, megapixels)


def _read(
    slide: Slide, seen: Survey, found: Places, batch: list[int], choice: FieldChoice, mpp: float
) -> Iterator[Field | None]:
    """The candidates as fields, each in its sharpest plane; None for one that cannot be read."""
    level = reading_level(slide, mpp, choice.finest_um)
    um = mpp * slide.info.levels[level].downsample
    width = round(choice.width_um / mpp)
    pixels = round(choice.width_um / um)
    corners = [
        (seen.left + round(found.column[place] * seen.square), seen.top + round(found.row[place] * seen.square))
        for place in batch
    ]
    planes = range(len(slide.info.planes))
    regions = slide.regions([(x, y, pixels, pixels, level, plane) for x, y in corners for plane in planes])
    for place, (x, y) in zip(batch, corners, strict=True):
        sharp = [-1.0 if part is None else sharpness(part, seen.ground, um) for part in islice(regions, len(planes))]
        plane = int(np.argmax(sharp))
        if sharp[plane] < 0:
            yield None
            continue
        yield Field(
            slide.info.fingerprint,
            x,
            y,
            width,
            level,
            plane,
            pixels,
            um,
            float(found.cells[place]),
            sharp[plane],
            {name: round(float(share[place]), 4) for name, share in found.shares.items()},
        )
