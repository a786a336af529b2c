"""A slide of a manifest: which it is, at what scale, and by which settings fields are chosen; nothing is stored yet."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from index_store.errors import SlideProblem
from index_store.scale import DICOM, OBJECTIVE, OBJECTIVE_MPP, SLIDE, joined_scale
from index_store.slide_records import SlidePlace
from index_store.slides import records as slides
from index_store.slides.field import FieldChoice
from index_store.slides.slide import Slide

if TYPE_CHECKING:
    from index_store.records import ManifestRow
    from index_store.slides.records import SlideInfo

ALWAYS_SAID = ("most", "width_um")


@dataclass(frozen=True)
class PlannedSlide:
    """A row of a manifest that is a whole slide, and what is known of it without a look at its pixels."""

    row: ManifestRow
    info: SlideInfo
    choice: FieldChoice
    mpp: float
    """µm a pixel of level 0."""
    mpp_source: str
    """A key of `scale.RANK`."""
    notes: tuple[str, ...] = ()
    """As sentences."""
    pending: tuple[SlidePlace, ...] | None = None
    """Fields that were chosen before and are not stored yet, as after an interruption; None: they are to be chosen."""

    @property
    def settings(self) -> str:
        """By which fields are chosen, as JSON. Those that are as by default are not in it, so that a setting that a
        later version adds changes nothing."""
        given, usual = dataclasses.asdict(self.choice), dataclasses.asdict(FieldChoice())
        stated = {name: value for name, value in given.items() if name in ALWAYS_SAID or value != usual[name]}
        return json.dumps({**stated, "mpp": round(self.mpp, 6)}, sort_keys=True)


def plan_slide(row: ManifestRow, choice: FieldChoice) -> PlannedSlide:
    """Open the slide of a row, for its fingerprint and scale. A slide without a name is called after its fingerprint.

    Raises:
        SlideProblem: it cannot be opened, or its scale is not known.
    """
    with Slide(row.path) as slide:
        info = slide.info
    own = DICOM if info.reader == slides.DICOM else SLIDE
    mpp, source, notes = joined_scale((row.mpp, row.mpp_source), (info.mpp, own if info.mpp else ""))
    if mpp is None and info.objective:
        mpp, source = OBJECTIVE_MPP / info.objective, OBJECTIVE
        notes = (f"the scale was taken from the objective ({info.objective:g}×)",)
    if mpp is None:
        raise SlideProblem(
            f"{row.path.name} has no scale that is known. Give its µm a pixel (a column `mpp`, or --mpp)."
        )
    sentences = tuple(f"{note[:1].upper()}{note[1:]}." for note in notes)
    row = row if row.slide else dataclasses.replace(row, slide=f"slide-{info.fingerprint[:12]}")
    return PlannedSlide(row, info, choice, mpp, source, (*info.notes, *sentences))
