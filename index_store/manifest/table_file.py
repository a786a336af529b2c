"""Read a table from a file: CSV with any usual separator, JSON lines, or an Excel workbook.

The format is recognised by the content, not by the name. A line that cannot be read becomes a `Problem`, and the
others are read; a file that is no table raises `ManifestError`.
"""

from __future__ import annotations

import codecs
import csv
import datetime
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from index_store.errors import ManifestError
from index_store.records import Problem

SEPARATORS = (",", ";", "\t", "|")
MAX_BYTES = 512 * 1024**2
MAX_LINES = 10_000_000
MAX_LINE = 4 * 1024**2
"""Characters of one line. A line of separators alone would become as many cells."""
MAX_WORKBOOK = 64 * 1024**2
MAX_UNPACKED = 128 * 1024**2
"""Bytes of an .xlsx file, and of the XML in it (openpyxl holds several times as much)."""
MAX_CELLS = 10_000_000
MAX_SHEET_ROWS = 1_048_576
"""Limits of a workbook, empty cells and rows counted: openpyxl fills in everything before a cell far out. The number of
rows is Excel's own limit."""
MAX_BROKEN_LINES = 1_000
"""Lines of broken quotation. After each, reading starts anew, so a file with more is refused."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ZIP = b"PK\x03\x04"


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

    def report(self, line: int, what: str, advice: str) -> None:
        """Add a problem of a line."""
        self.problems.append(Problem(f"{self.name}, line {line}", what, advice))


def read_table(path: Path, *, wanted: Sequence[str], max_rows: int) -> Table:
    """Read the table in `path`.

    Args:
        path: the file.
        wanted: known column names; separator and worksheet are those that give most of them. They are recognised in
            upper and lower case (`Image`, `REPORT`); all names are stripped.
        max_rows: limit of rows.

    Raises:
        ManifestError: not readable as a table, or longer than `max_rows`.
    """
    data = _read(path)
    if data.startswith(_ZIP):
        return _read_workbook(path.name, data, wanted, max_rows)
    table = Table(path.name)
    text = _decode(table, data)
    _check_lines(table.name, text)
    start = text.lstrip()[:1]
    if start == "[":
        raise ManifestError(f"{path.name} is a JSON list. Write one object a line (JSON lines) instead.")
    if start == "{":
        _read_json_lines(table, text, wanted, max_rows)
    else:
        _read_separated(table, text, wanted, max_rows)
    return table


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise ManifestError(f"There is no file {path}. Name a manifest: CSV, JSON lines or .xlsx.")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"{path} cannot be read ({error.strerror}). Check its permissions.") from error
    if len(data) > MAX_BYTES:
        raise ManifestError(f"{path.name} is larger than {MAX_BYTES // 1024**2} MB. Split it.")
    if not data.strip():
        raise ManifestError(f"{path.name} is empty. It needs a header line and a line for each image.")
    return data


def _decode(table: Table, data: bytes) -> str:
    encoding = next((name for mark, name in _BOMS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise ManifestError(f"{table.name} begins as {encoding} and is not. Save it as UTF-8.") from error
        try:
            text = data.decode("cp1252")
        except UnicodeDecodeError:
            raise ManifestError(f"{table.name} is no text in a known encoding. Save it as UTF-8.") from error
        table.problems.append(
            Problem(table.name, "is not UTF-8 and was read as Windows-1252", "Check accents, or save it as UTF-8.")
        )
    if "\0" in text:
        raise ManifestError(f"{table.name} is not a text file (or UTF-16 without its mark). Save it as UTF-8.")
    return text


def _check_lines(name: str, text: str) -> None:
    if text.count("\n") + text.count("\r") - text.count("\r\n") > MAX_LINES:
        raise ManifestError(f"{name} has more than {MAX_LINES} lines. Split it.")
    if max(map(len, io.StringIO(text, newline="")), default=0) > MAX_LINE:
        raise ManifestError(f"{name} has a line of more than {MAX_LINE} characters. Check that it is a manifest.")


def _read_separated(table: Table, text: str, wanted: Sequence[str], max_rows: int) -> None:
    lines = list(io.StringIO(text, newline=""))
    separator = max(SEPARATORS, key=lambda mark: len(_known(_header(lines, mark), wanted)))
    header: list[str] | None = None
    for line, cells in _rows(table, lines, separator):
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = _name_columns(table, cells, wanted)
        elif len(cells) > len(header):
            table.report(
                line,
                f"has {len(cells)} cells, the header has {len(header)}",
                "Put quotes around text with separators.",
            )
        else:
            _keep(table, line, dict(zip(header, cells, strict=False)), max_rows)


def _rows(table: Table, lines: list[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of their first line.

    After a broken row, reading starts anew at the next line, so that a quotation that was never closed costs its own
    row and not the rest of the file.
    """
    start = broken = 0
    while start < len(lines):
        reader = csv.reader(map(lines.__getitem__, range(start, len(lines))), delimiter=separator, strict=True)
        while True:
            begin = start + reader.line_num
            try:
                yield begin + 1, next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                table.report(begin + 1, f"cannot be read ({error})", "Check its quotation marks.")
                start, broken = begin + 1, broken + 1
                if broken > MAX_BROKEN_LINES:
                    raise ManifestError(
                        f"{table.name} has more than {MAX_BROKEN_LINES} lines of broken quotation, the last one line "
                        f"{start}. Check that it is the right file; then export it again."
                    ) from error
                break


def _header(lines: list[str], separator: str) -> list[str]:
    """The first line that is not blank, split at `separator` (good enough to choose the separator)."""
    first = next((line for line in lines if line.strip()), "")
    try:
        return next(csv.reader([first], delimiter=separator), [])
    except csv.Error:
        return []


def _read_json_lines(table: Table, text: str, wanted: Sequence[str], max_rows: int) -> None:
    columns: dict[str, None] = {}
    for line, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        try:
            values = json.loads(row)
        except (ValueError, RecursionError) as error:
            table.report(line, f"is not JSON ({error})", "Write one object a line.")
            continue
        if not isinstance(values, dict):
            table.report(line, "is not a JSON object", 'Write {"image": …, "report": …}.')
            continue
        cells = {_fold(name.strip(), wanted): _as_text(value) for name, value in values.items()}
        columns.update(dict.fromkeys(cells))
        _keep(table, line, cells, max_rows)
    table.columns = tuple(columns)


def _read_workbook(name: str, data: bytes, wanted: Sequence[str], max_rows: int) -> Table:
    """The first worksheet whose first row holds the most of `wanted` (COIN's own has `image` and `report`)."""
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
    return max(tables, key=lambda table: len(_known(table.columns, wanted)))


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
        cells = [_as_text(value) for value in values]
        if not any(cells):
            continue
        if header is None:
            header = _name_columns(table, cells, wanted)
        else:
            _keep(table, line, dict(zip(header, cells, strict=False)), max_rows)
    return table


def _name_columns(table: Table, cells: Sequence[str], wanted: Sequence[str]) -> list[str]:
    names = [_fold(cell.strip(), wanted) for cell in cells]
    named = [name for name in names if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise ManifestError(f"{table.name} has more than one column {', '.join(twice)}. Rename or remove one.")
    table.columns = tuple(named)
    return names


def _keep(table: Table, line: int, cells: dict[str, str], max_rows: int) -> None:
    if len(table.records) >= max_rows:
        raise ManifestError(f"{table.name} has more than {max_rows} rows. Split it.")
    cells.pop("", None)  # columns without a name, such as a table's row numbers
    table.records.append(Record(line, cells))


def _known(columns: Sequence[str], wanted: Sequence[str]) -> set[str]:
    return {column.strip().lower() for column in columns} & set(wanted)


def _fold(column: str, wanted: Sequence[str]) -> str:
    return column.lower() if column.lower() in wanted else column


def _as_text(value: object) -> str:
    """A cell of a workbook or a JSON value as a CSV manifest would have it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # Excel keeps 17 as 17.0
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
