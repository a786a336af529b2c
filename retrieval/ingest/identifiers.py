"""Direct identifiers in a text: names by what stands beside them, dates, record numbers, telephone
numbers, e-mail and postal addresses.

Found by their form alone, offline, by the rules in `RULES`: telephone numbers by Google's numbering plans
(`phonenumbers`), the rest by patterns made for English text. **A name in a sentence without a title, a label, a degree
or a verb of what people do has no form of its own and is not found.** Cytology reports are full of capitals and figures
that name nobody (T2 N1, 3 x 2 cm, Bethesda 2014, Hodgkin, Reed-Sternberg): a pattern that cannot tell the two apart was
left out.

`benchmarks/identifiers.py` measures both kinds of error.

Presidio was tried in its place: without a language model (a download) it finds neither names nor addresses nor record
numbers, its telephone numbers are those of `phonenumbers`, and it brings spaCy, 230 MB and 2.3 s of import.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Final

from retrieval.ingest import listed_names, person_names, telephone_numbers
from retrieval.ingest.person_names import LOWER, UPPER, Span

NAME: Final = "name"
DATE: Final = "date"
RECORD: Final = "record number"
TELEPHONE: Final = "telephone number"
E_MAIL: Final = "e-mail address"
ADDRESS: Final = "postal address"
KINDS: Final = (NAME, DATE, RECORD, TELEPHONE, E_MAIL, ADDRESS)


@dataclass(frozen=True)
class Identifier:
    """The span of a text that points to a person: `text[start:end]`."""

    kind: str
    """One of `KINDS`."""
    start: int
    end: int


# Dates

_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november"),
    *("december", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "sept"),
)
_MONTH = "(?P<month>" + "|".join(sorted(set(_MONTHS), key=len, reverse=True)) + r")\b\.?"
_SHORT_MONTHS = "|".join(month for month in _MONTHS if len(month) == 3)
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_CLOCK = r"(?:(?:T|,?\s+(?:at\s+)?)\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?:\s?[ap]m\b|Z)?)?"
_SHORT_YEAR = r"(?P<short>\d\d)(?![\d/]|\.\d|\s?(?:%|[cmµ]m\b))"
_NUMERIC_DATES = {
    form: re.compile(pattern)
    for form, pattern in {
        "year first": rf"(?<![\d.]){_YEAR}(?P<mark>[-/.])(?P<a>\d\d?)(?P=mark)(?P<b>\d\d?)(?!\d){_CLOCK}",
        "year last": rf"(?<![\d./-])(?P<a>\d\d?)(?P<mark>[./-])\s?(?P<b>\d\d?)(?P=mark)\s?{_YEAR}(?!\d){_CLOCK}",
        "short year": rf"(?<![\d./-])(?P<a>\d\d)(?P<mark>[./])(?P<b>\d\d)(?P=mark){_SHORT_YEAR}{_CLOCK}",
        "short year and single digits": rf"(?<![\d./-])(?P<a>\d\d?)/(?P<b>\d\d?)/{_SHORT_YEAR}{_CLOCK}",
        "eight digits": rf"(?<![^\W_]){_YEAR}(?P<a>\d\d)(?P<b>\d\d)(?![^\W_])",
        "Chinese or Japanese": rf"{_YEAR}\s?年\s?(?P<a>\d\d?)\s?月\s?(?P<b>\d\d?)\s?日",
    }.items()
}
_DAY = r"(?P<day>\d\d?)(?:st|nd|rd|th)?"
_WORDED_DATES = {
    form: re.compile(pattern, re.I)
    for form, pattern in {
        "day and month": rf"(?<![\d.])\b{_DAY}[-./\s]*(?:of\s+)?{_MONTH}"
        rf"(?:[-./,\s]*(?:{_YEAR}|['’]?(?P<short>\d\d))(?!\d))?{_CLOCK}",
        "month and day": rf"\b{_MONTH}\s*{_DAY}\b(?:,?\s+{_YEAR}(?!\d))?{_CLOCK}",
        "day, month and year in one": rf"(?<![^\W_]){_DAY}(?P<month>{_SHORT_MONTHS}){_YEAR}(?![^\W_])",
        "month and year": rf"\b{_MONTH}[-/\s,]*{_YEAR}(?!\d)",
    }.items()
}
_WORDS_TOO = ("may", "march", "mar", "dec", "sep", "jan", "jun")  # also words, names or units: with a capital only


def _numeric_dates(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    for match in pattern.finditer(text):
        parts = match.groupdict()
        year = int(parts["year"]) if parts.get("year") else 2000 + int(parts["short"])
        first, second = int(parts["a"]), int(parts["b"])
        year_first = match.start("a") > match.start() and not parts.get("short")
        orders = ((first, second),) if year_first else ((first, second), (second, first))
        if any(_is_date(year, month, day) for month, day in orders):
            yield match.span()


def _worded_dates(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    for match in pattern.finditer(text):
        parts = match.groupdict()
        month = match["month"]
        if month.lower() in _WORDS_TOO and not month[0].isupper():
            continue
        whole = len(month) > 3 and month.lower() != "sept"
        dated = parts.get("year") or parts.get("short")
        if not dated and not whole:
            continue  # "Mar 3" is a date less often than not
        number = 1 + _MONTHS.index(month.lower()) % 12 if month.lower() != "sept" else 9
        if _is_date(2000, number, int(parts.get("day") or 1)):
            yield match.span()


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


# Record numbers

_NUMBER = r"(?P<value>\d{4}\s\d{5}\s\d(?!\d)|[A-Za-z]{0,5}[-/]?\d[\dA-Za-z]*(?:[-/.][\dA-Za-z]+|\s\d{2,}){0,4})"
_NO = r"(?:no\b\.?|nr\b\.?|num\b\.?|number|id\b|identifier|#|№)"
_RECORD_LABEL = re.compile(
    rf"(?<![\w-])(?:MRN|NHS|SSN|UHID|CHI|NRIC|HKID|aadhaar|medicare|med(?:ical)?\.?\s+rec(?:ord)?\.?|hosp(?:ital|\.)?|social\s+security|passport|insurance|accession)"
    rf"(?:\s+{_NO})?(?:\s*[:#=]\s*|\s+){_NUMBER}",
    re.I,
)
_NUMBER_LABEL = re.compile(
    rf"(?<![\w-])(?:medical\s+record|hospital|patient|health(?:\s?care)?|insurance|policy|chart|account|admission|encounter|"
    rf"accession|specimen|sample|case|lab(?:oratory)?|report|requisition|order|request|biopsy|cytology|histology|pathology|"
    rf"slide|block|file|identity|national|licen[cs]e|unit|episode|visit|referral|barcode|passport|social\s+security)"
    rf"\s*{_NO}\s*[:#=]?\s*{_NUMBER}",
    re.I,
)
_REFERENCE = re.compile(
    rf"(?<![\w-])ref(?:erence)?\s*(?:{_NO})?\s*[:#=.]\s*(?P<value>[A-Za-z]{{0,5}}[-/]?\d[\dA-Za-z]*"
    r"(?:[-/.][\dA-Za-z]+){0,4})",
    re.I,
)
_ACCESSION = re.compile(r"(?<![\w-])[A-Z]{1,4}[-\s]?(?:\d\d|20\d\d)[-/](?!(?:19|20)\d\d\b)\d{3,7}(?![\w-]|\s?%)")
_YEAR_FIRST = re.compile(r"(?<![\w/-])(?:20)?\d\d[-/](?:CY|CN|C|GC|NG|NGC|N|S|FNA|FN|H|P)[-/]\d{3,7}(?![\w/-])")
_JOINED = re.compile(r"(?<![\w-])(?:MRN|NHS|UHID|SSN)[#:]?(?P<value>\d[\d-]{4,12})(?!\w)")
_SOCIAL_SECURITY = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\d-])")
_NHS = re.compile(r"(?<![\d-])\d{3}([ -])\d{3}\1\d{4}(?![\d-])")


def _labelled_numbers(pattern: re.Pattern[str], fewest: int, text: str) -> Iterator[Span]:
    """Numbers of at least `fewest` digits after the pattern's label."""
    for match in pattern.finditer(text):
        if sum(c.isdigit() for c in match["value"]) >= fewest:
            yield match.span("value")


def _nhs_numbers(text: str) -> Iterator[Span]:
    yield from (match.span() for match in _NHS.finditer(text) if _is_nhs_number(match.group()))


def _is_nhs_number(written: str) -> bool:
    """Whether the check digit is right (modulus 11, NHS data dictionary)."""
    digits = [int(c) for c in written if c.isdigit()]
    check = 11 - sum(weight * digit for weight, digit in zip(range(10, 1, -1), digits, strict=False)) % 11
    return check % 11 == digits[9]  # 11 stands for 0, and 10 is given to nobody


# Addresses

_E_MAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,6}[A-Za-z]{2,24}\b")
_STREET = (
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Boulevard|Blvd|Square|Sq|Way|Close|Terrace|Crescent|Highway|Hwy|"
    r"Parkway|Pkwy|Gardens|Grove)"
)
_TOWN = rf"[{UPPER}][{UPPER}{LOWER}.'’-]{{1,30}}(?:\s[{UPPER}][{UPPER}{LOWER}.'’-]{{1,30}}){{0,2}}"
_STATE = (
    "A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY]"
)
_POSTCODE = r"[A-Z]{1,2}\d[A-Z\d]?\s\d[ABD-HJLNP-UW-Z]{2}"
_AREA = rf"(?:(?:{_STATE})\s+\d{{5}}(?:-\d{{4}})?|{_POSTCODE}|[A-Z]{{2,3}},?\s+(?:\d{{4,5}}|[A-Z]\d[A-Z]\s?\d[A-Z]\d))"
"""State and postal code, or the code alone: United States, United Kingdom, Australia, Canada."""
_ADDRESSES = {
    form: re.compile(pattern)
    for form, pattern in {
        "street": rf"\b\d{{1,5}}[A-Za-z]?\s+(?:[NSEW]\.?\s+)?"
        rf"(?:[{UPPER}][{UPPER}{LOWER}'’.-]{{1,30}}\s{{1,9}}){{1,4}}{_STREET}\b(?!\s+[a-z])\.?"
        rf"(?:,?\s*(?:Apt|Suite|Unit|Flat)\.?\s*\w+)?(?:,\s*{_TOWN}){{0,2}}"
        rf"(?:,?\s+{_AREA})?\b",
        "town and postal code": rf"\b\d{{1,5}}[A-Za-z]?(?:/\d{{1,4}})?\s+{_TOWN}"
        rf"(?:\s(?:Apt|Suite|Unit|Flat)\.?\s\w+)?,\s*{_TOWN},?\s+{_AREA}\b",
        "German street": rf"\b[{UPPER}][{LOWER}]{{1,30}}(?:straße|strasse|str\.|weg|platz|allee|gasse)"
        rf"\s+\d{{1,4}}[a-z]?\b(?:,?\s+\d{{5}}\s+{_TOWN})?",
        "post box": r"\bP\.?\s?O\.?\s+Box\s+\d+",
        "town and state": rf"\b{_TOWN},?\s+(?:{_STATE})\s+\d{{5}}(?:-\d{{4}})?\b",
        "British postcode": rf"(?<=[{LOWER}],\s){_POSTCODE}\b|(?<=[{LOWER}]\s){_POSTCODE}\b",
        "after a label": r"(?i:\b(?:home\s+|postal\s+|street\s+)?address\s*[:=]\s*)"
        r"(?P<value>(?=[^\n;]{0,60}\d)[^\n;]{5,90})",
    }.items()
}


def _matches(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    """The pattern's matches, or of each its group "value" where it has one."""
    group: int | str = "value" if "value" in pattern.groupindex else 0
    yield from (match.span(group) for match in pattern.finditer(text))


# Rules


@dataclass(frozen=True)
class Rule:
    """One way to find identifiers of a kind."""

    kind: str
    """One of `KINDS`."""
    spans: Callable[[str], Iterable[Span]]
    """Where in a text they are, in any order."""


RULES: Final[Mapping[str, Rule]] = {
    "name after a title": Rule(NAME, person_names.after_title),
    "name after a label": Rule(NAME, person_names.after_label),
    "name of a person in a role": Rule(NAME, person_names.in_role),
    "name before a degree": Rule(NAME, person_names.before_degree),
    "name with carets": Rule(NAME, listed_names.with_carets),
    "name with age, sex or birth": Rule(NAME, listed_names.with_attributes),
    "name of an owner or before a person's verb": Rule(NAME, listed_names.owning_or_acting),
    "name of whom somebody told or who agrees": Rule(NAME, listed_names.told_or_agreeing),
    "initials of who wrote": Rule(NAME, person_names.initials),
    "name in another script": Rule(NAME, listed_names.in_other_scripts),
    **{f"date, {form}": Rule(DATE, partial(_numeric_dates, pattern)) for form, pattern in _NUMERIC_DATES.items()},
    **{f"date, {form}": Rule(DATE, partial(_worded_dates, pattern)) for form, pattern in _WORDED_DATES.items()},
    "record number after its own label": Rule(RECORD, partial(_labelled_numbers, _RECORD_LABEL, 3)),
    "record number after a label and 'no.'": Rule(RECORD, partial(_labelled_numbers, _NUMBER_LABEL, 4)),
    "record number after 'ref.'": Rule(RECORD, partial(_labelled_numbers, _REFERENCE, 4)),
    "accession number": Rule(RECORD, partial(_matches, _ACCESSION)),
    "accession number, year first": Rule(RECORD, partial(_matches, _YEAR_FIRST)),
    "record number joined to its label": Rule(RECORD, partial(_matches, _JOINED)),
    "social security number": Rule(RECORD, partial(_matches, _SOCIAL_SECURITY)),
    "NHS number": Rule(RECORD, _nhs_numbers),
    "telephone number after a label": Rule(TELEPHONE, telephone_numbers.labelled),
    "telephone number, North American": Rule(TELEPHONE, telephone_numbers.north_american),
    "telephone number, international": Rule(TELEPHONE, telephone_numbers.international),
    "telephone number, grouped": Rule(TELEPHONE, telephone_numbers.grouped),
    "telephone number, trunk prefix": Rule(TELEPHONE, telephone_numbers.with_trunk_prefix),
    "telephone number, undivided": Rule(TELEPHONE, telephone_numbers.undivided),
    "telephone number, mobile": Rule(TELEPHONE, telephone_numbers.mobile),
    "telephone number, without a prefix": Rule(TELEPHONE, telephone_numbers.without_prefix),
    "e-mail address": Rule(E_MAIL, partial(_matches, _E_MAIL)),
    **{f"address, {form}": Rule(ADDRESS, partial(_matches, pattern)) for form, pattern in _ADDRESSES.items()},
}
"""Every rule by its name. Where two find the same span, the kind of the first one counts."""


def find_identifiers(text: str) -> tuple[Identifier, ...]:
    """Find the direct identifiers of a text, in its order; overlapping ones are merged under the longer one's kind."""
    found = sorted(
        (Identifier(rule.kind, start, end) for rule in RULES.values() for start, end in rule.spans(text)),
        key=lambda item: (item.start, -item.end),
    )
    merged: list[Identifier] = []
    for item in found:
        last = merged[-1] if merged else None
        if last is None or item.start >= last.end:
            merged.append(item)
        else:
            longer = max(last, item, key=lambda each: each.end - each.start)
            merged[-1] = Identifier(longer.kind, last.start, max(last.end, item.end))
    return tuple(merged)


def redact(text: str, found: Iterable[Identifier]) -> str:
    """`text` with the kind of each identifier in its place: "seen by Dr. [name] on [date]"."""
    parts: list[str] = []
    done = 0
    for item in found:
        parts += [text[done : item.start], f"[{item.kind}]"]
        done = item.end
    return "".join([*parts, text[done:]])
