"""The one writer of CSV: no cell is a formula to a spreadsheet that opens the file.

A report, a label or a reader's comment that begins like a formula would be computed, and can send what stands beside it
elsewhere. Such a cell gets an apostrophe in front, which spreadsheets take for "this is text". Numbers stay numbers.
`read_csv`, and the readers of manifests, take the apostrophe off again.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

# Full-width forms are formulas to spreadsheets in East Asian languages.
_FORMULA = re.compile(r"'*(?:[\t\r\n]|\s*[=+\-@＝＋－＠])")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d+)?|[.,]\d+)(?:[eE][+-]?\d+)?%?")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]], *, line_end: str = "\r\n") -> str:
    """Rows as CSV with a line of headings. Raises ValueError where a row has another column."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns), lineterminator=line_end)
    writer.writerow({column: guarded(column) for column in columns})
    for row in rows:
        writer.writerow({name: guarded(value) for name, value in row.items()})
    return text.getvalue()


def read_csv(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """The rows of a file that `csv_text` wrote."""
    for row in csv.DictReader(lines):
        yield {without_guard(name): without_guard(value or "") for name, value in row.items() if name is not None}


def guarded(value: object) -> object:
    """A cell with an apostrophe in front where a spreadsheet would compute it."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value) or not _FORMULA.match(value):
        return value
    return f"'{value}"


def without_guard(value: str) -> str:
    """The inverse of `guarded`."""
    return value[1:] if value.startswith("'") and _FORMULA.match(value, 1) else value
