"""Slides and places in the tables: read as records, and written within the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from index_store.catalog.catalog import has_scale, has_slides
from index_store.catalog.models import CaseRow, ImageRow, SlideRow
from index_store.files.image_store import EncodedImage, ImageStore, StoredImage
from index_store.files.source_file import content_hash
from index_store.slide_records import CaseSlide, SlideCut, SlidePlace


def image_rows(session: Session) -> Select[*tuple[Any, ...]]:
    """Selects all that an archive of this version has of images, and the fingerprint of their slides."""
    return image_columns(has_scale(session), has_slides(session))


@cache
def image_columns(scaled: bool, placed: bool) -> Select[*tuple[Any, ...]]:
    """`image_rows`, of an archive that knows the scale of images, and fields of slides."""
    known = [
        column
        for column in ImageRow.__table__.c
        if (scaled or not column.name.startswith("mpp")) and (placed or not column.name.startswith("slide_"))
    ]
    if not placed:
        return select(*known)
    return select(*known, SlideRow.fingerprint).outerjoin(SlideRow, SlideRow.id == ImageRow.slide_id)


def place_of(image: Any, fingerprint: str | None) -> SlidePlace | None:
    """Where an image (its row) was cut out of the slide with this fingerprint; None where it is no field of one."""
    if image.slide_id is None or fingerprint is None:
        return None
    known = (image.slide_x, image.slide_y, image.slide_width, image.slide_height, image.slide_level, image.slide_plane)
    return SlidePlace(fingerprint, *(value or 0 for value in known))


def case_slide(row: Any, store: ImageStore) -> CaseSlide:
    """A slide of a case (its row) as a record."""
    return CaseSlide(
        row.fingerprint,
        row.format,
        row.width,
        row.height,
        row.mpp,
        row.planes,
        {settings: not pending for settings, pending in row.choices.items()},
        tuple(row.notes.splitlines()),
        store.path(row.overview) if row.overview else None,
        row.overview_sha256,
    )


def pending_places(row: SlideRow, settings: str) -> tuple[SlidePlace, ...] | None:
    """The fields that were chosen by these settings, where not all of them are stored; empty where they are, and None
    where none was chosen by them."""
    packed = row.choices.get(settings)
    return None if packed is None else tuple(SlidePlace(row.fingerprint, *place) for place in packed)


def encoded_overview(cut: SlideCut) -> EncodedImage | None:
    """The overview as a file of the store; None where there is none."""
    if not cut.overview:
        return None
    sha256 = content_hash(cut.overview)
    return EncodedImage(StoredImage(f"{sha256[:2]}/{sha256}.jpg", sha256), cut.overview)


class SlideWriter:
    """Gives new images their places, and their cases the slides. What it needs is fetched once, at the beginning."""

    def __init__(self, session: Session, cuts: Iterable[SlideCut]) -> None:
        self._session = session
        self._cuts: dict[tuple[str, str], list[SlideCut]] = {}
        for cut in cuts:
            self._cuts.setdefault((cut.case, cut.slide.fingerprint), []).append(cut)
        cases = sorted({case for case, _ in self._cuts})
        query = select(CaseRow.key, SlideRow).join(CaseRow.slides).where(CaseRow.key.in_(cases))
        found = session.execute(query).all() if cases else ()
        self._rows = {(key, row.fingerprint): row for key, row in found}

    def set_place(self, image: ImageRow, place: SlidePlace | None) -> None:
        """Give an image the place of its field. Raises like `slide`."""
        if place is None:
            return
        image.of_slide = self.slide(image.case, place.slide)
        image.slide_x, image.slide_y, image.slide_width, image.slide_height = (
            place.x,
            place.y,
            place.width,
            place.height,
        )
        image.slide_level, image.slide_plane = place.level, place.plane

    def slide(self, case: CaseRow, fingerprint: str) -> SlideRow:
        """A case's slide, made where the case does not have it.

        Raises:
            ValueError: it is neither among the cuts nor in the records of the case.
        """
        key = (case.key, fingerprint)
        cuts, row = self._cuts.pop(key, []), self._rows.get(key)
        if row is None:
            if not cuts:
                raise ValueError(f"no slide {fingerprint[:12]} of case {case.key}: give what is known of it")
            row = self._rows[key] = _new_row(case, cuts[0])
            self._session.add(row)
        for cut in cuts:
            if cut.settings not in row.choices:
                row.choices = {**row.choices, cut.settings: [_packed(place) for place in cut.chosen]}
                _add_notes(row, cut.slide.notes)
        return row


def finish(session: Session, case: str, fingerprint: str, settings: str, notes: Sequence[str]) -> bool:
    """Note that all fields of a choice that can be read are stored. Returns whether there is such a slide."""
    query = select(SlideRow).join(SlideRow.case).where(CaseRow.key == case, SlideRow.fingerprint == fingerprint)
    row = session.scalar(query)
    if row is None or settings not in row.choices:
        return False
    row.choices = {**row.choices, settings: []}
    _add_notes(row, notes)
    return True


def _new_row(case: CaseRow, cut: SlideCut) -> SlideRow:
    slide, overview = cut.slide, encoded_overview(cut)
    return SlideRow(
        case=case,
        fingerprint=slide.fingerprint,
        format=slide.format,
        width=slide.width,
        height=slide.height,
        mpp=slide.mpp,
        planes=slide.planes,
        overview=overview.stored.name if overview else "",
        overview_sha256=overview.stored.sha256 if overview else "",
        notes="",
        choices={},
    )


def _packed(place: SlidePlace) -> list[Any]:
    return [place.x, place.y, place.width, place.height, place.level, place.plane]


def _add_notes(row: SlideRow, notes: Iterable[str]) -> None:
    row.notes = "\n".join(dict.fromkeys((*row.notes.splitlines(), *notes)))
