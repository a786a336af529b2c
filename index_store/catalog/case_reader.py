"""Read cases, images and reports from the tables as the records of the API."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import ARRAY, BigInteger, ColumnElement, Select, Text, bindparam, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session, joinedload, selectinload, undefer, undefer_group

from index_store.catalog.catalog import has_scale, has_slides
from index_store.catalog.filters import CaseFilter, conditions, excluded_by_parameters
from index_store.catalog.models import PICTURE_NOTE, CaseRow, ImageRow, PatientRow, SlideRow
from index_store.catalog.slide_tables.rows import case_slide, image_columns, image_rows, place_of
from index_store.errors import CaseNotFoundError, ImageNotFoundError
from index_store.files.image_store import ImageStore
from index_store.records import Case, CaseLabels, Image, StoredReport
from index_store.slide_records import CaseSlide
from index_store.vectors import Ids, Selection

T = TypeVar("T")

CHUNK = 10_000
"""Values bound in one statement; SQLite's limit is 32,766."""
SIMILAR_KEYS = 3
KEYS_COMPARED = 20_000


def in_chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """`values` in lists short enough for one statement."""
    rest = list(values)
    for start in range(0, len(rest), CHUNK):
        yield rest[start : start + CHUNK]


def is_storable(text: str) -> bool:
    """Whether a record can hold it: no NUL (PostgreSQL refuses it), and no bytes that were not UTF-8 (which the command
    line passes on as halves of characters)."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


class CaseReader:
    """Reads cases and images as one session sees them."""

    def __init__(self, session: Session, store: ImageStore) -> None:
        self._session = session
        self._store = store

    def case(self, key: str) -> Case:
        """The case with this key. Raises `CaseNotFoundError`, which names similar keys."""
        if not is_storable(key):
            raise CaseNotFoundError(f"There is no case {key!a} in this archive: no key holds such characters.")
        for case in self._whole(_BY_KEY, {"key": key}):
            return case
        raise CaseNotFoundError(f"There is no case {key!r} in this archive.{self._near(key)}")

    def cases(self, where: CaseFilter | None, *, limit: int | None, offset: int) -> list[Case]:
        """Cases with at least one permitted image, in the order they were added."""
        ids = select(ImageRow.case_id).where(*self._conditions(where))
        return self._whole(_CASES.where(_CASE.id.in_(ids)).order_by(_CASE.id).limit(limit).offset(offset))

    def cases_of_images(self, image_ids: Iterable[int]) -> dict[int, Case]:
        """The case of each image; unknown ids are left out."""
        case_of: dict[int, int] = {}
        for part in in_chunks(image_ids):
            query = select(ImageRow.id, ImageRow.case_id).where(ImageRow.id.in_(part))
            case_of.update((image_id, case_id) for image_id, case_id in self._session.execute(query))
        cases = self.cases_by_id(sorted(set(case_of.values())))
        return {image_id: cases[case_id] for image_id, case_id in case_of.items()}

    def cases_by_id(self, case_ids: Iterable[int]) -> dict[int, Case]:
        """The cases with these ids; unknown ids are left out."""
        parts = in_chunks(int(case_id) for case_id in case_ids)
        return {case.id: case for part in parts for case in self._whole(_BY_ID, {"ids": part})}

    def image(self, image_id: int) -> Image:
        """The image with this id. Raises `ImageNotFoundError`."""
        query = image_rows(self._session).join(CaseRow, CaseRow.id == ImageRow.case_id).add_columns(CaseRow.key)
        row = self._session.execute(query.where(ImageRow.id == image_id)).first()
        if row is None:
            raise ImageNotFoundError(f"There is no image {image_id} in this archive. It may have been removed.")
        return self._image(row, row.key)

    def selection(self, where: CaseFilter | None) -> Selection | None:
        """The images that `where` permits; None where it permits all.

        A filter that only excludes (such as the query's patient) lists the few excluded images, not the many others.
        """
        if where is None or not (where.includes or where.excludes):
            return None
        return Selection(self.included(where)) if where.includes else Selection(self.excluded(where), excluding=True)

    def included(self, where: CaseFilter) -> Ids:
        """int64[n]: the images that `where` permits."""
        query = select(ImageRow.id).where(*self._conditions(where))
        return np.array(self._session.scalars(query).all(), dtype=np.int64)

    def excluded(self, where: CaseFilter) -> Ids:
        """int64[n]: the images of the patients and cases that `where` leaves out."""
        left_out = {"patients": list(where.exclude_patients), "cases": list(where.exclude_cases)}
        ids = self._session.scalars(_EXCLUDING, left_out).all()
        return np.array(ids, dtype=np.int64)

    def unknown_exclusions(self, where: CaseFilter) -> tuple[str, ...]:
        """The patients and cases that `where` leaves out and that the archive does not have."""
        named = ((PatientRow.key, where.exclude_patients), (CaseRow.key, where.exclude_cases))
        unknown: list[str] = []
        for column, keys in named:
            found: set[str] = set()
            for part in in_chunks(filter(is_storable, keys)):
                found.update(self._session.scalars(select(column).where(column.in_(part))))
            unknown += (key for key in keys if key not in found)
        return tuple(unknown)

    def confirmed(self, image_ids: Iterable[int], where: CaseFilter | None) -> set[int]:
        """Those of the images that exist and have the values that `where` requires. What it excludes is not checked
        (see `excluded`)."""
        named = {int(image_id) for image_id in image_ids}
        values = where and replace(where, exclude_patients=(), exclude_cases=())
        of_sqlite = self._session.get_bind().dialect.name == "sqlite"
        listed = json.dumps(sorted(named)) if of_sqlite else sorted(named)
        statement = _refusing(values, has_scale(self._session), of_sqlite)
        return named - set(self._session.scalars(statement, {"image_ids": listed}))

    def _conditions(self, where: CaseFilter | None) -> list[ColumnElement[bool]]:
        return conditions(where or CaseFilter(), scaled=has_scale(self._session))

    def _near(self, key: str) -> str:
        spelt: dict[str, list[str]] = {}
        for known in self._session.scalars(select(CaseRow.key).order_by(CaseRow.id).limit(KEYS_COMPARED)):
            spelt.setdefault(known.casefold(), []).append(known)
        found = difflib.get_close_matches(key.strip().casefold(), spelt, n=SIMILAR_KEYS)
        near = [known for form in found for known in spelt[form]][:SIMILAR_KEYS]
        return (
            f" Similar: {', '.join(near)}."
            if near
            else " A case's key is what its manifest calls it, and stands beside it in every search result."
        )

    def _whole(self, query: Select[Any], values: dict[str, Any] | None = None) -> list[Case]:
        """The cases that a query of `_CASES` selects, in its order, with their images. All are read as plain rows: a
        case may have thousands, and an object of the mapper takes several times as long."""
        rows = self._session.execute(query, values).all()
        keys = {row.id: row.key for row in rows}
        images: dict[int, list[Image]] = {case_id: [] for case_id in keys}
        slides: dict[int, list[CaseSlide]] = {case_id: [] for case_id in keys}
        scaled, placed = has_scale(self._session), has_slides(self._session)
        for part in in_chunks(keys):
            for image in self._session.execute(_images_of(scaled, placed), {"ids": part}):
                images[image.case_id].append(self._image(image, keys[image.case_id]))
            for slide in self._session.execute(_SLIDES, {"ids": part}) if placed else ():
                slides[slide.case_id].append(case_slide(slide, self._store))
        return [self._case(row, images[row.id], slides[row.id]) for row in rows]

    def _case(self, row: Any, images: list[Image], slides: list[CaseSlide]) -> Case:
        return Case(
            id=row.id,
            key=row.key,
            patient=row.patient,
            report=row.report,
            site=row.site,
            system=row.system,
            category=row.category,
            source=row.source,
            license=row.license,
            phantom=row.phantom,
            images=tuple(images),
            derived=derived_columns(row.derived),
            slides=tuple(slides),
        )

    def _image(self, row: Any, case_key: str) -> Image:
        """`row`: of `image_rows`."""
        scaled, placed = has_scale(self._session), has_slides(self._session)
        return Image(
            id=row.id,
            case_key=case_key,
            path=self._store.path(row.file) if row.file else Path(row.path),
            sha256=row.sha256,
            width=row.width,
            height=row.height,
            slide=row.slide,
            kind=row.kind,
            stain=row.stain,
            preparation=row.preparation,
            in_place=not row.file,
            attributes={name: value for name, value in row.attributes.items() if name != PICTURE_NOTE},
            file_sha256=row.file_sha256,
            note=row.attributes.get(PICTURE_NOTE, ""),
            mpp=row.mpp if scaled else None,
            mpp_source=row.mpp_source if scaled else "",
            place=place_of(row, row.fingerprint) if placed else None,
        )


# Statements that are kept, of columns: to build one, or to map rows to objects, takes longer than to execute it.
_CASE, _PATIENT, _SLIDE = CaseRow.__table__.c, PatientRow.__table__.c, SlideRow.__table__.c
_THESE: Any = bindparam("ids", expanding=True)
_CASES = select(*_CASE, _PATIENT.key.label("patient")).join_from(CaseRow.__table__, PatientRow.__table__)
_BY_KEY = _CASES.where(_CASE.key == bindparam("key"))
_BY_ID = _CASES.where(_CASE.id.in_(_THESE))
_SLIDES = select(*_SLIDE).where(_SLIDE.case_id.in_(_THESE)).order_by(_SLIDE.id)
_EXCLUDING = select(ImageRow.__table__.c.id).where(excluded_by_parameters())
_PATIENT_KEYS = select(_PATIENT.id, _PATIENT.key).where(_PATIENT.id.in_(_THESE))


@lru_cache(maxsize=4)
def _images_of(scaled: bool, placed: bool) -> Select[*tuple[Any, ...]]:
    return image_columns(scaled, placed).where(ImageRow.case_id.in_(_THESE)).order_by(ImageRow.id)


@lru_cache(maxsize=64)
def _refusing(where: CaseFilter | None, scaled: bool, of_sqlite: bool) -> Select[int]:
    """Selects those of the parameter `image_ids` that do not exist or that `where` does not permit: mostly none. One
    parameter for all (a JSON list, or an array of PostgreSQL): a parameter each takes longer than the search."""
    image_id = ImageRow.__table__.c.id
    if of_sqlite:
        named = func.json_each(bindparam("image_ids", type_=Text)).table_valued("value").c.value
    else:
        named = func.unnest(bindparam("image_ids", type_=ARRAY(BigInteger))).column_valued("named")
    required = conditions(where, few_images=True, scaled=scaled) if where else ()
    permitted = select(image_id).where(image_id == named, *required)
    return select(named).where(~permitted.exists())


def derived_columns(stored: str) -> tuple[str, ...]:
    """The column names in `CaseRow.derived`."""
    return tuple(stored.split(",")) if stored else ()


def whole_cases(session: Session) -> Select[CaseRow]:
    """Selects cases together with their patient and images."""
    images = selectinload(CaseRow.images)
    added = added_columns(session)
    slides = [selectinload(CaseRow.slides)] if has_slides(session) else []
    return select(CaseRow).options(joinedload(CaseRow.patient), images.options(*added) if added else images, *slides)


def added_columns(session: Session) -> list[Any]:
    """What loads the columns of an image's scale and place together with the others, where the archive has them."""
    scale = [undefer(ImageRow.mpp), undefer(ImageRow.mpp_source)] if has_scale(session) else []
    return [*scale, undefer_group("place"), selectinload(ImageRow.of_slide)] if has_slides(session) else scale


def reports_query(*further: InstrumentedAttribute[str]) -> Select[*tuple[Any, ...]]:
    """Id, key, patient and report (and `further` columns) of the cases with an image, in order of id."""
    return (
        select(CaseRow.id, CaseRow.key, PatientRow.key, CaseRow.report, *further)
        .join(PatientRow, PatientRow.id == CaseRow.patient_id)
        .where(CaseRow.images.any())  # looked up for each case; a list of all cases with an image would be made for few
        .order_by(CaseRow.id)
    )


def stored_reports(session: Session, where: CaseFilter | None) -> list[StoredReport]:
    """The reports of the cases with at least one permitted image, in order of case id."""
    permitted = select(ImageRow.case_id).where(*conditions(where or CaseFilter(), scaled=has_scale(session)))
    return [StoredReport(*row) for row in session.execute(reports_query().where(CaseRow.id.in_(permitted)))]


def reports_of(session: Session, case_ids: Iterable[int]) -> list[StoredReport]:
    """The reports of these cases, in order of case id; unknown ids are left out."""
    found: list[StoredReport] = []
    for part in in_chunks(sorted(int(case_id) for case_id in case_ids)):
        found += [StoredReport(*row) for row in session.execute(reports_query().where(CaseRow.id.in_(part)))]
    return found


def keys_beginning(session: Session, text: str, limit: int) -> list[str]:
    """The first keys, in order, that begin with a text."""
    key: ColumnElement[str] = CaseRow.key.expression
    if session.get_bind().dialect.name == "postgresql":  # whose order of texts is the language's
        key = key.collate("C")
    query = select(CaseRow.key).where(key >= text, key < text + chr(0x10FFFF)).order_by(key).limit(limit)
    return list(session.scalars(query)) if is_storable(text) else []


def case_labels(session: Session, keys: Iterable[str]) -> dict[str, CaseLabels]:
    """Site, system and category of the cases with these keys; unknown keys are left out."""
    query = select(CaseRow.key, CaseRow.site, CaseRow.system, CaseRow.category, CaseRow.derived)
    found: dict[str, CaseLabels] = {}
    for part in in_chunks(filter(is_storable, keys)):
        for key, site, system, category, derived in session.execute(query.where(CaseRow.key.in_(part))):
            found[key] = CaseLabels(site, system, category, derived_columns(derived))
    return found


def patient_ids(session: Session, keys: Iterable[str]) -> dict[str, int]:
    """The ids of the patients with these keys; unknown keys are left out."""
    found: dict[str, int] = {}
    for part in in_chunks(keys):
        query = select(PatientRow.key, PatientRow.id).where(PatientRow.key.in_(part))
        found.update((key, patient) for key, patient in session.execute(query))
    return found


def patient_keys(session: Session, ids: Iterable[int]) -> dict[int, str]:
    """The keys of the patients with these ids; unknown ids are left out."""
    found: dict[int, str] = {}
    for part in in_chunks(ids):
        found.update((patient, key) for patient, key in session.execute(_PATIENT_KEYS, {"ids": part}))
    return found
