"""Which images a search may return: `CaseFilter`, its meaning in SQL and on records in memory.

`FIELDS` is the one list of what can be filtered by. The SQL conditions, the methods on records, the columns in memory
(`index_store.search.image_table`), the fields of a vector engine that filters by itself
(`index_store.milvus.filter_fields`) and the columns whose change must be logged (`index_store.catalog.case_writer`) all
derive from it: each says once what a kind of column means, and none names a column.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from index_store.errors import FilterError

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from index_store.records import Case, Image


@dataclass(frozen=True)
class FilteredColumn:
    """What a field of `CaseFilter` restricts, and how."""

    name: str
    """Of the column, and of the attribute of `Case` or `Image`."""
    of: Literal["case", "image"]
    kind: Literal["values", "flag", "range"] = "values"
    """ "values": texts, any of which it may have. "flag": true or false. "range": two numbers between which it lies,
    both included; where the number is not known, it lies in none."""

    def holds(self, given: Any, value: Any) -> bool:
        """Whether a record's value passes what the filter gives: a set of values, a flag, or a range."""
        if self.kind == "values":
            return value in given
        if self.kind == "flag":
            return bool(value == given)
        return value is not None and given[0] <= value <= given[1]


FIELDS: Final[Mapping[str, FilteredColumn]] = {
    "sites": FilteredColumn("site", "case"),
    "systems": FilteredColumn("system", "case"),
    "categories": FilteredColumn("category", "case"),
    "sources": FilteredColumn("source", "case"),
    "stains": FilteredColumn("stain", "image"),
    "preparations": FilteredColumn("preparation", "image"),
    "kinds": FilteredColumn("kind", "image"),
    "phantoms": FilteredColumn("phantom", "case", "flag"),
    "mpp": FilteredColumn("mpp", "image", "range"),
}
"""By field of `CaseFilter`, the column that it restricts."""
CASE_COLUMNS, IMAGE_COLUMNS = (
    {field: column.name for field, column in FIELDS.items() if column.kind == "values" and column.of == of}
    for of in ("case", "image")
)
"""Field -> column, of those that hold values."""
LABELS = ("site", "system", "category")
"""Columns of the case that `CaseFilter.labels` holds the values of."""
EXCLUSIONS = ("exclude_patients", "exclude_cases")
"""Fields of `CaseFilter` that hold keys to leave out."""

MAX_VALUES = 20_000
"""SQLite binds at most 32,766 values a statement, and 10,000 are kept for the query itself."""


@dataclass(frozen=True)
class CaseFilter:
    """Restrictions that must all hold; within one field, any of its values. Empty: no restriction.

    `stains`, `preparations`, `kinds` and `mpp` restrict the image, the other fields its case. Values are compared
    exactly; `Archive.facets` lists those that occur, and `Archive.labels` the combinations of site, system and
    category.

    Raises:
        FilterError: a field of values is a bare string (or anything but a sequence of strings), one of a range is none,
            or there are too many values.
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
    """True: phantoms only. False: no phantoms. None: both."""
    labels: tuple[tuple[str, str, str], ...] = ()
    """Site, system and category together, as written: only cases with one of these."""
    mpp: tuple[float, float] | None = None
    """Only images of a scale from the first to the second, in µm a pixel, both included. An unknown scale is none."""

    def __post_init__(self) -> None:
        total = 0
        for item in fields(self):
            values, column = getattr(self, item.name), FIELDS.get(item.name)
            if column is not None and column.kind == "range" and values is not None:
                object.__setattr__(self, item.name, _checked_range(item.name, values))
            if item.name not in EXCLUSIONS and (column is None or column.kind != "values"):
                continue
            sequence = isinstance(values, (tuple, list, set, frozenset))
            if not sequence or not all(isinstance(value, str) for value in values):
                raise FilterError(f"{item.name} must be a tuple of strings, as in ('cervix',); got {values!r}.")
            object.__setattr__(self, item.name, tuple(values))
            total += len(values)
        if not all(isinstance(label, tuple) and list(map(type, label)) == [str] * len(LABELS) for label in self.labels):
            raise FilterError(f"labels must be triples of site, system and category; got {self.labels!r}.")
        object.__setattr__(self, "labels", tuple(self.labels))
        total += len(self.labels) * len(LABELS)
        if total > MAX_VALUES:
            raise FilterError(f"The filter names {total} values; {MAX_VALUES} is the most. Use a broader field.")

    @property
    def includes(self) -> bool:
        """Whether the filter requires any value (rather than only leaving something out)."""
        return bool(self.restrictions or self.labels)

    @property
    def excludes(self) -> bool:
        """Whether patients or cases are left out."""
        return any(getattr(self, name) for name in EXCLUSIONS)

    def allows(self, case: Case, image: Image) -> bool:
        """Whether the filter permits `image`, which is one of `case`."""
        return self.allows_case(case) and self.allows_image(image)

    def allows_case(self, case: Case) -> bool:
        """Whether the restrictions on cases hold; the case may still have no permitted image."""
        return (
            case.patient not in self._excluded["exclude_patients"]
            and case.key not in self._excluded["exclude_cases"]
            and (not self.labels or (case.site, case.system, case.category) in self._labels)
            and self._holds(case, "case")
        )

    def allows_image(self, image: Image) -> bool:
        """Whether the restrictions on images hold, whatever the case is."""
        return self._holds(image, "image")

    @cached_property
    def restrictions(self) -> Mapping[str, Any]:
        """By field of `FIELDS`, what it gives: values, a flag or a range. Fields that restrict nothing are left out."""
        given = {field: getattr(self, field) for field in FIELDS}
        return {field: value for field, value in given.items() if value not in ((), None)}

    @cached_property
    def _wanted(self) -> list[tuple[FilteredColumn, Any]]:
        wanted = ((FIELDS[field], given) for field, given in self.restrictions.items())
        return [(column, frozenset(given) if column.kind == "values" else given) for column, given in wanted]

    @cached_property
    def _excluded(self) -> dict[str, frozenset[str]]:
        return {name: frozenset(getattr(self, name)) for name in EXCLUSIONS}

    @cached_property
    def _labels(self) -> frozenset[tuple[str, str, str]]:
        return frozenset(self.labels)

    def _holds(self, record: Case | Image, of: str) -> bool:
        wanted = ((column, given) for column, given in self._wanted if column.of == of)
        return all(column.holds(given, getattr(record, column.name)) for column, given in wanted)


def _checked_range(field: str, bounds: object) -> tuple[float, float]:
    values = list(bounds) if isinstance(bounds, (tuple, list)) else []
    numbers = [float(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(values) != 2 or len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1] < math.inf:
        raise FilterError(f"{field} must be a range, the lower number first, as in (0.2, 0.3); got {bounds!r}.")
    return numbers[0], numbers[1]


def conditions(where: CaseFilter, *, few_images: bool = False, scaled: bool = True) -> list[ColumnElement[bool]]:
    """SQL conditions on `images`, which must all hold.

    Args:
        where: the filter.
        scaled: the table has the scale of images (`catalog.has_scale`), the one column with ranges; otherwise it is not
            known of any.
        few_images: the statement looks at few images. The case of each is then looked up; otherwise all permitted
            cases are listed.
    """
    from sqlalchemy import false, not_, select, tuple_

    from index_store.catalog.models import CaseRow, ImageRow

    def on(table: type[CaseRow] | type[ImageRow], of: str) -> list[ColumnElement[bool]]:
        wanted = ((FIELDS[field], given) for field, given in where.restrictions.items())
        return [holds(getattr(table, column.name), column.kind, given) for column, given in wanted if column.of == of]

    def holds(column: Any, kind: str, given: Any) -> ColumnElement[bool]:
        if kind == "values":
            condition = column.in_(given)
        elif kind == "flag":
            condition = column.is_(given)
        else:
            condition = column.between(*given) if scaled else false()
        return cast("ColumnElement[bool]", condition)

    on_cases = on(CaseRow, "case")
    if where.labels:
        on_cases.append(tuple_(*(getattr(CaseRow, column) for column in LABELS)).in_(where.labels))
    on_images = on(ImageRow, "image")
    if on_cases:
        cases = select(CaseRow.id).where(*on_cases)
        looked_up = cases.where(CaseRow.id == ImageRow.case_id).exists()
        on_images.append(looked_up if few_images else ImageRow.case_id.in_(cases))
    if where.excludes:
        on_images.append(not_(_excluded(where.exclude_patients, where.exclude_cases)))
    return on_images


def excluded_by_parameters() -> ColumnElement[bool]:
    """The condition on `images` that their patient or case is left out, with the parameters `patients` and `cases`
    (lists of keys), for a statement that is compiled once and kept."""
    from sqlalchemy import bindparam

    return _excluded(bindparam("patients", expanding=True), bindparam("cases", expanding=True))


def _excluded(patient_keys: Any, case_keys: Any) -> ColumnElement[bool]:
    from sqlalchemy import select, union

    from index_store.catalog.models import CaseRow, ImageRow, PatientRow

    # Two selects and not one with OR, for which PostgreSQL reads all cases (19 ms and not 4 at 30,000 cases).
    cases = select(CaseRow.id).where(CaseRow.key.in_(case_keys))
    of_patients = select(CaseRow.id).join(PatientRow).where(PatientRow.key.in_(patient_keys))
    return ImageRow.case_id.in_(union(cases, of_patients))
