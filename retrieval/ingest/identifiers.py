"""Direct identifiers in a text: names after titles and labels and before degrees, dates, record numbers, telephone
numbers, e-mail and postal addresses.

Found by their form alone, offline: telephone numbers by Google's numbering plans (`phonenumbers`), the rest by the
patterns here, made for English text. **A name in a sentence without a title, a label or a degree has no form of its own
and is not found.** Cytology reports are full of capitals and figures that name nobody (T2 N1, 3 x 2 cm, Bethesda 2014,
Hodgkin, Reed-Sternberg): a pattern that cannot tell the two apart was left out.

`benchmarks/identifiers.py` measures both kinds of error.

Presidio was tried in its place: without a language model (a download) it finds neither names nor addresses nor record
numbers, its telephone numbers are those of `phonenumbers`, and it brings spaCy, 230 MB and 2.3 s of import.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Final

from retrieval.ingest.person_names import LOWER, UPPER, find_names

NAME: Final = "name"
DATE: Final = "date"
RECORD: Final = "record number"
TELEPHONE: Final = "telephone number"
E_MAIL: Final = "e-mail address"
ADDRESS: Final = "postal address"
KINDS: Final = (NAME, DATE, RECORD, TELEPHONE, E_MAIL, ADDRESS)


@dataclass(frozen=True)
class Identifier:
    """Where in a text something stands that points to a person: `text[start:end]`."""

    kind: str
    """One of `KINDS`."""
    start: int
    end: int


def find_identifiers(text: str) -> tuple[Identifier, ...]:
    """The direct identifiers of a text, in its order; where two overlap, the longer one's kind and both's extent."""
    found = sorted(
        (
            *(Identifier(NAME, *span) for span in find_names(text)),
            *_dates(text),
            *_record_numbers(text),
            *_telephones(text),
            *_mail(text),
            *_addresses(text),
        ),
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


# Dates

_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november"),
    *("december", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "sept"),
)
_MONTH = "(?P<month>" + "|".join(sorted(set(_MONTHS), key=len, reverse=True)) + r")\b\.?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_CLOCK = r"(?:(?:T|,?\s+(?:at\s+)?)\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?:\s?[ap]m\b|Z)?)?"
_NO_YEAR = r"[\d/]|\.\d|\s?(?:%|[cmµ]m\b)"  # after two digits
_NUMERIC_DATES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?<![\d.]){_YEAR}(?P<mark>[-/.])(?P<a>\d\d?)(?P=mark)(?P<b>\d\d?)(?!\d){_CLOCK}",
        rf"(?<![\d./-])(?P<a>\d\d?)(?P<mark>[./-])\s?(?P<b>\d\d?)(?P=mark)\s?{_YEAR}(?!\d){_CLOCK}",
        rf"(?<![\d./-])(?P<a>\d\d)(?P<mark>[./])(?P<b>\d\d)(?P=mark)(?P<short>\d\d)(?!{_NO_YEAR}){_CLOCK}",
        rf"(?<![\d./-])(?P<a>\d\d?)/(?P<b>\d\d?)/(?P<short>\d\d)(?!{_NO_YEAR}){_CLOCK}",
        rf"(?<![^\W_]){_YEAR}(?P<a>\d\d)(?P<b>\d\d)(?![^\W_])",
        rf"{_YEAR}\s?年\s?(?P<a>\d\d?)\s?月\s?(?P<b>\d\d?)\s?日",
    )
)
_DAY = r"(?P<day>\d\d?)(?:st|nd|rd|th)?"
_WORDED_DATES = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        rf"(?<![\d.])\b{_DAY}[-./\s]*(?:of\s+)?{_MONTH}(?:[-./,\s]*(?:{_YEAR}|['’]?(?P<short>\d\d))(?!\d))?{_CLOCK}",
        rf"\b{_MONTH}\s*{_DAY}\b(?:,?\s+{_YEAR}(?!\d))?{_CLOCK}",
        rf"\b{_MONTH}[-/\s,]*{_YEAR}(?!\d)",
    )
)
_WORDS_TOO = ("may", "march", "mar", "dec", "sep", "jan", "jun")  # also words, names or units: with a capital only


def _dates(text: str) -> Iterator[Identifier]:
    for pattern in _NUMERIC_DATES:
        for match in pattern.finditer(text):
            parts = match.groupdict()
            year = int(parts["year"]) if parts.get("year") else 2000 + int(parts["short"])
            first, second = int(parts["a"]), int(parts["b"])
            year_first = match.start("a") > match.start() and not parts.get("short")
            orders = ((first, second),) if year_first else ((first, second), (second, first))
            if any(_is_date(year, month, day) for month, day in orders):
                yield Identifier(DATE, match.start(), match.end())
    for pattern in _WORDED_DATES:
        for match in pattern.finditer(text):
            parts = match.groupdict()
            month = match["month"]
            if month.lower() in _WORDS_TOO and not month[0].isupper():
                continue
            whole = len(month) > 3 and month.lower() != "sept"
            dated = parts.get("year") or parts.get("short")
            if not dated and (not whole or month.lower() == "may"):
                continue  # "Mar 3" is a date less often than not
            number = 1 + _MONTHS.index(month.lower()) % 12 if month.lower() != "sept" else 9
            if _is_date(2000, number, int(parts.get("day") or 1)):
                yield Identifier(DATE, match.start(), match.end())


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


# Record numbers

_NUMBER = r"(?P<value>[A-Za-z]{0,5}[-/]?\d[\dA-Za-z]*(?:[-/.][\dA-Za-z]+|\s\d{2,}){0,4})"
_NO = r"(?:no\b\.?|nr\b\.?|num\b\.?|number|id\b|identifier|#|№)"
_STRONG_LABEL = re.compile(
    rf"(?<![\w-])(?:MRN|NHS|SSN|UHID|CHI|NRIC|HKID|medical\s+record|hospital|social\s+security|passport|insurance|accession)"
    rf"(?:\s+{_NO})?(?:\s*[:#=]\s*|\s+){_NUMBER}",
    re.I,
)
_LABELLED = re.compile(
    rf"(?<![\w-])(?:medical\s+record|hospital|patient|health(?:\s?care)?|insurance|policy|chart|account|admission|encounter|"
    rf"accession|specimen|sample|case|lab(?:oratory)?|report|requisition|order|request|biopsy|cytology|histology|pathology|"
    rf"slide|block|file|identity|national|licen[cs]e|unit|episode|visit|referral|barcode|passport|social\s+security)"
    rf"\s*{_NO}\s*[:#=]?\s*{_NUMBER}|(?<![\w-])ref(?:erence)?\s*(?:{_NO})?\s*[:#=.]\s*(?P<reference>[A-Za-z]{{0,5}}[-/]?\d[\dA-Za-z]*"
    rf"(?:[-/.][\dA-Za-z]+){{0,4}})",
    re.I,
)
_ACCESSION = re.compile(r"(?<![\w-])[A-Z]{1,4}[-\s]?(?:\d\d|20\d\d)[-/](?!(?:19|20)\d\d\b)\d{3,7}(?![\w-])")
_SOCIAL_SECURITY = re.compile(r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\d-])")
_NHS = re.compile(r"(?<![\d-])\d{3}([ -])\d{3}\1\d{4}(?![\d-])")


def _record_numbers(text: str) -> Iterator[Identifier]:
    for pattern, fewest in ((_STRONG_LABEL, 3), (_LABELLED, 4)):
        for match in pattern.finditer(text):
            group = "value" if match.groupdict().get("value") else "reference"
            if sum(c.isdigit() for c in match[group]) >= fewest:
                yield Identifier(RECORD, match.start(group), match.end(group))
    for pattern in (_ACCESSION, _SOCIAL_SECURITY):
        yield from (Identifier(RECORD, *match.span()) for match in pattern.finditer(text))
    for match in _NHS.finditer(text):
        if _is_nhs_number(match.group()):
            yield Identifier(RECORD, *match.span())


def _is_nhs_number(written: str) -> bool:
    """Whether the check digit is right (modulus 11, NHS data dictionary)."""
    digits = [int(c) for c in written if c.isdigit()]
    check = 11 - sum(weight * digit for weight, digit in zip(range(10, 1, -1), digits, strict=False)) % 11
    return check % 11 == digits[9] and check != 10


# Telephone numbers

_TELEPHONE_LABEL = re.compile(
    r"\b(?:tel(?:ephone|efon)?|phone|mobile|mob|fax|call|contact|pager|bleep|whats\s?app)\b\.?"
    r"(?:\s*(?:no|number|nr)\b\.?)?\s*(?:[:=]|at|on)?\s*(?P<number>\+?[\d(][\d\s().\/-]{5,24}\d(?:\s?(?:x|ext\.?)\s?\d{1,6})?)",
    re.I,
)
_REGIONS: Final = ("US", "GB")
"""Where a number without a country's code and without a label is taken for one: only if grouped as there."""
_GROUPED = re.compile(
    r"(?<![\w+.-])(?:(?:\+?1|001)[-. ])?"
    r"(?:\(\d{3}\) ?|\d{3}([-. ]))\d{3}(?(1)\1|-)\d{4}(?:\s?(?:x|ext\.?)\s?\d{1,6})?\b"
)
"""As North America writes them; whether the number is in use does not matter."""
_DIGITS = re.compile(r"\d(?:[\s().\/-]*\d){6}")


def _telephones(text: str) -> Iterator[Identifier]:
    for match in _TELEPHONE_LABEL.finditer(text):
        if sum(c.isdigit() for c in match["number"]) >= 7:
            yield Identifier(TELEPHONE, *match.span("number"))
    yield from (Identifier(TELEPHONE, *match.span()) for match in _GROUPED.finditer(text))
    if not _DIGITS.search(text):  # nearly every report: spare it the numbering plans
        return
    import phonenumbers
    from phonenumbers import Leniency, PhoneNumberMatcher

    if "+" in text:
        for found in PhoneNumberMatcher(text, None, leniency=Leniency.VALID, max_tries=_TRIES):
            yield Identifier(TELEPHONE, found.start, found.end)
    for region in _REGIONS:
        for found in PhoneNumberMatcher(text, region, leniency=Leniency.STRICT_GROUPING, max_tries=_TRIES):
            grouped = re.search(r"\d[\s().-]+\d", found.raw_string)
            if grouped and phonenumbers.number_type(found.number) != phonenumbers.PhoneNumberType.UNKNOWN:
                yield Identifier(TELEPHONE, found.start, found.end)


_TRIES: Final = 1_000
"""Candidates of one text that `phonenumbers` looks at: a report of figures alone must not take for ever."""

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
_ADDRESSES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\b\d{{1,5}}[A-Za-z]?\s+(?:[NSEW]\.?\s+)?"
        rf"(?:[{UPPER}][{UPPER}{LOWER}'’.-]{{1,30}}\s{{1,9}}){{1,4}}{_STREET}\b(?!\s+[a-z])\.?"
        rf"(?:,?\s*(?:Apt|Suite|Unit|Flat)\.?\s*\w+)?(?:,\s*{_TOWN}){{0,2}}"
        rf"(?:,?\s+{_AREA})?\b",
        rf"\b\d{{1,5}}[A-Za-z]?(?:/\d{{1,4}})?\s+{_TOWN}(?:\s(?:Apt|Suite|Unit|Flat)\.?\s\w+)?,\s*{_TOWN},?\s+{_AREA}\b",
        rf"\b[{UPPER}][{LOWER}]{{1,30}}(?:straße|strasse|str\.|weg|platz|allee|gasse)\s+\d{{1,4}}[a-z]?\b"
        rf"(?:,?\s+\d{{5}}\s+{_TOWN})?",
        r"\bP\.?\s?O\.?\s+Box\s+\d+",
        rf"\b{_TOWN},?\s+(?:{_STATE})\s+\d{{5}}(?:-\d{{4}})?\b",
        rf"(?<=[{LOWER}],\s){_POSTCODE}\b|(?<=[{LOWER}]\s){_POSTCODE}\b",
        r"(?i:\b(?:home\s+|postal\s+|street\s+)?address\s*[:=]\s*)(?P<address>(?=[^\n;]{0,60}\d)[^\n;]{5,90})",
    )
)


def _mail(text: str) -> Iterator[Identifier]:
    if "@" in text:
        yield from (Identifier(E_MAIL, *match.span()) for match in _E_MAIL.finditer(text))


def _addresses(text: str) -> Iterator[Identifier]:
    for pattern in _ADDRESSES:
        for match in pattern.finditer(text):
            group: int | str = "address" if "address" in pattern.groupindex else 0
            yield Identifier(ADDRESS, *match.span(group))
