"""From a planned slide to its fields as new images, one after the other: never all of them in memory."""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from index_store.catalog.slide_tables.planned import PlannedSlide
from index_store.errors import SlideProblem
from index_store.files.decode import decode_image
from index_store.files.source_file import content_hash
from index_store.records import NewImage
from index_store.slide_records import CaseSlide, SlideCut, SlidePlace
from index_store.slides.choose import choose_fields
from index_store.slides.field import DAMAGED, ChosenFields, Field
from index_store.slides.overview import overview
from index_store.slides.slide import Slide

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from index_store.records import ManifestRow
    from index_store.slides.records import SlideInfo

QUALITY: Final = 95
"""Of a field's JPEG, its colour not subsampled."""


class SlideSource:
    """A slide that fields are read of, by one thread at a time: opened for the first, closed after the last one.

    A copy that was sent to another process opens the slide there.
    """

    def __init__(self, path: Path, info: SlideInfo, slide: Slide | None = None) -> None:
        self._path, self._info, self._slide = path, info, slide
        self._lock = threading.Lock()
        self._left = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return SlideSource, (self._path, self._info)

    def __del__(self) -> None:
        if self._slide is not None:
            self._slide.close()

    def expect(self, fields: int) -> None:
        """Close the slide after so many reads."""
        self._left = fields

    def close(self) -> None:
        """End the slide's process; a further read starts it again."""
        with self._lock:
            self._close()

    def size(self, place: SlidePlace) -> tuple[int, int]:
        """Width and height of a field in pixels of its level."""
        scale = self._info.levels[place.level].downsample
        return max(1, round(place.width / scale)), max(1, round(place.height / scale))

    def read(self, place: SlidePlace) -> NDArray[np.uint8]:
        """`uint8[height, width, 3]`.

        Raises:
            SlideProblem: the slide is damaged there, has no such level by now, or is another one.
        """
        lacks_level = place.level >= len(self._info.levels)
        if lacks_level or place.plane >= len(self._info.planes):
            what = f"level {place.level}" if lacks_level else f"focal plane {place.plane}"
            raise SlideProblem(f"{self._path.name} has no {what} any more. Copy the slide anew.")
        with self._lock:
            try:
                return self._opened().read_region(place.x, place.y, *self.size(place), place.level, place.plane)
            finally:
                self._left -= 1
                if self._left == 0:
                    self._close()

    def _opened(self) -> Slide:
        if self._slide is None:
            slide = Slide(self._path)
            if slide.info.fingerprint != self._info.fingerprint:
                slide.close()
                raise SlideProblem(f"{self._path.name} was changed while it was being added. Add it again.")
            self._slide = slide
        return self._slide

    def _close(self) -> None:
        if self._slide is not None:
            self._slide.close()
            self._slide = None


@dataclass(frozen=True)
class PlannedField:
    """A field that was chosen and is to be read: what `PlannedImage` is for an image."""

    row: ManifestRow
    source: SlideSource
    place: SlidePlace
    mpp: float
    """µm a pixel of the field."""
    mpp_source: str
    settings: str
    """As of its slide."""

    def load(self) -> NewImage:
        """Read the field, as it is hashed, embedded and stored.

        Raises:
            SlideProblem: it cannot be read.
        """
        data = encoded_field(Image.fromarray(self.source.read(self.place)))
        return NewImage(
            self.row,
            content_hash(data),
            data,
            decode_image(data),
            mpp=self.mpp,
            mpp_source=self.mpp_source,
            place=self.place,
        )


@dataclass(frozen=True)
class CutSlide:
    """The fields of one slide, not read yet, and what is stored with the first of them."""

    planned: PlannedSlide
    cut: SlideCut
    fields: tuple[PlannedField, ...]
    chosen: ChosenFields | None
    """How they were chosen; None where that was before an interruption."""
    source: SlideSource


def cut_slide(planned: PlannedSlide) -> CutSlide:
    """Choose the fields of a slide, where that was not done before, and read its overview.

    Raises:
        SlideProblem: it cannot be opened, or has no field that is worth cutting out.
    """
    row, info = planned.row, planned.info
    slide = Slide(row.path)
    source = SlideSource(row.path, info, slide)
    try:
        if slide.info != info:
            raise SlideProblem(f"{row.path.name} was changed while it was being added. Add it again.")
        found, seen, notes = None, b"", planned.notes
        places = planned.pending
        if places is None:
            found = choose_fields(slide, planned.choice, mpp=planned.mpp)
            if not found.fields:
                raise SlideProblem(f"{row.path.name} holds no field worth cutting out{_why(found)}.")
            places = tuple(_place(field) for field in found.fields)
            notes = tuple(dict.fromkeys((*notes, *found.notes, *_damage(found))))
            seen = overview(slide)
    except BaseException:
        source.close()
        raise
    about = CaseSlide(
        info.fingerprint, info.format, info.width, info.height, planned.mpp, len(info.planes), notes=notes
    )
    fields = tuple(
        PlannedField(
            # The scale stated for the slide is not that of its field.
            replace(row, mpp=None, mpp_source=""),
            source,
            place,
            planned.mpp * info.levels[place.level].downsample if place.level < len(info.levels) else planned.mpp,
            planned.mpp_source,
            planned.settings,
        )
        for place in places
    )
    source.expect(len(fields))
    if not fields:
        source.close()
    return CutSlide(planned, SlideCut(row.case, about, planned.settings, places, seen), fields, found, source)


def encoded_field(pixels: Image.Image) -> bytes:
    """The field as the archive keeps it: a JPEG without metadata."""
    buffer = io.BytesIO()
    pixels.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    return buffer.getvalue()


def _place(field: Field) -> SlidePlace:
    return SlidePlace(field.slide, field.x, field.y, field.width, field.width, field.level, field.plane)


def _why(found: ChosenFields) -> str:
    reasons = ", ".join(f"{number} {reason}" for reason, number in found.left_out.items() if number)
    return f" (of {found.places} places {reasons})" if reasons else ""


def _damage(found: ChosenFields) -> tuple[str, ...]:
    damaged = found.left_out.get(DAMAGED, 0)
    return (f"The slide is damaged: {damaged} of {found.places} places could not be read.",) if damaged else ()
