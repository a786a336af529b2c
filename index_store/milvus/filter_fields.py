"""What a vector engine that filters by itself must know of an image, and a `CaseFilter` in its language.

Patients and cases are known to it by their number in the catalog and never by their key. Values are kept as they are
where they are short and plain, and by their hash otherwise, so that no value is too long for a field, and none needs
escaping.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from index_store.catalog.case_reader import in_chunks
from index_store.catalog.filters import CASE_COLUMNS, IMAGE_COLUMNS, CaseFilter
from index_store.catalog.models import CaseRow, ImageRow, PatientRow

VALUE_LENGTH = 64
"""Bytes of a value's field."""
_PLAIN = re.compile(rf"[A-Za-z0-9 _.,:()/+&-]{{0,{VALUE_LENGTH}}}")

COLUMNS = {**CASE_COLUMNS, **IMAGE_COLUMNS}
VALUES = tuple(COLUMNS.values())
"""Fields that hold a value's token."""


@dataclass(frozen=True)
class FiledImage:
    """An image's fields in a vector engine. The names of the fields are those of the engine."""

    image_id: int
    case_id: int
    patient_id: int
    phantom: bool
    site: str
    system: str
    category: str
    source: str
    stain: str
    preparation: str
    kind: str


def token(value: str) -> str:
    """`value` as it is kept in a field."""
    return value if _PLAIN.fullmatch(value) else "#" + hashlib.sha256(value.encode()).hexdigest()[: VALUE_LENGTH - 1]


def filed_images(session: Session, image_ids: Iterable[int]) -> dict[int, FiledImage]:
    """The fields of these images; ids that are not there are left out."""
    of_case = [getattr(CaseRow, name) for name in CASE_COLUMNS.values()]
    of_image = [getattr(ImageRow, name) for name in IMAGE_COLUMNS.values()]
    query = select(ImageRow.id, CaseRow.id, CaseRow.patient_id, CaseRow.phantom, *of_case, *of_image).join(CaseRow)
    found: dict[int, FiledImage] = {}
    for part in in_chunks(int(image_id) for image_id in image_ids):
        for image_id, case_id, patient_id, phantom, *values in session.execute(query.where(ImageRow.id.in_(part))):
            found[image_id] = FiledImage(image_id, case_id, patient_id, phantom, *map(token, values))
    return found


def filter_expression(session: Session, where: CaseFilter | None) -> str:
    """`where` as a boolean expression over the fields of `FiledImage`; '' where it permits all.

    A patient or case that is not there is left out, as it excludes nothing.
    """
    if where is None:
        return ""
    conditions = [
        f"{column} in [{', '.join(sorted(quoted(token(value)) for value in set(values)))}]"
        for name, column in COLUMNS.items()
        if (values := getattr(where, name))
    ]
    if where.phantoms is not None:
        conditions.append(f"phantom == {str(where.phantoms).lower()}")
    for name, table, keys in (
        ("patient_id", PatientRow, where.exclude_patients),
        ("case_id", CaseRow, where.exclude_cases),
    ):
        ids = [i for part in in_chunks(keys) for i in session.scalars(select(table.id).where(table.key.in_(part)))]
        if ids:
            conditions.append(f"{name} not in {sorted(ids)}")
    return " and ".join(conditions)


def quoted(plain: str) -> str:
    """A token as a literal: it holds nothing that would have to be escaped."""
    return f'"{plain}"'
