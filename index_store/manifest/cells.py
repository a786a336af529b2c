"""What a cell of a manifest means: placeholders for nothing, and what Excel adds to values.

A key or label that says "N/A" is not given. Taken as it stands, it would make one patient of all who have none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

KEYS = ("case", "patient", "slide")
LABELS = ("site", "system", "category", "source", "license", "kind", "stain", "preparation", "phantom")

_PLACEHOLDERS = frozenset(
    {
        *("n/a", "n.a", "na", "n\\a", "#na", "nan", "nat", "none", "null", "nil", "\\n", "unknown", "unk"),
        *("unkn", "not known", "nk", "n.k", "n/k", "not available", "not applicable", "not applic"),
        *("not given", "not stated", "not specified", "not recorded", "not provided", "not reported"),
        *("not entered", "not determined", "not done", "not assigned", "none given", "none stated"),
        *("none recorded", "none specified", "unspecified", "unassigned", "undefined", "undetermined"),
        *("missing", "no data", "no value", "no entry", "no information", "no info", "n.d", "n/d", "nd"),
        *("tbd", "tba", "tbc", "t.b.d", "to be determined", "to follow", "pending", "blank", "left blank"),
        *("empty", "void", "unbekannt", "k.a", "keine", "keine angabe", "keine angaben", "ohne angabe"),
        *("inconnu", "inconnue", "non disponible", "aucun", "aucune", "desconocido", "desconocida"),
        *("desconhecido", "ninguno", "sconosciuto", "onbekend", "sin datos", "s/d", "ditto", "idem"),
        *("as above", "same as above", "see above", "dto", "not avail", "not a number", "missing value", "<unset>"),
        *("not collected", "declined", "refused", "illegible", "unreadable", "no record", "none known", "unkown"),
        *("sans objet", "néant", "ninguna", "leer", "fehlt", "nicht bekannt", "nicht angegeben", "n.v.t", "nvt"),
        *("ukjent", "okänd", "nieznany", "brak", "yok", "bilinmiyor", "нет", "н/д", "不明", "不詳", "未知", "无", "無"),
        *("pd.na", "[object object]", "$null$", "inf", "-inf"),
    }
)
_KEY_PLACEHOLDERS = frozenset(
    {
        *("anonymous", "anon", "anonymised", "anonymized", "deidentified", "de identified", "pseudonymised"),
        *("redacted", "pseudonymized", "withheld", "removed", "hidden", "confidential", "masked", "anonym"),
        *("anonyme", "no id", "no name", "no number", "no patient", "unknown patient", "patient unknown"),
        *("unnamed", "unidentified", "nomen nescio", "same", "same patient", "unk pt", "unknown pt", "n.n"),
        *("no mrn", "no mrn available", "mrn", "phi", "name", "unlabelled", "unlabeled", "unlabelled slide"),
        *(
            "patient",
            "patient id",
            "patient name",
            "case",
            "case id",
            "slide",
            "slide id",
        ),  # a column's name, or a blank
    }
)
"""What stands where a key was taken away, or for a person of whom none is known."""
_CROSSES = re.compile(r"(?=(?:.*x){2})[x\W_]+")
_TEMPLATE = re.compile(r"[<{$%\[]+([^<>{}%\[\]]+)[>}%\]]+")
_BRACKETS = ("()", "[]", "<>", "{}", '""', "''", "“”", "**", "__", "--")
_MARKS = re.compile(r"[\s\-–—−_.,;:!·•?*/\\#=~…'\"`´“”„〃|]+")
_ERROR = re.compile(r"#(?:N/[ADV]|NV|GETTING_DATA|(?=\D)[¡¿]?[^\s#!?]{2,14}[!?])", re.I)
"""Excel's errors, in whatever language: #N/A, #NV, #REF!, #¡VALOR!, #NOM?"""
_AS_TEXT = re.compile(r'="((?:[^"]|"")*)"')
_APOSTROPHE = re.compile(r"'(?=[\d=+@-])")
_GUARD = re.compile(r"'(?='*(?:[\t\r\n]|\s*[=+\-@＝＋－＠]))")
"""The apostrophe by which a writer of CSV keeps a spreadsheet from computing a cell (`generation/csv_text.py`)."""
_SHORTENED = re.compile(r"\d(?:[.,]\d+)?E\+\d{1,3}", re.I)
_MADE_A_DATE = re.compile(
    r"(?:\d{1,2}[-. ]{1,2}(?:MMM)|(?:MMM)[-. ]\d{2})|(?:19|20)\d\d-\d\d-\d\dT00:00:00".replace(
        "MMM", "jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec|mär|mrz|mai|okt|dez"
    ),
    re.I,
)
UNSEEN = dict.fromkeys(map(ord, "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\u00ad"))
"""Characters that show nothing, for `str.translate`."""


def clean_cell(column: str, value: str) -> str:
    """A cell's value without what Excel and exports put around it: `="00123"` and `'00123` are 00123.

    Keys and labels are brought to one form of Unicode (NFC), with single spaces and without characters that show
    nothing: two that look the same are the same.
    """
    value = value.strip()
    if not value:
        return ""
    if _ERROR.fullmatch(value):
        return ""  # a formula's error is no value, whatever the column
    guarded = _GUARD.match(value) is not None
    value = without_guard(value)
    if not guarded and (found := _AS_TEXT.fullmatch(value)):
        value = found[1].replace('""', '"').strip()
    if column in KEYS or column in LABELS:
        value = value if guarded or not _APOSTROPHE.match(value) else value[1:]
        value = value if value.isascii() else unicodedata.normalize("NFC", value.translate(UNSEEN))
        value = " ".join(value.split())
    elif not guarded and column == "image" and _APOSTROPHE.match(value):
        value = value[1:]
    return value


def without_guard(value: str) -> str:
    """A cell without the apostrophe that keeps spreadsheets from computing it."""
    return value[1:].strip() if _GUARD.match(value) else value


def is_placeholder(value: str, *, key: bool = False) -> bool:
    """Whether a key or label says that there is none: "N/A", "[unknown]", "not_known", "-", "?".

    `key` also takes what stands where a person's key was taken away ("anonymous").
    """
    if _MARKS.fullmatch(value):
        return True
    word = value.casefold().strip()
    while len(word) > 2 and word[0] + word[-1] in _BRACKETS:
        word = word[1:-1].strip()
    if key and (blank := _TEMPLATE.fullmatch(word)):
        word = blank[1]
    word = re.sub(r"\s*/\s*", "/", re.sub(r"[\s_-]+", " ", word.rstrip(".!? ")).replace(". ", "."))
    if key and len(word) < 100 and (twice := re.fullmatch(r"(.+)(?:[ /]|, ?)\1", word)):
        word = twice[1]
    return word in _PLACEHOLDERS or _CROSSES.fullmatch(word) is not None or (key and word in _KEY_PLACEHOLDERS)


def is_shortened(value: str) -> bool:
    """Whether a key is a number that a spreadsheet has shortened ("1.23E+11"), so that several may have become one."""
    return _SHORTENED.fullmatch(value) is not None


def is_made_a_date(value: str) -> bool:
    """Whether a key has the form of the date that a spreadsheet makes of a number such as "3-12" ("12-Mar")."""
    return _MADE_A_DATE.fullmatch(value) is not None


class CellNotes:
    """Counts what was taken for something else than it says, by column, with lines."""

    def __init__(self) -> None:
        self._placeholders: dict[str, list[int]] = {}
        self._words: dict[str, None] = {}
        self._shortened: dict[str, list[int]] = {}
        self._dates: dict[str, list[int]] = {}

    def cleaned(self, line: int, cells: Mapping[str, str]) -> dict[str, str]:
        """A row's cells as they are to be read."""
        kept: dict[str, str] = {}
        for column, raw in cells.items():
            value = clean_cell(column, raw)
            if column in KEYS or column in LABELS:
                stated = raw.strip()
                if (value and is_placeholder(value, key=column in KEYS)) or (stated and not value):
                    self._placeholders.setdefault(column, []).append(line)
                    self._words[stated[:20]] = None
                    value = ""
                elif column in KEYS and is_shortened(value):
                    self._shortened.setdefault(column, []).append(line)
                elif column in KEYS and is_made_a_date(value):
                    self._dates.setdefault(column, []).append(line)
            kept[column] = value
        return kept

    def notes(self) -> tuple[str, ...]:
        """What was found, for the person who can correct it."""
        from index_store.records import lines_text

        notes = []
        if self._placeholders:
            total = sum(map(len, self._placeholders.values()))
            words = ", ".join(list(self._words)[:6])
            where = "; ".join(f"{column}: {lines_text(lines)}" for column, lines in self._placeholders.items())
            cells = "cell was" if total == 1 else "cells were"
            notes.append(f"{total} {cells} taken as empty, since they hold a placeholder ({words}): {where}.")
        for column, lines in self._shortened.items():
            notes.append(
                f"{column} looks like a number that a spreadsheet has shortened ({lines_text(lines)}): several may "
                "have become one. Format the column as text, and export again."
            )
        for column, lines in self._dates.items():
            notes.append(
                f"{column} looks like a date that a spreadsheet has made of a number such as 3-12 "
                f"({lines_text(lines)}): if so, format the column as text, and enter the numbers again."
            )
        return tuple(notes)
