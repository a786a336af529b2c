"""The labels of all images as columns in memory, kept in step with the change log.

Whatever needs all images (what hits share beyond chance, patients by category, a sample to calibrate on) reads these
arrays in place of the records: a record is a dozen Python objects, a row here a dozen numbers. The first use reads two
tables; after that only the images that the log names since are read again. The log has an entry for an image that was
added or removed, and for every change of a column that is held here (`case_writer`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import select
from sqlalchemy.orm import Session

from index_store.catalog.change_log import CHUNK, is_of_this_log, log_head
from index_store.catalog.filters import CASE_COLUMNS, IMAGE_COLUMNS, LABELS, CaseFilter
from index_store.catalog.models import CaseRow, ChangeRow, ImageRow
from index_store.vectors import Ids, LogPosition

CASE_LABELS = tuple(CASE_COLUMNS.values())
IMAGE_LABELS = ("slide", *IMAGE_COLUMNS.values())
REREAD = 0.25
"""With a larger share of changed images, all are read again: that is one pass over two tables."""


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
    phantoms: npt.NDArray[np.bool_]
    """bool[n]"""
    columns: Mapping[str, Column]
    """By name: site, system, category and source of the case, slide, stain, preparation and kind of the image."""

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, image_ids: Iterable[int]) -> Ids:
        """int64[m]: the rows of these images, in their order.

        Raises:
            KeyError: one of them is not in the table: it was removed, or added after the table was read.
        """
        wanted = np.fromiter(image_ids, dtype=np.int64)
        rows, found = self._found(wanted)
        if not found.all():
            raise KeyError(f"Image {wanted[~found][0]} is not in this table.")
        return rows

    def known(self, image_ids: Iterable[int]) -> list[int]:
        """Those of the images that are in the table, in their order."""
        wanted = np.fromiter(image_ids, dtype=np.int64)
        known: list[int] = wanted[self._found(wanted)[1]].tolist()
        return known

    def _found(self, wanted: Ids) -> tuple[Ids, npt.NDArray[np.bool_]]:
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

    def images_of(self, case_id: int) -> Ids:
        """int64[k], ascending: the images of a case."""
        start, end = np.searchsorted(self._cases_in_order, [case_id, case_id + 1])
        return self.ids[self._by_case[start:end]]

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
        for field, column in (*CASE_COLUMNS.items(), *IMAGE_COLUMNS.items()):
            if values := getattr(where, field):
                permitted &= self.columns[column].has(values)
        if where.labels:
            permitted &= self._has_labels(where.labels)
        if where.phantoms is not None:
            permitted &= self.phantoms == where.phantoms
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
            phantoms=self.phantoms[rows],
            columns={name: Column(column.codes[rows], column.values) for name, column in self.columns.items()},
        )


class ImageTableSync:
    """The table of one archive, brought up to date when it is needed. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._table: ImageTable | None = None

    def table(self, session: Session) -> ImageTable:
        """The table as the session sees the archive. O(images) at first, then O(changed images), beside a copy of the
        arrays.

        Args:
            session: a read transaction.
        """
        with self._lock:
            head, known = log_head(session), self._table
            if known is not None and known.position == head:
                return known
            if (
                known is not None
                and is_of_this_log(session, known.position)
                and known.position.sequence < head.sequence
            ):
                changed = _changed(session, known.position)
                if len(changed) <= REREAD * len(known):
                    self._table = _updated(known, head, changed, _read(session, changed, known))
                    return self._table
            self._table = _sorted(head, _read(session, None, None))
            return self._table


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows as they were read, in no order."""

    ids: Ids
    cases: Ids
    patients: Ids
    phantoms: npt.NDArray[np.bool_]
    columns: dict[str, Column]


def _changed(session: Session, position: LogPosition) -> Ids:
    query = select(ChangeRow.image_id).where(ChangeRow.sequence > position.sequence).distinct()
    return np.array(sorted(session.scalars(query)), dtype=np.int64)


def _read(session: Session, image_ids: Ids | None, known: ImageTable | None) -> _Rows:
    """The rows of these images, or of all; codes go on from those of `known`."""
    of_image = [getattr(ImageRow, name) for name in IMAGE_LABELS]
    images = _fetched(session, select(ImageRow.id, ImageRow.case_id, *of_image), ImageRow.id, image_ids)
    case_ids = np.array(images[1], dtype=np.int64)
    wanted = None if image_ids is None else np.unique(case_ids)
    of_case = [getattr(CaseRow, name) for name in CASE_LABELS]
    cases = _fetched(session, select(CaseRow.id, CaseRow.patient_id, CaseRow.phantom, *of_case), CaseRow.id, wanted)
    order = np.argsort(np.array(cases[0], dtype=np.int64))
    row = order[np.searchsorted(np.array(cases[0], dtype=np.int64)[order], case_ids)]

    def column(name: str, values: Sequence[str]) -> Column:
        return _encoded(values, known.columns[name].values if known else ())

    columns = {name: column(name, values) for name, values in zip(IMAGE_LABELS, images[2:], strict=True)}
    for name, values in zip(CASE_LABELS, cases[3:], strict=True):
        of_cases = column(name, values)
        columns[name] = Column(of_cases.codes[row], of_cases.values)
    return _Rows(
        ids=np.array(images[0], dtype=np.int64),
        cases=case_ids,
        patients=np.array(cases[1], dtype=np.int64)[row],
        phantoms=np.array(cases[2], dtype=bool)[row],
        columns=columns,
    )


def _fetched(session: Session, query: Any, key: Any, wanted: Ids | None) -> list[tuple[Any, ...]]:
    """The columns of all rows, or of those whose key is wanted."""
    connection = session.connection()
    parts = [None] if wanted is None else [wanted[i : i + CHUNK] for i in range(0, len(wanted), CHUNK)]
    rows: list[Any] = []
    for part in parts:
        found = connection.execute(query if part is None else query.where(key.in_(part.tolist())))
        # The driver's own tuples: to make SQLAlchemy's rows of them takes as long as to read them.
        rows += found.cursor.fetchall()
        found.close()
    return list(zip(*rows, strict=True)) if rows else [() for _ in query.selected_columns]


def _encoded(values: Sequence[str], known: tuple[str, ...]) -> Column:
    code_of = {value: code for code, value in enumerate(known)}
    codes = np.fromiter((code_of.setdefault(value, len(code_of)) for value in values), np.int32, len(values))
    return Column(codes, tuple(code_of))


def _sorted(position: LogPosition, rows: _Rows) -> ImageTable:
    whole = ImageTable(position, rows.ids, rows.cases, rows.patients, rows.phantoms, rows.columns)
    return whole.taken(np.argsort(rows.ids))


def _updated(table: ImageTable, position: LogPosition, changed: Ids, rows: _Rows) -> ImageTable:
    """The table with the changed images as they are now; those without a row were removed."""
    kept = ~np.isin(table.ids, changed)
    ids = np.concatenate([table.ids[kept], rows.ids])
    order = np.argsort(ids, kind="stable")

    def joined(before: npt.NDArray[Any], now: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.concatenate([before[kept], now])[order]

    return ImageTable(
        position,
        ids[order],
        joined(table.cases, rows.cases),
        joined(table.patients, rows.patients),
        joined(table.phantoms, rows.phantoms),
        {name: Column(joined(table.columns[name].codes, new.codes), new.values) for name, new in rows.columns.items()},
    )
