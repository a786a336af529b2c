"""A table of reports to generate images from: a manifest of which only the reports are needed.

COIN's own spreadsheet (`image`, `report`) is such a table, and so is every manifest; the images that it names need not
exist. The other cells of a row are kept as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from index_store.errors import ManifestError
from index_store.manifest.cells import without_guard
from index_store.manifest.manifest import COLUMNS, MAX_ROWS, Refusal, check_text, columns_found
from index_store.manifest.table import Record
from index_store.manifest.table_file import read_table
from index_store.records import Problem


@dataclass(frozen=True)
class ReportRow:
    """One report, and the other cells of its row by column; empty cells are left out."""

    line: int
    report: str
    cells: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportTable:
    """The rows that have a report, in their order, and the problems of the others."""

    path: Path
    columns: tuple[str, ...]
    """Names as in the file, with `report`."""
    rows: tuple[ReportRow, ...]
    problems: tuple[Problem, ...]


def read_report_table(path: Path | str, *, max_rows: int = MAX_ROWS) -> ReportTable:
    """Read the reports of a CSV, JSON-lines or .xlsx file (formats as of `read_manifest`).

    Raises:
        ManifestError: the file is no table, has no column `report`, or is too long. What is wrong with single rows is
            in `ReportTable.problems` and stops nothing.
    """
    path = Path(path)
    table = read_table(path, wanted=COLUMNS, max_rows=max_rows)
    if "report" not in table.columns:
        raise ManifestError(
            f"{path.name} has no column report. Columns found: {columns_found(table)}. Call the one with the reports "
            "`report`."
        )
    rows, problems = [], [*table.problems, *(Problem(path.name, note.rstrip("."), "Check it.") for note in table.notes)]
    for record in table.records:
        try:
            rows.append(_row(record))
        except Refusal as refusal:
            problems.append(Problem(f"{path.name}, line {record.line}", refusal.what, refusal.advice))
    return ReportTable(path, table.columns, tuple(rows), tuple(problems))


def _row(record: Record) -> ReportRow:
    cells = {column: without_guard(value.strip()) for column, value in record.cells.items()}
    for column, value in cells.items():
        check_text(column, value)
    report = cells.pop("report", "")
    if not report:
        raise Refusal("has no report", "Write the report.")
    return ReportRow(record.line, report, {column: value for column, value in cells.items() if value})
