"""The labels of all images as columns in memory.

Whatever needs all images (what hits share beyond chance, patients by category, a sample to calibrate on) reads these
arrays in place of the records: a record is a dozen Python objects, a row here a dozen numbers. `image_table_sync` keeps
them in step with the change log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from index_store.catalog.filters import CASE_COLUMNS, FIELDS, IMAGE_COLUMNS, LABELS, CaseFilter
from index_store.vectors import Ids, LogPosition

CASE_LABELS = tuple(CASE_COLUMNS.values())
IMAGE_LABELS = ("slide", *IMAGE_COLUMNS.values())
SCALARS = {field: column for field, column in FIELDS.items() if column.kind != "values"}
"""What has no few values to be numbered: flags and numbers, by field of `CaseFilter`."""


def distinct(values: Ids) -> Ids:
    """The different values of int64[n], int64[m], ascending. By a sort: NumPy's `unique` hashes, which takes fifty
    times as long here, where most values stand in order."""
    ordered = np.sort(values, kind="stable")
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


@dataclass(frozen=True, eq=False)
class Column:
    """One label of n images: `values[codes[i]]` is that of row i. Values that no image has any more may remain."""

    codes: npt.NDArray[np.int32]
    """int32[n]"""
    values: tuple[str, ...]

    @cached_property
    def code_of(self) -> dict[str, int]:
        """The code of each value."""
        return {value: code for code, value in enumerate(self.values)}

    def has(self, wanted: Iterable[str]) -> npt.NDArray[np.bool_]:
        """bool[n]: the rows with one of these values."""
        allowed = np.zeros(len(self.values), dtype=bool)
        allowed[[self.code_of[value] for value in wanted if value in self.code_of]] = True
        return allowed[self.codes] if len(allowed) else np.zeros(len(self.codes), dtype=bool)


@dataclass(frozen=True, eq=False)
class ImageTable:
    """The labels of n images. Never changes: an archive that changed gives another table."""

    position: LogPosition
    """The last entry of the change log that is in it."""
    ids: Ids
    """int64[n], ascending: the images."""
    cases: Ids
    """int64[n]: the id of each image's case."""
    patients: Ids
    """int64[n]: the id of each image's patient."""
    columns: Mapping[str, Column]
    """By name: site, system, category and source of the case, slide, stain, preparation and kind of the image."""
    scalars: Mapping[str, npt.NDArray[Any]]
    """By field of `SCALARS`: bool[n] of a flag; float64[n] of a number, NaN where it is not known."""

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, image_ids: Iterable[int]) -> Ids:
        """int64[m]: the rows of these images, in their order.

        Raises:
            KeyError: one of them is not in the table: it was removed, or added after the table was read.
        """
        wanted = np.fromiter(image_ids, dtype=np.int64)
        rows, found = self.find(wanted)
        if not found.all():
            raise KeyError(f"Image {wanted[~found][0]} is not in this table.")
        return rows

    def known(self, image_ids: Iterable[int]) -> list[int]:
        """Those of the images that are in the table, in their order."""
        wanted = np.fromiter(image_ids, dtype=np.int64)
        known: list[int] = wanted[self.find(wanted)[1]].tolist()
        return known

    def find(self, wanted: Ids) -> tuple[Ids, npt.NDArray[np.bool_]]:
        """The row of each image, int64[m], and whether it has one, bool[m]."""
        rows = np.searchsorted(self.ids, wanted)
        found = rows < len(self.ids)
        found[found] = self.ids[rows[found]] == wanted[found]
        return rows, found

    @cached_property
    def facets(self) -> Mapping[str, Mapping[str, int]]:
        """By column but the slide, the values with their number of cases, most frequent first."""
        found: dict[str, dict[str, int]] = {}
        for name, column in self.columns.items():
            if name != "slide":
                pairs = np.unique(self.cases * len(column.values) + column.codes)
                counts = np.bincount(pairs % max(1, len(column.values)), minlength=len(column.values))
                cases = {value: int(n) for value, n in zip(column.values, counts, strict=True) if value and n}
                found[name] = dict(sorted(cases.items(), key=lambda entry: (-entry[1], entry[0])))
        return found

    @cached_property
    def images_per_patient(self) -> float:
        """The mean number of images of a patient; 1 where there are none."""
        return len(self) / max(1, len(distinct(self.patients))) if len(self) else 1.0

    def images_of(self, case_id: int) -> Ids:
        """int64[k], ascending: the images of a case."""
        start, end = np.searchsorted(self._cases_in_order, [case_id, case_id + 1])
        return self.ids[self._by_case[start:end]]

    def patients_of(self, case_ids: Ids) -> tuple[Ids, npt.NDArray[np.bool_]]:
        """The id of the patient of each case, int64[m], and whether the case is in the table, bool[m]."""
        if not len(self):
            return np.full(len(case_ids), -1), np.zeros(len(case_ids), dtype=bool)
        places = np.minimum(np.searchsorted(self._cases_in_order, case_ids), len(self) - 1)
        known = self._cases_in_order[places] == case_ids
        return np.where(known, self.patients[self._by_case[places]], -1), known

    @cached_property
    def _by_case(self) -> Ids:
        return np.argsort(self.cases, kind="stable")

    @cached_property
    def _cases_in_order(self) -> Ids:
        return self.cases[self._by_case]

    def by_labels(self) -> Iterator[tuple[tuple[str, str, str], Ids]]:
        """The combinations of site, system and category that occur, each with its rows, int64[n]."""
        site, system, category = (self.columns[name] for name in LABELS)
        codes = (site.codes.astype(np.int64) * len(system.values) + system.codes) * len(category.values)
        order = np.argsort(codes + category.codes, kind="stable")
        _, starts = np.unique((codes + category.codes)[order], return_index=True)
        for rows in np.split(order, starts[1:]) if len(order) else ():
            at = rows[0]
            yield (
                (
                    site.values[site.codes[at]],
                    system.values[system.codes[at]],
                    category.values[category.codes[at]],
                ),
                rows,
            )

    def only(self, where: CaseFilter | None, excluded: Ids) -> ImageTable:
        """The rows of the images that a filter permits; this table where it permits all.

        Args:
            excluded: int64[m], the images of the patients and cases that it leaves out (`CaseReader.excluded`).
        """
        if where is None or not (where.includes or where.excludes):
            return self
        permitted = np.ones(len(self.ids), dtype=bool)
        for field, given in where.restrictions.items():
            column = FIELDS[field]
            if column.kind == "values":
                permitted &= self.columns[column.name].has(given)
            elif column.kind == "flag":
                permitted &= self.scalars[field] == given
            else:
                permitted &= (self.scalars[field] >= given[0]) & (self.scalars[field] <= given[1])  # a NaN: false
        if where.labels:
            permitted &= self._has_labels(where.labels)
        if len(excluded):
            permitted &= ~np.isin(self.ids, excluded)
        return self.taken(np.flatnonzero(permitted))

    def _has_labels(self, wanted: Iterable[tuple[str, str, str]]) -> npt.NDArray[np.bool_]:
        found = np.zeros(len(self.ids), dtype=bool)
        for labels in set(wanted):
            found |= np.logical_and.reduce(
                [self.columns[name].has([value]) for name, value in zip(LABELS, labels, strict=True)]
            )
        return found

    def taken(self, rows: Ids) -> ImageTable:
        """These rows, int64[m] in order of image id."""
        return ImageTable(
            position=self.position,
            ids=self.ids[rows],
            cases=self.cases[rows],
            patients=self.patients[rows],
            columns={name: Column(column.codes[rows], column.values) for name, column in self.columns.items()},
            scalars={field: scalar[rows] for field, scalar in self.scalars.items()},
        )
