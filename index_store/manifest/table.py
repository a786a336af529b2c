"""A table as it is read from a file: rows of text by column name, and the problems of lines that cannot be read."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from index_store.errors import ManifestError
from index_store.manifest.cells import UNSEEN, without_guard
from index_store.records import Problem


@dataclass(frozen=True)
class Record:
    """One row: its line number, and its cells by column name."""

    line: int
    cells: dict[str, str]


@dataclass
class Table:
    """The rows of a file, and the problems of those that could not be read."""

    name: str
    columns: tuple[str, ...] = ()
    records: list[Record] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Notes on the whole file, such as worksheets that were not read."""
    nameless: list[int] = field(default_factory=list)
    """Lines that hold something in a column without a name."""
    doubtful: list[tuple[int, str, str]] = field(default_factory=list)
    """Lines that cannot be taken as they stand, with what is wrong and advice, before their numbers are final."""

    def report(self, line: int, what: str, advice: str) -> None:
        """Add a problem of a line."""
        self.problems.append(Problem(f"{self.name}, line {line}", what, advice))

    def name_columns(self, cells: Sequence[str], wanted: Sequence[str]) -> list[str]:
        """Take the header's cells as names of columns. Raises ManifestError where two are alike."""
        names = [fold(without_guard(cell.strip()), wanted) for cell in cells]
        named = [name for name in names if name]
        twice = sorted({name for name in named if named.count(name) > 1})
        if twice:
            raise ManifestError(f"{self.name} has more than one column {', '.join(twice)}. Rename or remove one.")
        self.columns = tuple(named)
        return names

    def keep(self, line: int, cells: dict[str, str], max_rows: int) -> None:
        """Add a row. Raises ManifestError where there are `max_rows` already."""
        if len(self.records) >= max_rows:
            raise ManifestError(f"{self.name} has more than {max_rows} rows. Split it.")
        left_out = cells.pop("", "").strip()
        if left_out and not left_out.isdecimal():  # a table's row numbers have no name either
            self.nameless.append(line)
        self.records.append(Record(line, cells))


def known_columns(columns: Sequence[str], wanted: Sequence[str]) -> set[str]:
    """Those of `wanted` that are among the columns."""
    return {column.strip().lower() for column in columns} & set(wanted)


def fold(column: str, wanted: Sequence[str]) -> str:
    """The column's name: in lower case, and without what shows nothing, where it is one of `wanted`; else as it
    stands."""
    plain = column.translate(UNSEEN).strip().lower()
    return plain if plain in wanted else column


def cell_text(value: object) -> str:
    """A cell of a workbook or a JSON value as a CSV manifest would have it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        # Excel keeps 17 as 17.0, and of a long number fifteen digits: others would be made up.
        return str(int(value)) if abs(value) < 1e15 else f"{value:.14E}"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
