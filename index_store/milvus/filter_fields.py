"""The fields by which Milvus filters images, and a `CaseFilter` as an expression over them.

Milvus learns the numbers of patients and cases in the catalog and never their keys. A value is stored as it is where it
is short and plain, and as a hash otherwise, so that no value is too long for a field, and none needs escaping.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from index_store.catalog.case_reader import in_chunks
from index_store.catalog.filters import FIELDS, LABELS, CaseFilter, FilteredColumn
from index_store.catalog.models import CaseRow, ImageRow, PatientRow

VALUE_LENGTH = 64
"""Length of a value's field in bytes."""
_PLAIN = re.compile(rf"[A-Za-z0-9 _.,:()/+&-]{{0,{VALUE_LENGTH}}}")

UNKNOWN = -1.0
"""Of a number that is not known, below every range: Milvus has no NULL in the versions that are served."""
Fields = Mapping[str, int | bool | float | str]
"""Of an image in Milvus, by the names of the collection's schema."""


def token(value: str) -> str:
    """`value` as a field stores it: at most `VALUE_LENGTH` plain characters."""
    return value if _PLAIN.fullmatch(value) else "#" + hashlib.sha256(value.encode()).hexdigest()[: VALUE_LENGTH - 1]


def stored(column: FilteredColumn, value: Any) -> bool | float | str:
    """A value as its field stores it; None: what is not known."""
    if column.kind == "values":
        return token(value or "")
    if column.kind == "flag":
        return bool(value)
    return UNKNOWN if value is None else float(value)


NO_FIELDS: Final[Fields] = {
    "case_id": 0,
    "patient_id": 0,
    **{each.name: stored(each, None) for each in FIELDS.values()},
}
"""Of an image of which nothing is known: no filter finds it."""


def filter_fields(session: Session, image_ids: Iterable[int]) -> dict[int, Fields]:
    """The fields of these images, by id. Ids without an image are left out."""
    columns = [getattr(CaseRow if each.of == "case" else ImageRow, each.name) for each in FIELDS.values()]
    query = select(ImageRow.id, CaseRow.id, CaseRow.patient_id, *columns).select_from(ImageRow).join(CaseRow)
    fields: dict[int, Fields] = {}
    for part in in_chunks(int(image_id) for image_id in image_ids):
        for image_id, case_id, patient_id, *values in session.execute(query.where(ImageRow.id.in_(part))):
            named = {each.name: stored(each, value) for each, value in zip(FIELDS.values(), values, strict=True)}
            fields[image_id] = {"case_id": case_id, "patient_id": patient_id, **named}
    return fields


def filter_expression(session: Session, where: CaseFilter | None) -> str:
    """`where` as a boolean expression over the fields; '' where it permits all.

    A patient or case that the catalog does not have excludes nothing, and is left out of the expression.
    """
    if where is None:
        return ""
    conditions = [_holds(FIELDS[field], given) for field, given in where.restrictions.items()]
    if where.labels:
        conditions.append(f"({' or '.join(_label(*label) for label in sorted(set(where.labels)))})")
    for name, table, keys in (
        ("patient_id", PatientRow, where.exclude_patients),
        ("case_id", CaseRow, where.exclude_cases),
    ):
        ids = [i for part in in_chunks(keys) for i in session.scalars(select(table.id).where(table.key.in_(part)))]
        if ids:
            conditions.append(f"{name} not in {sorted(ids)}")
    return " and ".join(conditions)


def _holds(column: FilteredColumn, given: Any) -> str:
    if column.kind == "values":
        return f"{column.name} in [{', '.join(sorted(quoted(token(value)) for value in set(given)))}]"
    if column.kind == "flag":
        return f"{column.name} == {str(given).lower()}"
    return f"{column.name} >= {given[0]!r} and {column.name} <= {given[1]!r}"


def _label(*values: str) -> str:
    equal = (f"{column} == {quoted(token(value))}" for column, value in zip(LABELS, values, strict=True))
    return f"({' and '.join(equal)})"


def quoted(plain: str) -> str:
    """A token as a literal. It contains nothing that would need escaping."""
    return f'"{plain}"'
