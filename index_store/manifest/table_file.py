"""Read a table from a file: CSV with any usual separator, JSON lines, or an Excel workbook.

The format is recognised by the content, not by the name. A line that cannot be read becomes a `Problem`, and the
others are read; a file that is no table raises `ManifestError`.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from index_store.errors import ManifestError
from index_store.manifest.table import Table, cell_text, fold, known_columns
from index_store.manifest.workbook import read_workbook
from index_store.records import Problem, lines_text

SEPARATORS = (",", ";", "\t", "|")
MAX_BYTES = 512 * 1024**2
MAX_LINES = 10_000_000
MAX_LINE = 4 * 1024**2
"""Characters of one line. A line of separators alone would become as many cells."""
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
        return read_workbook(path.name, data, wanted, max_rows)
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
    separator = _stated_separator(lines) or max(
        SEPARATORS, key=lambda mark: len(known_columns(_header(lines, mark), wanted))
    )
    header: list[str] | None = None
    short: list[int] = []
    for line, cells in _rows(table, lines, separator):
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = table.name_columns(cells, wanted)
        elif len(cells) > len(header):
            table.report(
                line,
                f"has {len(cells)} cells, the header has {len(header)}",
                "Put quotes around text with separators.",
            )
        else:
            if any(header[len(cells) :]):
                short.append(line)
            table.keep(line, dict(zip(header, cells, strict=False)), max_rows)
    if short:
        table.notes.append(
            f"fewer cells than the header has ({lines_text(short)}): those that are missing were taken as empty. Put "
            "quotes around text of several lines."
        )


def _stated_separator(lines: list[str]) -> str:
    """The separator that a first line `sep=;` states, as Excel and many exports write it; the line is emptied. Empty
    where there is none."""
    first = lines[0].lstrip("\ufeff").rstrip("\r\n").strip(" ") if lines else ""
    stated = re.fullmatch(r'"?sep=(.|\\t)"?[,;]*', first, re.I)
    if stated is None:
        return ""
    lines[0] = "\n"
    return "\t" if stated[1] == "\\t" else stated[1]


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
            values = json.loads(row, object_pairs_hook=_each_once, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            table.report(line, f"is not JSON ({error})", "Write one object a line.")
            continue
        if not isinstance(values, dict):
            table.report(line, "is not a JSON object", 'Write {"image": …, "report": …}.')
            continue
        cells = {fold(name.strip(), wanted): cell_text(value) for name, value in values.items()}
        if len(cells) < len(values):
            table.report(line, "gives one column twice", "Remove one of the two.")
            continue
        columns.update(dict.fromkeys(cells))
        nested = [
            name for name, value in values.items() if fold(name, wanted) in wanted and isinstance(value, dict | list)
        ]
        if nested:
            table.report(line, f"holds several values in column {nested[0][:40]}", "Write one text.")
            continue
        table.keep(line, cells, max_rows)
    table.columns = tuple(columns)


def _no_number(_: str) -> None:
    """NaN and Infinity, which writers of JSON leave where there is no value."""


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("it gives one name twice")
    return values
