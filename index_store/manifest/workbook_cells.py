"""Cells of a worksheet as Excel shows them: padded numbers, merged cells, formulas without a value."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass

MAX_MERGED = 100_000
"""Cells of all merged ranges that are told apart; more are refused with their sheet."""
# Every repetition has a limit: a tag that is never closed would otherwise be searched to the end for each that begins.
_RANGE = re.compile(rb'<(?:\w{1,9}:)?mergeCell\s[^<>]{0,100}?\bref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"')
_FORMULA = re.compile(rb"<(?:\w{1,9}:)?f[\s/>]")
_EMPTY_FORMULA = re.compile(
    rb'<(?:\w{1,9}:)?c\s[^<>]{0,100}?\br="([A-Z]{1,3})(\d{1,7})"[^<>]{0,100}>\s{0,9}'
    rb"<(?:\w{1,9}:)?f(?:[^<>]{0,200}/>|[^<>]{0,200}>[^<]{0,9000}</(?:\w{1,9}:)?f>)\s{0,9}"
    rb"(?:<(?:\w{1,9}:)?v\s{0,9}/>|<(?:\w{1,9}:)?v>\s{0,9}</(?:\w{1,9}:)?v>)?\s{0,9}</(?:\w{1,9}:)?c>"
)
_PADDED = re.compile(r"0{2,}")


@dataclass(frozen=True)
class Peculiar:
    """Cells (row, column; both from 1) that hold nothing although a person sees something there."""

    merged: dict[tuple[int, int], str]
    """To which range, such as "B2:B4"; the first cell of a range holds its value and is left out."""
    formulas: frozenset[tuple[int, int]]
    """Formulas that were never computed."""
    rows: frozenset[int]
    """The rows of both."""


def peculiar_cells(archive: zipfile.ZipFile, path: str) -> Peculiar:
    """The peculiar cells of the worksheet stored under `path`."""
    try:
        xml = archive.read(path.lstrip("/"))
    except KeyError:
        return Peculiar({}, frozenset(), frozenset())
    merged: dict[tuple[int, int], str] = {}
    for first, top, last, bottom in _RANGE.findall(xml):
        columns = range(_number(first), _number(last) + 1)
        rows = range(int(top), int(bottom) + 1)
        if len(merged) + len(columns) * len(rows) > MAX_MERGED:
            break
        name = f"{first.decode()}{top.decode()}:{last.decode()}{bottom.decode()}"
        merged.update({(row, column): name for row in rows for column in columns})
        merged.pop((rows[0], columns[0]), None)
    formulas = frozenset(
        (int(row), _number(column)) for column, row in (_EMPTY_FORMULA.findall(xml) if _FORMULA.search(xml) else ())
    )
    return Peculiar(merged, formulas, frozenset(row for row, _ in (*merged, *formulas)))


def _number(letters: bytes) -> int:
    value = 0
    for letter in letters:
        value = 26 * value + letter - 64
    return value


def shown_number(value: object, number_format: str) -> str | None:
    """A whole number as Excel shows it under a format of zeros ("00000000", `"S-"0000`, "000-00-0000").

    None where the format is of another kind (general, decimals, thousands, dates): the number stands for itself.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 0:
        return None
    section = number_format.split(";")[0]
    if not _PADDED.search(section) and '"' not in section:
        return None
    pieces: list[tuple[bool, str]] = []  # whether it is a digit's place, and the character
    position = 0
    while position < len(section):
        character = section[position]
        if character == '"':
            end = section.find('"', position + 1)
            if end < 0:
                return None
            pieces += [(False, letter) for letter in section[position + 1 : end]]
            position = end
        elif character == "\\" and position + 1 < len(section):
            position += 1
            pieces.append((False, section[position]))
        elif character == "[":
            end = section.find("]", position)
            if end < 0:
                return None
            position = end
        elif character in "0#":
            pieces.append((True, character))
        elif character in "-/ ():":
            pieces.append((False, character))
        else:
            return None
        position += 1
    digits = list(str(int(value)))
    shown: list[str] = []
    places = sum(is_place for is_place, _ in pieces)
    if not places:
        return None
    for is_place, character in reversed(pieces):
        if not is_place:
            shown.append(character)
            continue
        places -= 1
        if not places:  # the first place takes all digits that are left
            shown += reversed(digits) if digits else (["0"] if character == "0" else [])
            digits = []
        elif digits:
            shown.append(digits.pop())
        elif character == "0":
            shown.append("0")
    return "".join(reversed(shown)).strip()
