"""The plan of an import: what adding a manifest has to do, decided by content before any image is decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import select

from index_store.catalog.case_reader import derived_columns, in_chunks, whole_cases
from index_store.catalog.case_writer import CASE_FIELDS, IMAGE_FIELDS, is_changed
from index_store.catalog.models import CaseRow, ImageRow, PatientRow, SlideRow
from index_store.catalog.slide_tables.planned import PlannedSlide, plan_slide
from index_store.catalog.slide_tables.rows import pending_places, place_of
from index_store.errors import ImageProblem
from index_store.files.decode import MAX_PIXELS, decode_picture
from index_store.files.source_file import MAX_BYTES, content_hash, read_source
from index_store.records import NewImage, Problem, lines_text
from index_store.scale import joined_scale
from index_store.slides.field import FieldChoice

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from index_store.catalog.catalog import Catalog
    from index_store.records import ManifestRow

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PlannedImage:
    """A manifest row and the hash of its file when the plan was made."""

    row: ManifestRow
    sha256: str

    def load(self, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES) -> NewImage:
        """Read the file once and decode it, so that the same content is hashed, embedded and stored.

        Raises:
            ImageProblem: it cannot be decoded, or changed since the plan was made.
        """
        source = read_source(self.row.path, max_bytes=max_bytes)
        if content_hash(source) != self.sha256:
            raise ImageProblem(f"{self.row.path.name} was changed while it was being added. Add it again.")
        decoded = decode_picture(source, max_pixels=max_pixels)
        stated = (self.row.mpp, self.row.mpp_source), (decoded.mpp, decoded.mpp_source)
        mpp, mpp_source, notes = joined_scale(*stated)
        return NewImage(
            self.row, self.sha256, source, decoded.image, (*decoded.notes, *notes), mpp=mpp, mpp_source=mpp_source
        )


@dataclass(frozen=True)
class Plan:
    """What is to be done for each row of a manifest."""

    new: tuple[PlannedImage, ...]
    """New images: decode, embed and `Archive.add` them."""
    changed: tuple[PlannedImage, ...]
    """Stored images with another report or other attributes: for `Archive.update`."""
    unchanged: tuple[PlannedImage, ...]
    """Stored images as the manifest has them."""
    problems: tuple[Problem, ...]
    """Rows that are skipped, with the reason."""
    notes: tuple[str, ...] = ()
    """What is doubtful although nothing is skipped: one picture under several patients, cells emptied in vain."""
    slides: tuple[PlannedSlide, ...] = ()
    """Slides with fields that are not stored: choose these (`cut_slide`), embed and `Archive.add` them."""


def make_plan(
    catalog: Catalog,
    rows: Sequence[ManifestRow],
    *,
    choice: FieldChoice | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Hash the rows' files and compare them with the stored images; `progress` gets rows done and all rows.

    Of a slide the fingerprint is compared, and by which settings (`choice`) its fields were chosen.
    """
    planned, slides, problems = _hash_rows(rows, choice or FieldChoice(), progress)
    new: list[PlannedImage] = []
    changed: list[PlannedImage] = []
    unchanged: list[PlannedImage] = []
    emptied = _EmptyCells(rows)
    for part in in_chunks(planned):
        with catalog.reading() as session:
            known = _known_cases(session, {item.row.case for item in part})
            for item in part:
                case, images = known.get(item.row.case, (None, {}))
                if case is None:
                    new.append(item)
                elif item.sha256 in images:
                    emptied.compare(item.row, case, images[item.sha256])
                    differs = is_changed(case, images[item.sha256], item.row)
                    (changed if differs else unchanged).append(item)
                elif item.row.stands_alone:
                    # Another folder's image of the same name, or this one edited: two specimens must not be merged.
                    problems.append(_another_specimen(item.row))
                else:
                    new.append(item)
    to_cut: list[PlannedSlide] = []
    notes: list[str] = []
    for some in in_chunks(slides):
        with catalog.reading() as session:
            known = _known_cases(session, {slide.row.case for slide in some})
            for slide in some:
                case, _ = known.get(slide.row.case, (None, {}))
                row = next((r for r in case.slides if r.fingerprint == slide.info.fingerprint), None) if case else None
                if case is None or row is None:
                    if case is not None and slide.row.stands_alone:
                        problems.append(_another_specimen(slide.row))
                    else:
                        to_cut.append(slide)
                    continue
                # The scale stated for the slide is not that of its fields.
                unscaled = replace(slide.row, mpp=None, mpp_source="")
                stored = [image for image in case.images if image.slide_id == row.id]
                for image in stored:
                    emptied.compare(unscaled, case, image)
                    differs = is_changed(case, image, unscaled)
                    (changed if differs else unchanged).append(PlannedImage(unscaled, image.sha256))
                pending = pending_places(row, slide.settings)
                if pending is None:
                    notes.append(_other_settings(slide.row, len(stored)))
                    to_cut.append(slide)
                elif pending:
                    there = {place_of(image, row.fingerprint) for image in stored}
                    to_cut.append(replace(slide, pending=tuple(place for place in pending if place not in there)))
    notes += [*_shared(catalog, new), *_shared_slides(catalog, to_cut), *emptied.notes()]
    return Plan(tuple(new), tuple(changed), tuple(unchanged), tuple(problems), tuple(notes), tuple(to_cut))


def _another_specimen(row: ManifestRow) -> Problem:
    return Problem(
        f"line {row.line}",
        "its image is its own case, and the archive has a case of that name with another image",
        "Name the case in a column `case`, or remove the old one first.",
    )


def _other_settings(row: ManifestRow, stored: int) -> str:
    return (
        f"line {row.line}: {stored} fields of this slide were chosen by other settings before. They stay, and those "
        "that these settings choose come beside them; to have these alone, remove the case and add it again."
    )


class _EmptyCells:
    """Where a manifest gives a column, but nothing in it for a stored case or image that has a value: whoever emptied
    the cell expects the value to go, and it is kept.
    """

    def __init__(self, rows: Sequence[ManifestRow]) -> None:
        self._columns = [name for name in (*CASE_FIELDS, *IMAGE_FIELDS) if any(getattr(row, name) for row in rows)]
        # A case's values are often given in the first of its rows alone.
        self._of_cases = {(row.case, name) for row in rows for name in CASE_FIELDS if getattr(row, name)}
        self._lines: dict[str, list[int]] = {}

    def compare(self, row: ManifestRow, case: CaseRow, image: ImageRow) -> None:
        """Note the columns in which a row says nothing of a value that was given before."""
        derived = derived_columns(case.derived)
        for name in self._columns:
            kept = getattr(case if name in CASE_FIELDS else image, name) and name not in derived
            if kept and not getattr(row, name) and (row.case, name) not in self._of_cases:
                self._lines.setdefault(name, []).append(row.line)

    def notes(self) -> tuple[str, ...]:
        """One sentence a column."""
        return tuple(
            f"The {name} is empty in {lines_text(lines)}, and the archive keeps the one it has: an empty cell clears "
            "nothing. To clear it, remove the case and add it again."
            for name, lines in self._lines.items()
        )


def _shared(catalog: Catalog, new: Sequence[PlannedImage]) -> tuple[str, ...]:
    """A note where new pictures are of more than one patient, by the manifest or in the archive."""
    patients: dict[str, set[str]] = {}
    lines: dict[str, list[int]] = {}
    for item in new:
        patients.setdefault(item.sha256, set()).add(item.row.patient)
        lines.setdefault(item.sha256, []).append(item.row.line)
    query = select(ImageRow.sha256, PatientRow.key).select_from(ImageRow).join(CaseRow).join(PatientRow).distinct()
    with catalog.reading() as session:
        for part in in_chunks(patients):
            for sha256, patient in session.execute(query.where(ImageRow.sha256.in_(part))):
                patients[sha256].add(patient)
    shared = [sha256 for sha256, owners in patients.items() if len(owners) > 1]
    if not shared:
        return ()
    where = lines_text([line for sha256 in shared for line in lines[sha256]])
    many = f"{len(shared)} picture{' is' if len(shared) == 1 else 's are'}"
    return (f"{many} of more than one patient, to the byte ({where}): check whose they are.",)


def _shared_slides(catalog: Catalog, slides: Sequence[PlannedSlide]) -> tuple[str, ...]:
    """A note where new slides are of more than one patient, by the manifest or in the archive."""
    patients: dict[str, set[str]] = {}
    for slide in slides:
        patients.setdefault(slide.info.fingerprint, set()).add(slide.row.patient)
    query = select(SlideRow.fingerprint, PatientRow.key).select_from(SlideRow).join(CaseRow).join(PatientRow).distinct()
    with catalog.reading() as session:
        for part in in_chunks(patients):
            for fingerprint, patient in session.execute(query.where(SlideRow.fingerprint.in_(part))):
                patients[fingerprint].add(patient)
    lines = [slide.row.line for slide in slides if len(patients[slide.info.fingerprint]) > 1]
    return (f"A slide is of more than one patient ({lines_text(lines)}): check whose it is.",) if lines else ()


def _known_cases(session: Session, keys: set[str]) -> dict[str, tuple[CaseRow, dict[str, ImageRow]]]:
    cases = session.scalars(whole_cases(session).where(CaseRow.key.in_(keys)))
    return {case.key: (case, {image.sha256: image for image in case.images}) for case in cases}


def _hash_rows(
    rows: Sequence[ManifestRow], choice: FieldChoice, progress: Progress | None
) -> tuple[list[PlannedImage], list[PlannedSlide], list[Problem]]:
    planned: list[PlannedImage] = []
    slides: list[PlannedSlide] = []
    problems: list[Problem] = []
    seen: dict[tuple[str, str], int] = {}
    for done, row in enumerate(rows, start=1):
        where = f"line {row.line}"
        slide = None
        try:
            slide = plan_slide(row, choice) if row.is_slide else None
            sha256 = slide.info.fingerprint if slide else content_hash(row.path)
        except OSError as error:
            problems.append(Problem(where, f"its image cannot be read ({error.strerror})", "Check the file."))
        except ImageProblem as error:
            called = "its slide" if row.is_slide else "its image"
            what, _, advice = str(error).replace(row.path.name, called, 1).partition(". ")
            problems.append(Problem(where, what, advice))
        else:
            first = seen.setdefault((row.case, sha256), row.line)
            if first == row.line and slide:
                slides.append(slide)
            elif first == row.line:
                planned.append(PlannedImage(row, sha256))
            else:
                problems.append(
                    Problem(where, f"repeats line {first} (same case, same content)", "Remove one of the two.")
                )
        if progress is not None:
            progress(done, len(rows))
    return planned, slides, problems
