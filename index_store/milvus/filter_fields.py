"""The fields by which Milvus filters images, and a `CaseFilter` as an expression over them.

Milvus learns the numbers of patients and cases in the catalog and never their keys. A value is stored as it is where it
is short and plain, and as a hash otherwise, so that no value is too long for a field, and none needs escaping.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from index_store.catalog.case_reader import in_chunks
from index_store.catalog.filters import CASE_COLUMNS, IMAGE_COLUMNS, LABELS, CaseFilter
from index_store.catalog.models import CaseRow, ImageRow, PatientRow

VALUE_LENGTH = 64
"""Length of a value's field in bytes."""
_PLAIN = re.compile(rf"[A-Za-z0-9 _.,:()/+&-]{{0,{VALUE_LENGTH}}}")

COLUMNS = {**CASE_COLUMNS, **IMAGE_COLUMNS}
VALUES = tuple(COLUMNS.values())
"""Fields that hold the token of a value."""


UNKNOWN_MPP = -1.0
"""Below every range: Milvus has no NULL in the versions that are served."""


@dataclass(frozen=True)
class FilterFields:
    """The fields of an image in Milvus, under the names of the collection's schema."""

    image_id: int
    case_id: int
    patient_id: int
    phantom: bool
    mpp: float
    """µm a pixel; `UNKNOWN_MPP` where it is not known."""
    site: str
    system: str
    category: str
    source: str
    stain: str
    preparation: str
    kind: str


def token(value: str) -> str:
    """`value` as a field stores it: at most `VALUE_LENGTH` plain characters."""
    return value if _PLAIN.fullmatch(value) else "#" + hashlib.sha256(value.encode()).hexdigest()[: VALUE_LENGTH - 1]


def filter_fields(session: Session, image_ids: Iterable[int]) -> dict[int, FilterFields]:
    """The fields of these images, by id. Ids without an image are left out."""
    of_case = [getattr(CaseRow, name) for name in CASE_COLUMNS.values()]
    of_image = [getattr(ImageRow, name) for name in IMAGE_COLUMNS.values()]
    query = select(ImageRow.id, CaseRow.id, CaseRow.patient_id, CaseRow.phantom, *of_case, *of_image, ImageRow.mpp)
    query = query.join(CaseRow)
    fields: dict[int, FilterFields] = {}
    for part in in_chunks(int(image_id) for image_id in image_ids):
        for image_id, case_id, patient_id, phantom, *values, mpp in session.execute(query.where(ImageRow.id.in_(part))):
            scale = UNKNOWN_MPP if mpp is None else mpp
            fields[image_id] = FilterFields(image_id, case_id, patient_id, phantom, scale, *map(token, values))
    return fields


def filter_expression(session: Session, where: CaseFilter | None) -> str:
    """`where` as a boolean expression over `FilterFields`; '' where it permits all.

    A patient or case that the catalog does not have excludes nothing, and is left out of the expression.
    """
    if where is None:
        return ""
    conditions = [
        f"{column} in [{', '.join(sorted(quoted(token(value)) for value in set(values)))}]"
        for name, column in COLUMNS.items()
        if (values := getattr(where, name))
    ]
    if where.labels:
        conditions.append(f"({' or '.join(_label(*label) for label in sorted(set(where.labels)))})")
    if where.mpp is not None:
        conditions.append(f"mpp >= {where.mpp[0]!r} and mpp <= {where.mpp[1]!r}")
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


def _label(*values: str) -> str:
    equal = (f"{column} == {quoted(token(value))}" for column, value in zip(LABELS, values, strict=True))
    return f"({' and '.join(equal)})"


def quoted(plain: str) -> str:
    """A token as a literal. It contains nothing that would need escaping."""
    return f'"{plain}"'
