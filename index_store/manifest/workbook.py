"""Read a table from an Excel workbook (.xlsx)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

from index_store.errors import ManifestError
from index_store.manifest.table import Table, cell_text, known_columns

MAX_WORKBOOK = 64 * 1024**2
MAX_UNPACKED = 128 * 1024**2
"""Bytes of an .xlsx file, and of the XML in it (openpyxl holds several times as much)."""
MAX_CELLS = 10_000_000
MAX_SHEET_ROWS = 1_048_576
"""Limits of a workbook, empty cells and rows counted: openpyxl fills in everything before a cell far out. The number of
rows is Excel's own limit."""


def read_workbook(name: str, data: bytes, wanted: Sequence[str], max_rows: int) -> Table:
    """The first worksheet whose first row holds the most of `wanted` (COIN's own has `image` and `report`).

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
        unpacked = sum(entry.file_size for entry in zipfile.ZipFile(io.BytesIO(data)).infolist())
        if unpacked > MAX_UNPACKED:
            raise ManifestError(
                f"{name} unpacks to more than {MAX_UNPACKED // 1024**2} MB. Split it, or save it as CSV."
            )
        workbook = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        cells = _Allowance(name, MAX_CELLS)
        tables = [_read_worksheet(name, worksheet, wanted, max_rows, cells) for worksheet in workbook.worksheets]
    except ManifestError:
        raise
    except Exception as error:  # openpyxl lets zip, XML and key errors through as they come
        raise ManifestError(f"{name} is not a readable .xlsx workbook ({error}). Save it again.") from error
    if not tables:
        raise ManifestError(f"{name} has no worksheet. It needs a header row and a row for each image.")
    return max(tables, key=lambda table: len(known_columns(table.columns, wanted)))


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


def _read_worksheet(name: str, worksheet: object, wanted: Sequence[str], max_rows: int, allowance: _Allowance) -> Table:
    table = Table(name)
    header: list[str] | None = None
    worksheet.reset_dimensions()  # type: ignore[attr-defined]  # some programs write wrong dimensions; rows are counted instead
    rows = worksheet.iter_rows(values_only=True)  # type: ignore[attr-defined]
    for line, values in enumerate(rows, start=1):
        allowance.spend(1 + len(values))
        if line > MAX_SHEET_ROWS:
            raise ManifestError(f"{name} has a row beyond {MAX_SHEET_ROWS}, which no worksheet has. Save it as CSV.")
        cells = [cell_text(value) for value in values]
        if not any(cells):
            continue
        if header is None:
            header = table.name_columns(cells, wanted)
        else:
            table.keep(line, dict(zip(header, cells, strict=False)), max_rows)
    return table
