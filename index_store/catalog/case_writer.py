"""Write manifest rows to the tables of patients, cases and images, within the caller's transaction.

An empty cell neither contradicts nor clears the stored value. A value that was inferred from a report is replaced when
a row gives one, or when the report is read anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session, joinedload

from index_store.catalog import orphan_files
from index_store.catalog.case_reader import added_columns, derived_columns, in_chunks
from index_store.catalog.change_log import log_changes
from index_store.catalog.counts.kept import following
from index_store.catalog.filters import FIELDS
from index_store.catalog.models import (
    ADDED,
    PICTURE_NOTE,
    REMOVED,
    CaseRow,
    EmbeddingRow,
    ImageRow,
    PatientRow,
    ReportEmbeddingRow,
    SlideRow,
)
from index_store.scale import replaces

if TYPE_CHECKING:
    from index_store.files.image_store import StoredImage
    from index_store.records import ManifestRow, NewImage

CASE_FIELDS = ("report", "site", "system", "category", "source", "license")
IMAGE_FIELDS = ("slide", "kind", "stain", "preparation")
FILTERED_CASE_COLUMNS = tuple(column.name for column in FIELDS.values() if column.of == "case")
FILTERED_IMAGE_COLUMNS = (*(column.name for column in FIELDS.values() if column.of == "image"), "slide")
"""Also what `search/image_table.py` holds: the log says when it has changed."""


def is_changed(case: CaseRow, image: ImageRow, row: ManifestRow) -> bool:
    """Whether `row` gives a value of its case or image that is not the stored one."""
    return (
        any(getattr(case, name) != value for name, value in _case_values(row, case).items())
        or any(getattr(image, name) != value for name, value in _image_values(image, row).items())
        or (row.names_patient and case.patient.key != row.patient)
    )


class CaseWriter:
    """Writes a batch of rows to the tables. What the batch needs is fetched once, at the beginning."""

    def __init__(
        self, session: Session, rows: Sequence[ManifestRow], contents: Sequence[str], *, drop_rescaled: bool = False
    ) -> None:
        """O(rows), however many images their cases have.

        Args:
            session: the transaction.
            rows: the batch.
            contents: the content hash of each row's image.
            drop_rescaled: an image that gets another scale loses its vectors.
        """
        self._session = session
        self._drop_rescaled = drop_rescaled
        self._filter_changed: set[int] = set()
        self._rescaled: set[int] = set()
        self._cases: dict[str, CaseRow] = {}
        self._images: dict[tuple[str, str], ImageRow] = {}
        self._patients: dict[str, PatientRow] = {}
        for keys in in_chunks({row.case for row in rows}):
            cases = select(CaseRow).options(joinedload(CaseRow.patient)).where(CaseRow.key.in_(keys))
            self._cases.update((case.key, case) for case in session.scalars(cases))
        images = select(ImageRow).join(ImageRow.case).options(*added_columns(session))
        for part in in_chunks(zip(rows, contents, strict=True)):
            of_cases, named = {row.case for row, _ in part}, {sha256 for _, sha256 in part}
            for image in session.scalars(images.where(CaseRow.key.in_(of_cases), ImageRow.sha256.in_(named))):
                self._images[image.case.key, image.sha256] = image
        for keys in in_chunks({row.patient for row in rows}):
            for patient in session.scalars(select(PatientRow).where(PatientRow.key.in_(keys))):
                self._patients[patient.key] = patient

    def image(self, row: ManifestRow, sha256: str) -> ImageRow | None:
        """The image with this content in the row's case, or None."""
        return self._images.get((row.case, sha256))

    def save_case(self, row: ManifestRow) -> CaseRow:
        """The row's case, created or updated."""
        case = self._cases.get(row.case)
        if case is None:
            fields = {**dict.fromkeys(CASE_FIELDS, ""), "phantom": False, **_case_values(row, None)}
            case = CaseRow(key=row.case, patient=self._patient(row.patient), images=[], **fields)
            self._session.add(case)
            self._cases[row.case] = case
            return case
        before = _filtered_values(case)
        for name, value in _case_values(row, case).items():
            setattr(case, name, value)
        if row.names_patient and case.patient.key != row.patient:
            former = case.patient
            case.patient = self._patient(row.patient)
            self._session.flush()
            if _delete_idle_patient(self._session, former.id):
                self._patients.pop(former.key, None)
        if _filtered_values(case) != before:
            self._filter_changed.update(image.id for image in case.images if image.id is not None)
        return case

    def add_image(self, new: NewImage, stored: StoredImage | None) -> ImageRow:
        """A new image of the row's case: in the store, or (`stored` is None) referenced in place."""
        row = new.row
        image = ImageRow(
            case=self.save_case(row),
            sha256=new.sha256,
            file=stored.name if stored else "",
            file_sha256=stored.sha256 if stored else new.sha256,
            path="" if stored else str(row.path),
            width=new.image.width,
            height=new.image.height,
            attributes={**row.attributes, **({PICTURE_NOTE: "; ".join(new.notes)} if new.notes else {})},
            mpp=new.mpp,
            mpp_source=new.mpp_source,
            **{name: getattr(row, name) for name in IMAGE_FIELDS},
        )
        self._session.add(image)
        self._images[(row.case, new.sha256)] = image
        return image

    def update_image(self, image: ImageRow, row: ManifestRow) -> None:
        """Update an image and its case from a row."""
        self.save_case(row)
        before = [getattr(image, name) for name in FILTERED_IMAGE_COLUMNS]
        mpp = image.mpp
        for name, value in _image_values(image, row).items():
            setattr(image, name, value)
        if [getattr(image, name) for name in FILTERED_IMAGE_COLUMNS] != before:
            self._filter_changed.add(image.id)
        if self._drop_rescaled and image.mpp != mpp:
            self._rescaled.add(image.id)

    def log_filter_changes(self) -> None:
        """Write to the change log which images have other values of a filtered column now: an engine that filters by
        itself has to remove and add them."""
        by_encoder: dict[int, list[int]] = {}
        for part in in_chunks(sorted(self._filter_changed)):
            query = select(EmbeddingRow.encoder_id, EmbeddingRow.image_id).where(EmbeddingRow.image_id.in_(part))
            for encoder_id, image_id in self._session.execute(query):
                by_encoder.setdefault(encoder_id, []).append(image_id)
        for encoder_id, image_ids in by_encoder.items():
            log_changes(self._session, encoder_id, image_ids, REMOVED)
            log_changes(self._session, encoder_id, [i for i in image_ids if i not in self._rescaled], ADDED)
        for part in in_chunks(sorted(self._rescaled)):
            self._session.execute(delete(EmbeddingRow).where(EmbeddingRow.image_id.in_(part)))
        self._filter_changed.clear()
        self._rescaled.clear()

    def _patient(self, key: str) -> PatientRow:
        patient = self._patients.get(key)
        if patient is None:
            patient = self._patients[key] = PatientRow(key=key)
            self._session.add(patient)
        return patient


def _filtered_values(case: CaseRow) -> list[object]:
    # The report is not filtered by, but an index of reports follows the log, too.
    return [getattr(case, name) for name in FILTERED_CASE_COLUMNS] + [case.patient.key, case.report]


def remove_case(session: Session, key: str) -> int:
    """Delete a case with its images, vectors and (where it was the last case) patient, and write to the change log.

    Its files are noted as possible orphans (see `orphan_files`).

    Returns:
        How many images it had.
    """
    with following(session, case_keys=[key]):
        return _remove(session, key)


def _remove(session: Session, key: str) -> int:
    case = session.scalars(select(CaseRow).where(CaseRow.key == key)).one()
    images = [image.id for image in case.images]
    files = {image.file for image in case.images if image.file}
    files |= {slide.overview for slide in case.slides if slide.overview}
    patient_id = case.patient_id
    of_the_case = select(ImageRow.id).where(ImageRow.case_id == case.id)
    embedded = session.execute(
        select(EmbeddingRow.encoder_id, EmbeddingRow.image_id).where(EmbeddingRow.image_id.in_(of_the_case))
    )
    by_encoder: dict[int, list[int]] = {}
    for encoder_id, image_id in embedded:
        by_encoder.setdefault(encoder_id, []).append(image_id)
    for encoder_id, image_ids in by_encoder.items():
        log_changes(session, encoder_id, image_ids, REMOVED)
    session.execute(delete(EmbeddingRow).where(EmbeddingRow.image_id.in_(of_the_case)))
    session.execute(delete(ReportEmbeddingRow).where(ReportEmbeddingRow.case_id == case.id))
    session.execute(delete(ImageRow).where(ImageRow.case_id == case.id))
    session.execute(delete(SlideRow).where(SlideRow.case_id == case.id))
    session.execute(delete(CaseRow).where(CaseRow.id == case.id))
    _delete_idle_patient(session, patient_id)
    orphan_files.note(session, files)
    return len(images)


def _case_values(row: ManifestRow, case: CaseRow | None) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(row, name) for name in CASE_FIELDS if getattr(row, name)}
    if row.phantom is not None:
        values["phantom"] = row.phantom
    before = derived_columns(case.derived) if case else ()
    if row.derived is None:
        values["derived"] = ",".join(name for name in before if name not in values)
    else:  # the report was read anew: a value that it no longer gives must not stay as if somebody had given it
        values = {**dict.fromkeys(before, ""), **values, "derived": ",".join(row.derived)}
    return values


def _image_values(image: ImageRow, row: ManifestRow) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(row, name) for name in IMAGE_FIELDS if getattr(row, name)}
    values["attributes"] = {**image.attributes, **row.attributes}
    if row.mpp is not None and replaces(row.mpp_source, image.mpp_source):
        values |= {"mpp": row.mpp, "mpp_source": row.mpp_source}
    if image.path:  # referenced in place: the folder may have moved
        values["path"] = str(row.path)
    return values


def _delete_idle_patient(session: Session, patient_id: int) -> bool:
    """Delete a patient who has no case left; returns whether it was deleted."""
    if session.scalar(select(exists().where(CaseRow.patient_id == patient_id))):
        return False
    session.execute(delete(PatientRow).where(PatientRow.id == patient_id))
    return True
