"""The table of counts: read in place of counting, and changed in the transaction of every change.

A table without its totals is not kept: in a new archive, in one that was just migrated, and (the table being absent)
where an archive of the version before is only read. Then readers count the rows, and the next change fills the table.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, select, text
from sqlalchemy.orm import Session

from index_store.catalog.case_reader import in_chunks
from index_store.catalog.catalog import HAS_COUNTS, Catalog
from index_store.catalog.counts.tally import (
    CASES,
    DERIVED,
    IMAGE_KINDS,
    IMAGES,
    LABELS,
    PATIENTS,
    REPORT_VECTORS,
    REPORTS,
    SCALE,
    SOURCE,
    VECTORS,
    Tally,
    tally,
    whole_tally,
)
from index_store.catalog.filters import LABELS as LABEL_COLUMNS
from index_store.catalog.models import CaseRow, CountRow, PatientRow

UNKNOWN_SCALE = "unknown"

_ADD = text(
    "INSERT INTO counts (id, kind, value, number) VALUES (:id, :kind, :value, :number) "
    "ON CONFLICT (id) DO UPDATE SET number = counts.number + excluded.number"
)


@dataclass(frozen=True)
class Counts:
    """How much an archive holds, as one transaction sees it."""

    numbers: Tally

    @property
    def patients(self) -> int:
        """All patients."""
        return self.numbers[PATIENTS, ""]

    @property
    def cases(self) -> int:
        """All cases."""
        return self.numbers[CASES, ""]

    @property
    def images(self) -> int:
        """All images."""
        return self.numbers[IMAGES, ""]

    @property
    def reports(self) -> int:
        """Reports with any text, of cases with an image."""
        return self.numbers[REPORTS, ""]

    def vectors(self, encoder_id: int) -> int:
        """Images with a vector of this encoder."""
        return self.numbers[VECTORS, str(encoder_id)]

    def report_vectors(self, encoder_id: int) -> int:
        """Reports with a vector of this encoder, of their present text."""
        return self.numbers[REPORT_VECTORS, str(encoder_id)]

    def labels(self) -> dict[tuple[str, str, str], int]:
        """The combinations of site, system and category that occur, with their number of cases, in order."""
        found = {tuple(json.loads(value)): cases for value, cases in self._of(LABELS).items()}
        return dict(sorted(found.items()))

    def facets(self) -> dict[str, dict[str, int]]:
        """By column, the values with their number of cases, most frequent first."""
        found: dict[str, Counter[str]] = {name: Counter() for name in LABEL_COLUMNS}
        for labels, cases in self.labels().items():
            for name, value in zip(LABEL_COLUMNS, labels, strict=True):
                if value:
                    found[name][value] += cases
        found |= {name: self._of(name) for name in (*IMAGE_KINDS, SOURCE)}
        return {
            name: dict(sorted(values.items(), key=lambda entry: (-entry[1], entry[0])))
            for name, values in found.items()
        }

    def derived(self) -> dict[str, int]:
        """How many cases have a site, a system and a category that was read from their report."""
        found: Counter[str] = Counter()
        for names, cases in self._of(DERIVED).items():
            found.update(dict.fromkeys(names.split(","), cases))
        return {column: found[column] for column in LABEL_COLUMNS}

    def scales(self) -> dict[str, int]:
        """Images by µm a pixel, to two digits, ascending; then those whose scale is not known."""
        known = dict(sorted(self._of(SCALE).items(), key=lambda entry: float(entry[0])))
        unknown = self.images - sum(known.values())
        return {**known, **({UNKNOWN_SCALE: unknown} if unknown else {})}

    def _of(self, kind: str) -> Counter[str]:
        return Counter({value: n for (of_kind, value), n in self.numbers.items() if of_kind == kind})


def counts(session: Session) -> Counts:
    """The counts as the session sees the archive: from the table, or from the rows where it is not kept."""
    return Counts(stored(session) or whole_tally(session))


def stored(session: Session) -> Tally | None:
    """What the table says; None where it is not kept."""
    if not session.info.get(HAS_COUNTS, True):
        return None
    rows = session.execute(select(CountRow.kind, CountRow.value, CountRow.number))
    found: Tally = Counter({(kind, value): number for kind, value, number in rows})
    return found if (IMAGES, "") in found else None


def kept_vectors(session: Session, encoder_id: int) -> int | None:
    """How many images have a vector of this encoder, by the table; None where it does not say."""
    if not session.info.get(HAS_COUNTS, True):
        return None
    return _number(session, VECTORS, str(encoder_id))


@contextmanager
def following(
    session: Session,
    *,
    case_keys: Iterable[str] = (),
    patient_keys: Iterable[str] = (),
    case_ids: Iterable[int] = (),
) -> Iterator[None]:
    """Keep the counts in step with what the block changes, within the caller's transaction. O(these cases).

    Args:
        case_keys: every case that the block may add, change or remove, by its key.
        patient_keys: every patient that it may add. (One that loses its cases is known by these.)
        case_ids: further cases, by their ids.
    """
    if not _is_kept(session):
        yield
        session.flush()
        recount(session)
        return
    case_keys, patient_keys, case_ids = set(case_keys), set(patient_keys), set(case_ids)
    ids = _matching(session, CaseRow.id, CaseRow.key, case_keys) | case_ids
    former = _matching(session, CaseRow.patient_id, CaseRow.id, ids)
    named = _matching(session, PatientRow.id, PatientRow.key, patient_keys)
    before = tally(session, ids)
    before[PATIENTS, ""] = len(former | named)
    yield
    session.flush()
    after = tally(session, _matching(session, CaseRow.id, CaseRow.key, case_keys) | case_ids)
    left = _matching(session, PatientRow.id, PatientRow.id, former)
    after[PATIENTS, ""] = len(left | _matching(session, PatientRow.id, PatientRow.key, patient_keys))
    after.subtract(before)
    change(session, after)


def change(session: Session, by: Tally) -> None:
    """Add these numbers, which may be negative, in the transaction of the change that they count. A table that is not
    kept is filled."""
    if not _is_kept(session):
        recount(session)
        return
    rows = [_row(kind, value, number) for (kind, value), number in sorted(by.items()) if number]
    if rows:
        session.execute(_ADD, rows)
        for part in in_chunks(_id(*key) for key, number in by.items() if number < 0):
            session.execute(delete(CountRow).where(CountRow.id.in_(part), CountRow.number == 0, CountRow.value != ""))


def forget_encoder(session: Session, encoder_id: int) -> None:
    """Note that an encoder has no vectors any more."""
    ids = [_id(kind, str(encoder_id)) for kind in (VECTORS, REPORT_VECTORS)]
    session.execute(delete(CountRow).where(CountRow.id.in_(ids)))


def recount(session: Session) -> None:
    """Fill the table anew from the rows. O(archive)."""
    session.execute(delete(CountRow))
    session.execute(insert(CountRow), [_row(*key, number) for key, number in sorted(whole_tally(session).items())])


def recount_rows(catalog: Catalog) -> None:
    """`recount` in a transaction of its own."""
    with catalog.writing() as session:
        recount(session)


def differences(session: Session) -> list[str]:
    """What the table says and what the rows say, wherever they differ; empty where it is not kept. O(archive)."""
    kept = stored(session)
    if kept is None:
        return []
    counted = whole_tally(session)
    return [
        f"{' '.join((kind, value)).strip()}: {kept[kind, value]} noted, {counted[kind, value]} there"
        for kind, value in sorted(kept | counted)
        if kept[kind, value] != counted[kind, value]
    ]


def _row(kind: str, value: str, number: int) -> dict[str, object]:
    return {"id": _id(kind, value), "kind": kind, "value": value, "number": number}


def _id(kind: str, value: str) -> str:
    # A value may be longer than what a database server takes into an index.
    return hashlib.sha256(f"{kind}\n{value}".encode()).hexdigest()


def _is_kept(session: Session) -> bool:
    return _number(session, IMAGES, "") is not None


def _number(session: Session, kind: str, value: str) -> int | None:
    return session.scalar(select(CountRow.number).where(CountRow.id == _id(kind, value)))


def _matching(session: Session, wanted: Any, column: Any, values: Iterable[Any]) -> set[int]:
    """What `wanted` is in the rows in which `column` has one of the values."""
    queries = (select(wanted).where(column.in_(part)) for part in in_chunks(values))
    return {found for query in queries for found in session.scalars(query)}
