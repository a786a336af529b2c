"""Which images a search may return: `CaseFilter`, its meaning in SQL and on records in memory.

`CASE_COLUMNS` and `IMAGE_COLUMNS` are the one list of what can be filtered by value. The SQL conditions, the methods on
records, the fields of a vector engine that filters by itself (`index_store.milvus.filter_fields`) and the columns whose
change must be logged for it (`index_store.catalog.case_writer`) all derive from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from index_store.errors import FilterError

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from index_store.records import Case, Image

CASE_COLUMNS = {"sites": "site", "systems": "system", "categories": "category", "sources": "source"}
"""Fields of `CaseFilter` that hold values of the case: field -> column, which is also the attribute of `Case`."""
IMAGE_COLUMNS = {"stains": "stain", "preparations": "preparation", "kinds": "kind"}
"""Fields of `CaseFilter` that hold values of the image: field -> column, which is also the attribute of `Image`."""
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
        FilterError: a field is a bare string (or anything but a sequence of strings), `mpp` is no range, or there are
            too many values.
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
            if item.name in ("phantoms", "labels", "mpp"):
                continue
            values = getattr(self, item.name)
            sequence = isinstance(values, (tuple, list, set, frozenset))
            if not sequence or not all(isinstance(value, str) for value in values):
                raise FilterError(f"{item.name} must be a tuple of strings, as in ('cervix',); got {values!r}.")
            object.__setattr__(self, item.name, tuple(values))
            total += len(values)
        if not all(isinstance(label, tuple) and list(map(type, label)) == [str] * len(LABELS) for label in self.labels):
            raise FilterError(f"labels must be triples of site, system and category; got {self.labels!r}.")
        object.__setattr__(self, "labels", tuple(self.labels))
        total += len(self.labels) * len(LABELS)
        if self.mpp is not None:
            object.__setattr__(self, "mpp", _checked_range(self.mpp))
        if total > MAX_VALUES:
            raise FilterError(f"The filter names {total} values; {MAX_VALUES} is the most. Use a broader field.")

    @property
    def includes(self) -> bool:
        """Whether the filter requires any value (rather than only leaving something out)."""
        named = any(getattr(self, name) for name in (*CASE_COLUMNS, *IMAGE_COLUMNS))
        return named or self.phantoms is not None or bool(self.labels) or self.mpp is not None

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
            self.phantoms in (None, case.phantom)
            and case.patient not in self._values["exclude_patients"]
            and case.key not in self._values["exclude_cases"]
            and (not self.labels or (case.site, case.system, case.category) in self._labels)
            and self._holds(case, CASE_COLUMNS)
        )

    def allows_image(self, image: Image) -> bool:
        """Whether the restrictions on images hold, whatever the case is."""
        if self.mpp is not None and not (image.mpp is not None and self.mpp[0] <= image.mpp <= self.mpp[1]):
            return False
        return self._holds(image, IMAGE_COLUMNS)

    @cached_property
    def _values(self) -> dict[str, frozenset[str]]:
        return {name: frozenset(getattr(self, name)) for name in (*CASE_COLUMNS, *IMAGE_COLUMNS, *EXCLUSIONS)}

    @cached_property
    def _labels(self) -> frozenset[tuple[str, str, str]]:
        return frozenset(self.labels)

    def _holds(self, record: Case | Image, columns: Mapping[str, str]) -> bool:
        return all(
            not (values := self._values[name]) or getattr(record, column) in values for name, column in columns.items()
        )


def _checked_range(bounds: object) -> tuple[float, float]:
    values = list(bounds) if isinstance(bounds, (tuple, list)) else []
    numbers = [float(value) for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(values) != 2 or len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1] < math.inf:
        raise FilterError(f"mpp must be a range of µm a pixel, as in (0.2, 0.3); got {bounds!r}.")
    return numbers[0], numbers[1]


def conditions(where: CaseFilter, *, few_images: bool = False, scaled: bool = True) -> list[ColumnElement[bool]]:
    """SQL conditions on `images`, which must all hold.

    Args:
        where: the filter.
        scaled: the table has the scale of images (`catalog.has_scale`); otherwise it is not known of any.
        few_images: the statement looks at few images. The case of each is then looked up; otherwise all permitted
            cases are listed.
    """
    from sqlalchemy import false, not_, select, tuple_

    from index_store.catalog.models import CaseRow, ImageRow

    def any_value(table: type[CaseRow] | type[ImageRow], columns: Mapping[str, str]) -> list[ColumnElement[bool]]:
        return [
            getattr(table, column).in_(values) for name, column in columns.items() if (values := getattr(where, name))
        ]

    on_cases = any_value(CaseRow, CASE_COLUMNS)
    if where.phantoms is not None:
        on_cases.append(CaseRow.phantom.is_(where.phantoms))
    if where.labels:
        on_cases.append(tuple_(*(getattr(CaseRow, column) for column in LABELS)).in_(where.labels))
    on_images = any_value(ImageRow, IMAGE_COLUMNS)
    if where.mpp is not None:
        on_images.append(ImageRow.mpp.between(*where.mpp) if scaled else false())
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
