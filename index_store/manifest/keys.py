"""What a manifest's keys look like together: columns under other names, one key in two spellings, one for many.

A key that is not read as such, or stands for several patients, is stored without an error, and makes searches show a
patient's own cases, or hide those of others. Nothing is changed here but the name of a column: notes say what was seen.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from index_store.manifest.cells import KEYS
from index_store.manifest.table import Record, Table
from index_store.records import lines_text

_OTHER_NAME = re.compile(r"(case|patient|slide)(?:id|identifier|no|nr|num|number|key|code)")
_MEANT = {
    name: column
    for column, names in {
        "image": "file filename filepath path imagepath imagefile imagename img picture photo",
        "report": "text reporttext fullreport narrative microscopy reportbody freetext",
        "category": "diagnosis diagnoses finding findings result results label class classification conclusion "
        "interpretation impression categoryofdiagnosis diagnosticcategory dx",
        "site": "organ specimensite anatomicsite anatomicalsite bodysite location",
        "stain": "staining stainingmethod",
        "preparation": "preparationmethod prep",
        "mpp": "resolution pixelsize scale",
    }.items()
    for name in names.split()
}
"""Names under which tables hold what a known column is for. They are kept as what they say, and noted."""
_ALIKE = 0.8
"""Of two names that may be one with a slip of the pen (`difflib`)."""
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


def meant_columns(table: Table, known: Sequence[str]) -> dict[str, str]:
    """Columns that are not known, each with the known one that it may be meant for, and that the table lacks."""
    found = {}
    for name in table.columns:
        squeezed = _squeezed(name)
        slips = get_close_matches(squeezed, known, 1, _ALIKE)
        column = _MEANT.get(squeezed) or (slips[0] if slips else "")
        if column and name not in known and column not in table.columns and (column != "mpp" or column not in known):
            found[name] = column
    return found


def meant_notes(table: Table, known: Sequence[str]) -> Iterator[str]:
    """Notes on columns that are not read: what stands there takes no part in filters, agreement and evaluation."""
    if table.nameless:
        yield f"a column without a name was left out ({lines_text(table.nameless)}): give it one to keep it."
    meant = meant_columns(table, known)
    for column in dict.fromkeys(meant.values()):
        names = [name[:40] for name in meant if meant[name] == column]
        what = f"the column {names[0]} was" if len(names) == 1 else f"the columns {', '.join(names)} were"
        yield f"{what} kept with the case and not read as `{column}`: if that is meant, rename it and add again."


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
