"""The columns of all images, kept in step with the change log, and on disk for the next process.

The first use of all reads two tables; after that, in later processes too (`derived_files`), only the images that the
log names since are read again. The log has an entry for an image that was added or removed, and for every change of a
column that is held here (`case_writer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import null, select
from sqlalchemy.orm import Session

from index_store.catalog.catalog import has_scale
from index_store.catalog.change_log import CHUNK, is_of_this_log, log_head, removed_since
from index_store.catalog.filters import CaseFilter
from index_store.catalog.models import CaseRow, ChangeRow, ImageRow
from index_store.search.derived_files import Derived, DerivedFiles, DerivedName
from index_store.search.image_table import CASE_LABELS, IMAGE_LABELS, SCALARS, Column, ImageTable
from index_store.vectors import Ids, LogPosition

REREAD = 0.25
"""With a larger share of changed images, all are read again: that is one pass over two tables."""
KEPT = 0.01
"""With a larger share of changes than that since it was kept, the table is kept anew."""
ARRAYS = ("ids", "cases", "patients")
_TYPES = {"flag": bool, "range": np.float64}
TABLE = DerivedName("image-table", format=2)


class ImageTableSync:
    """The table of one archive, brought up to date when it is needed. Safe to share between threads."""

    def __init__(self, derived: DerivedFiles) -> None:
        """`derived`: where it is kept for the next process."""
        self._lock = Lock()
        self._derived = derived
        self._table: ImageTable | None = None
        self._filtered: tuple[ImageTable, CaseFilter, ImageTable] | None = None
        self._kept = LogPosition()
        """Of the table that is kept on disk."""

    def table(self, session: Session) -> ImageTable:
        """The table as the session sees the archive. O(images) at first, then O(changed images), beside a copy of the
        arrays.

        Args:
            session: a read transaction.
        """
        with self._lock:
            head, known = log_head(session), self._table
            if known is None and head != LogPosition() and (kept := _unpacked(self._derived, session)):
                known = self._table = kept
                self._kept = known.position
            if known is not None and known.position == head:
                return known
            self._table = _followed(session, known, head) or _sorted(head, _read(session, None, None))
            self._keep(session, self._table)
            return self._table

    def only(self, table: ImageTable, where: CaseFilter | None, excluded: Ids) -> ImageTable:
        """`ImageTable.only`, with the images to leave out, int64[m]; the last one by values is kept: a search needs
        it several times."""
        if where is None or where.excludes:
            return table.only(where, excluded)
        last = self._filtered
        if last is None or last[0] is not table or last[1] != where:
            last = self._filtered = table, where, table.only(where, excluded)
        return last[2]

    def at(self, position: LogPosition) -> ImageTable | None:
        """The table at this place of the log, where it is in memory. Reads nothing."""
        known = self._table
        return known if known is not None and known.position == position else None

    def _keep(self, session: Session, table: ImageTable) -> None:
        """Keep a table that differs much from what is kept, or holds no more what was removed."""
        if not self._derived.writes:
            return
        outdated = (
            table.position.sequence - self._kept.sequence > KEPT * len(table)
            or not is_of_this_log(session, self._kept)
            or removed_since(session, self._kept)
        )
        if outdated and self._derived.write(TABLE, _packed(table)):
            self._kept = table.position


def _followed(session: Session, known: ImageTable | None, head: LogPosition) -> ImageTable | None:
    """The table with the changes that the log has since; None where all has to be read."""
    if known is None or not is_of_this_log(session, known.position) or known.position.sequence >= head.sequence:
        return None
    changed = _changed(session, known.position)
    if len(changed) > REREAD * len(known):
        return None
    return _updated(known, head, changed, _read(session, changed, known))


def _packed(table: ImageTable) -> Derived:
    """The table as it is kept, without the values that no image has any more."""
    arrays: dict[str, npt.NDArray[Any]] = {**{name: getattr(table, name) for name in ARRAYS}, **table.scalars}
    values: dict[str, list[str]] = {}
    for name, column in table.columns.items():
        used, arrays[name] = np.unique(column.codes, return_inverse=True)
        arrays[name] = arrays[name].astype(np.int32)
        values[name] = [column.values[code] for code in used.tolist()]
    return Derived(table.position, arrays, values)


def _unpacked(derived: DerivedFiles, session: Session) -> ImageTable | None:
    kept = derived.read(session, TABLE, before_removals=True)
    if kept is None:
        return None
    columns = {name: Column(kept.arrays[name], tuple(values)) for name, values in kept.values.items()}
    scalars = {field: kept.arrays[field] for field in SCALARS}
    return ImageTable(kept.position, **{name: kept.arrays[name] for name in ARRAYS}, columns=columns, scalars=scalars)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows as they were read, in no order."""

    ids: Ids
    cases: Ids
    patients: Ids
    columns: dict[str, Column]
    scalars: dict[str, npt.NDArray[Any]]


def _changed(session: Session, position: LogPosition) -> Ids:
    query = select(ChangeRow.image_id).where(ChangeRow.sequence > position.sequence).distinct()
    return np.array(sorted(session.scalars(query)), dtype=np.int64)


def _read(session: Session, image_ids: Ids | None, known: ImageTable | None) -> _Rows:
    """The rows of these images, or of all; codes go on from those of `known`."""
    absent = () if has_scale(session) else ("mpp",)
    of_image, image_scalars = _selected(ImageRow, IMAGE_LABELS, "image", absent)
    images = _fetched(session, select(ImageRow.id, ImageRow.case_id, *of_image), ImageRow.id, image_ids)
    case_ids = np.array(images[1], dtype=np.int64)
    wanted = None if image_ids is None else np.unique(case_ids)
    of_case, case_scalars = _selected(CaseRow, CASE_LABELS, "case", ())
    cases = _fetched(session, select(CaseRow.id, CaseRow.patient_id, *of_case), CaseRow.id, wanted)
    order = np.argsort(np.array(cases[0], dtype=np.int64))
    row = order[np.searchsorted(np.array(cases[0], dtype=np.int64)[order], case_ids)]

    def column(name: str, values: Sequence[str]) -> Column:
        return _encoded(values, known.columns[name].values if known else ())

    image_values = dict(zip((*IMAGE_LABELS, *image_scalars), images[2:], strict=True))
    case_values = dict(zip((*CASE_LABELS, *case_scalars), cases[2:], strict=True))
    columns = {name: column(name, image_values[name]) for name in IMAGE_LABELS}
    for name in CASE_LABELS:
        of_cases = column(name, case_values[name])
        columns[name] = Column(of_cases.codes[row], of_cases.values)
    scalars = {field: np.array(image_values[field], _TYPES[SCALARS[field].kind]) for field in image_scalars}
    for field in case_scalars:
        scalars[field] = np.array(case_values[field], _TYPES[SCALARS[field].kind])[row]
    return _Rows(
        ids=np.array(images[0], dtype=np.int64),
        cases=case_ids,
        patients=np.array(cases[1], dtype=np.int64)[row],
        columns=columns,
        scalars=scalars,
    )


def _selected(
    table: type[CaseRow] | type[ImageRow], labels: Sequence[str], of: str, absent: Sequence[str]
) -> tuple[list[Any], list[str]]:
    """The columns to select: the labels, then the flags and numbers of a table; and the fields of these. A column that
    an archive of an earlier version lacks is NULL."""
    scalars = {field: column.name for field, column in SCALARS.items() if column.of == of}
    names = (*labels, *scalars.values())
    return [null().label(name) if name in absent else getattr(table, name) for name in names], list(scalars)


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
    whole = ImageTable(position, rows.ids, rows.cases, rows.patients, rows.columns, rows.scalars)
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
        {name: Column(joined(table.columns[name].codes, new.codes), new.values) for name, new in rows.columns.items()},
        {field: joined(table.scalars[field], now) for field, now in rows.scalars.items()},
    )
