"""Which images may answer a search: `CaseFilter`, and what it means in SQL."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from index_store.errors import FilterError

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

MAX_VALUES = 20_000
"""SQLite binds at most 32,766 values a statement, and 10,000 are kept for the question itself."""


@dataclass(frozen=True)
class CaseFilter:
    """Restrictions that all hold together; within one field, any of its values. Empty: no restriction.

    `stains`, `preparations` and `kinds` look at the image, the others at its case. The values are compared exactly;
    `Archive.facets` lists those that occur.

    Raises:
        FilterError: a bare string (or anything but a sequence of strings) for a field, or too many values.
    """

    sites: tuple[str, ...] = ()
    systems: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    stains: tuple[str, ...] = ()
    preparations: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    exclude_patients: tuple[str, ...] = ()
    exclude_cases: tuple[str, ...] = ()
    phantoms: bool | None = None
    """True: phantoms alone. False: none of them. None: both."""

    def __post_init__(self) -> None:
        total = 0
        for item in fields(self):
            if item.name == "phantoms":
                continue
            values = getattr(self, item.name)
            sequence = isinstance(values, (tuple, list, set, frozenset))
            if not sequence or not all(isinstance(value, str) for value in values):
                raise FilterError(f"{item.name} must be a tuple of strings, as in ('cervix',); got {values!r}.")
            object.__setattr__(self, item.name, tuple(values))
            total += len(values)
        if total > MAX_VALUES:
            raise FilterError(f"The filter names {total} values; {MAX_VALUES} is the most. Use a broader field.")

    @property
    def includes(self) -> bool:
        """Whether anything is asked for by value (and not only left out)."""
        return self.phantoms is not None or any(
            getattr(self, item.name)
            for item in fields(self)
            if item.name != "phantoms" and not item.name.startswith("exclude_")
        )

    @property
    def excludes(self) -> bool:
        """Whether patients or cases are left out."""
        return bool(self.exclude_patients or self.exclude_cases)


def permitted(where: CaseFilter, *, few: bool = False) -> list[ColumnElement[bool]]:
    """Conditions on `images`, which must all hold.

    `few`: they are asked of few images. The case of each is then looked up, where else all permitted cases are listed.
    """
    from sqlalchemy import not_, select

    from index_store.catalog.models import CaseRow, ImageRow

    of_case: list[ColumnElement[bool]] = [
        column.in_(values)
        for column, values in (
            (CaseRow.site, where.sites),
            (CaseRow.system, where.systems),
            (CaseRow.category, where.categories),
            (CaseRow.source, where.sources),
        )
        if values
    ]
    if where.phantoms is not None:
        of_case.append(CaseRow.phantom.is_(where.phantoms))
    conditions: list[ColumnElement[bool]] = [
        column.in_(values)
        for column, values in (
            (ImageRow.stain, where.stains),
            (ImageRow.preparation, where.preparations),
            (ImageRow.kind, where.kinds),
        )
        if values
    ]
    if of_case:
        cases = select(CaseRow.id).where(*of_case)
        looked_up = cases.where(CaseRow.id == ImageRow.case_id).exists()
        conditions.append(looked_up if few else ImageRow.case_id.in_(cases))
    if where.excludes:
        conditions.append(not_(excluded(where)))
    return conditions


def excluded(where: CaseFilter) -> ColumnElement[bool]:
    """The one condition on `images` that a patient or case is left out."""
    return _excluded(where.exclude_patients, where.exclude_cases)


def excluded_as_bound() -> ColumnElement[bool]:
    """The same condition for the parameters `patients` and `cases`, lists of keys: for statements that are kept."""
    from sqlalchemy import bindparam

    return _excluded(bindparam("patients", expanding=True), bindparam("cases", expanding=True))


def _excluded(patient_keys: Any, case_keys: Any) -> ColumnElement[bool]:
    from sqlalchemy import select, union

    from index_store.catalog.models import CaseRow, ImageRow, PatientRow

    # Two selects and not one with OR, for which PostgreSQL reads all cases (19 ms and not 4 at 30,000 cases).
    cases = select(CaseRow.id).where(CaseRow.key.in_(case_keys))
    of_patients = select(CaseRow.id).join(PatientRow).where(PatientRow.key.in_(patient_keys))
    return ImageRow.case_id.in_(union(cases, of_patients))
