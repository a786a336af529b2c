"""Read a table from an Excel workbook (.xlsx)."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from index_store.errors import ManifestError
from index_store.manifest.table import Table, cell_text, known_columns
from index_store.manifest.workbook_cells import Peculiar, peculiar_cells, shown_number

MAX_WORKBOOK = 64 * 1024**2
MAX_UNPACKED = 128 * 1024**2
"""Bytes of an .xlsx file, and of the XML in it (openpyxl holds several times as much)."""
MAX_CELLS = 10_000_000
MAX_SHEET_ROWS = 1_048_576
"""Limits of a workbook, empty cells and rows counted: openpyxl fills in everything before a cell far out. The number of
rows is Excel's own limit."""
_PER_CENT = re.compile(r"0(?:\.(0+))?%")


def read_workbook(name: str, data: bytes, wanted: Sequence[str], max_rows: int) -> Table:
    """The worksheets whose first row holds the most of `wanted` (COIN's own has `image` and `report`).

    Worksheets with the same known columns are read one after the other, and their lines count on. Others that hold
    anything, and hidden ones, are named in the table's notes.

    Args:
        name: of the file, for messages.
        data: its bytes.
        wanted: known column names.
        max_rows: limit of rows.

    Raises:
        ManifestError: no readable workbook, or larger than the limits.
    """
    import openpyxl

    if len(data) > MAX_WORKBOOK:
        raise ManifestError(f"{name} is larger than {MAX_WORKBOOK // 1024**2} MB. Split it, or save it as CSV.")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED:
            raise ManifestError(
                f"{name} unpacks to more than {MAX_UNPACKED // 1024**2} MB. Split it, or save it as CSV."
            )
        workbook = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        allowance = _Allowance(name, MAX_CELLS)
        sheets = [_read_worksheet(name, sheet, archive, wanted, max_rows, allowance) for sheet in workbook.worksheets]
    except ManifestError:
        raise
    except Exception as error:  # openpyxl lets zip, XML and key errors through as they come
        raise ManifestError(f"{name} is not a readable .xlsx workbook ({error}). Save it again.") from error
    if not sheets:
        raise ManifestError(f"{name} has no worksheet. It needs a header row and a row for each image.")
    return _joined(name, sheets, wanted, max_rows)


@dataclass(frozen=True)
class _Sheet:
    """A worksheet as it was read."""

    title: str
    hidden: bool
    table: Table
    lines: int


def _joined(name: str, sheets: Sequence[_Sheet], wanted: Sequence[str], max_rows: int) -> Table:
    """The rows of all worksheets that have the columns of the best one."""
    visible = [sheet for sheet in sheets if not sheet.hidden] or sheets
    best = max(visible, key=lambda sheet: len(known_columns(sheet.table.columns, wanted)))
    known = known_columns(best.table.columns, wanted)
    alike = [sheet for sheet in visible if known and known_columns(sheet.table.columns, wanted) == known] or [best]
    table = Table(name, tuple(dict.fromkeys(column for sheet in alike for column in sheet.table.columns)))
    offset = 0
    for sheet in alike:
        for record in sheet.table.records:
            table.keep(record.line + offset, record.cells, max_rows)
        for line, what, advice in sheet.table.doubtful:
            table.report(line + offset, what, advice)
        if len(alike) > 1:
            rows = f"{len(sheet.table.records)} row{'' if len(sheet.table.records) == 1 else 's'}"
            start = f", whose lines count on from {offset + 1}" if offset else ""
            table.notes.append(f"the worksheet '{sheet.title[:40]}' was read ({rows}{start}).")
        offset += sheet.lines
    for sheet in sheets:
        if sheet not in alike and sheet.table.records:
            why = "is hidden" if sheet.hidden else "has other columns"
            rows = f"{len(sheet.table.records)} row{'' if len(sheet.table.records) == 1 else 's'}"
            table.notes.append(f"the worksheet '{sheet.title[:40]}' was not read: it {why} ({rows}).")
    return table


class _Allowance:
    """The number of cells that a workbook may still have."""

    def __init__(self, name: str, cells: int) -> None:
        self._name = name
        self._left = cells

    def spend(self, cells: int) -> None:
        self._left -= cells
        if self._left < 0:
            raise ManifestError(
                f"{self._name} has more than {MAX_CELLS} cells, empty ones counted. Delete empty rows and columns, or "
                "save it as CSV."
            )


def _read_worksheet(
    name: str,
    worksheet: object,
    archive: zipfile.ZipFile,
    wanted: Sequence[str],
    max_rows: int,
    allowance: _Allowance,
) -> _Sheet:
    table = Table(name)
    header: list[str] | None = None
    sheet: Any = worksheet
    peculiar = peculiar_cells(archive, getattr(sheet, "_worksheet_path", ""))
    sheet.reset_dimensions()  # some programs write wrong dimensions; rows are counted instead
    line = 0
    for line, cells in enumerate(sheet.iter_rows(), start=1):
        allowance.spend(1 + len(cells))
        if line > MAX_SHEET_ROWS:
            raise ManifestError(f"{name} has a row beyond {MAX_SHEET_ROWS}, which no worksheet has. Save it as CSV.")
        texts = [_cell_text(cell) for cell in cells]
        if not any(texts) and (header is None or line not in peculiar.rows):
            continue
        if header is None:
            header = table.name_columns(texts, wanted)
        elif line in peculiar.rows and (trouble := _trouble(line, header, texts, peculiar, wanted)):
            table.doubtful.append((line, *trouble))
        elif any(texts):
            table.keep(line, dict(zip(header, texts, strict=False)), max_rows)
    return _Sheet(str(sheet.title), sheet.sheet_state != "visible", table, line)


def _cell_text(cell: Any) -> str:
    """A cell as Excel shows it: truth values, per cents, whole numbers under a format of zeros. Else its value."""
    value = cell.value
    if isinstance(value, bool):
        return str(value).upper()
    per_cent = _PER_CENT.fullmatch(cell.number_format or "")
    if per_cent and type(value) in (int, float):
        return f"{100 * value:.{len(per_cent[1] or '')}f}%"
    if type(value) in (int, float) and (shown := shown_number(value, cell.number_format or "")) is not None:
        return shown
    return cell_text(value)


def _trouble(
    line: int, header: Sequence[str], texts: Sequence[str], peculiar: Peculiar, wanted: Sequence[str]
) -> tuple[str, str] | None:
    """Why a row of these cells cannot be taken as it stands: what is wrong, and what to do."""
    for column, name in enumerate(header, start=1):
        if name not in wanted or (column <= len(texts) and texts[column - 1]):
            continue
        if (line, column) in peculiar.formulas:
            return f"has a formula without a value in column {name}", "Open the file in Excel, and save it."
        if merged := peculiar.merged.get((line, column)):
            return f"has no {name} of its own: its cell is merged ({merged})", "Unmerge the cells, and fill each."
    return None
