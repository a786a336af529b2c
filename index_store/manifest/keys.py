"""What a manifest's keys look like together: columns under other names, one key in two spellings, one for many.

A key that is not read as such, or stands for several patients, is stored without an error, and makes searches show a
patient's own cases, or hide those of others. Nothing is changed here but the name of a column: notes say what was seen.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from index_store.manifest.cells import KEYS
from index_store.manifest.table import Record, Table
from index_store.records import lines_text

_OTHER_NAME = re.compile(r"(case|patient|slide)(?:id|identifier|no|nr|num|number|key|code)")
_PADDING = re.compile(r"(?<!\d)0+(?=\d)")
_MANY = 5
"""Cases of one patient, and times as many as any other has, from which that is noted."""


def read_other_names(table: Table) -> None:
    """Read a column such as "Patient ID" as `patient`, where the table has no column of that name, with a note."""
    for key in KEYS:
        named = [
            name for name in table.columns if (found := _OTHER_NAME.fullmatch(_squeezed(name))) and found[1] == key
        ]
        if key in table.columns or not named:
            continue
        if len(named) > 1:
            table.notes.append(f"several columns may be `{key}` ({', '.join(named)[:80]}): rename the one that is.")
            continue
        table.notes.append(f"the column {named[0][:40]} was read as `{key}`.")
        table.columns = tuple(key if name == named[0] else name for name in table.columns)
        table.records[:] = [
            Record(row.line, {key if name == named[0] else name: value for name, value in row.cells.items()})
            for row in table.records
        ]


def keys_alike(column: str, rows: Sequence[tuple[int, Mapping[str, str]]]) -> Iterator[str]:
    """A note where keys differ only as the same one may be written twice: capitals, spaces, zeros in front, `.0`."""
    spellings: dict[str, dict[str, int]] = {}
    for line, cells in rows:
        if value := cells.get(column):
            spellings.setdefault(_plain(value), {}).setdefault(value, line)
    lines = [line for lines in spellings.values() if len(lines) > 1 for line in lines.values()]
    if lines:
        yield (
            f"some keys in column {column} differ only in capitals, spaces, zeros in front or `.0` "
            f"({lines_text(lines)}) and were read as several: where two are one {column}, write them alike."
        )


def one_for_many(rows: Sequence[tuple[int, Mapping[str, str]]]) -> Iterator[str]:
    """A note where one patient has far more cases than any other: the key may stand for those who have none."""
    cases: dict[str, set[str]] = {}
    first: dict[str, int] = {}
    for line, cells in rows:
        if patient := cells.get("patient"):
            cases.setdefault(patient, set()).add(cells.get("case") or cells["image"])
            first.setdefault(patient, line)
    most = sorted(cases, key=lambda patient: len(cases[patient]), reverse=True)
    if len(most) > 2 and len(cases[most[0]]) >= max(_MANY, _MANY * len(cases[most[1]])):
        yield (
            f"one patient has {len(cases[most[0]])} cases ({lines_text([first[most[0]]])} …), and no other more than "
            f"{len(cases[most[1]])}: if that key stands for patients without one, leave the cells empty."
        )


def _plain(key: str) -> str:
    text = re.sub(r"\s+", "", unicodedata.normalize("NFKC", key)).casefold()
    return _PADDING.sub("", text.removesuffix(".0") if text[:-2].isdigit() else text)


def _squeezed(column: str) -> str:
    return re.sub(r"[\s_\-./()\[\]#]+", "", column).casefold()
