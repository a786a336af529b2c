"""Telephone numbers in a text, by a label before them or by the numbering plans of `phonenumbers`.

Each function returns spans of one kind of number. A cytology report is full of figures (sizes, counts, lists of slides,
specimen numbers), so that a number without a label needs more than digits: a country code, a trunk prefix ("0…") or
an area code in brackets, or a form that is usual without either and valid in its country. Not found: numbers that are
eight digits and nothing else (Denmark, Norway, Hong Kong, Singapore) where no label stands before them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import islice, pairwise
from typing import Final

from retrieval.ingest.person_names import Span

MAX_CANDIDATES: Final = 200
"""Candidates of one text that are compared with the numbering plans: bounds the time that a text of digits takes."""
_EXTENSION = r"(?:\s?(?:x|ext\.?)\s?\d{1,6})?"
_LABELLED = re.compile(
    r"\b(?:tel(?:ephoned?|efon)?|phoned?|ph|mobile|mob|fax|call(?:ed|s|\s?back)?|contact(?:ed|able)?|reach(?:ed|able)?|ring|"
    r"rang|dial|cell\s?phone|handy|hotline|switchboard|pager|beeper|bleep|whats\s?app)\b\.?"
    r"(?:\s*(?:no|number|nr)\b\.?)?\s*(?:[:=]|at|on|via|under)?\s*(?P<number>\+?[\d(][\d\s().\/-]{5,24}\d"
    + _EXTENSION
    + r")",
    re.I,
)
_NORTH_AMERICAN = re.compile(
    r"(?<![\w+.-])(?:(?:\+?1|001)[-. ])?(?:\(\d{3}\) ?|\d{3}([-. ]))\d{3}(?(1)\1|-)\d{4}" + _EXTENSION + r"\b"
)
_COUNTRY_AND_TRUNK = re.compile(r"(?<!\w)\+\d{1,3}\s?\(0\)\s?\d[\d ./-]{4,14}\d\b")
_SEVEN_DIGITS = re.compile(r"\d(?:[\s().\/-]*\d){6}")
_BEFORE, _AFTER = r"(?<![\w+.,:/-])", r"(?![\w%]|[.,:/-]\d)"
_TRUNK_PREFIX = re.compile(
    _BEFORE + r"(?:\(\d{2,6}\)[-./ ]{0,2}|0[1-9]\d{0,4}[-./ ]{1,2})\d{2,8}(?:[-./ ]{1,2}\d{2,8}){0,3}" + _AFTER
)
_SPECIMEN_LIKE = re.compile(r"\d\d[-/]\d+")
"""Year and number, as laboratories count their specimens."""
_DATED = re.compile(r"\d\d?([-./])\d\d?\1(?:\d\d)?\d\d(?!\d|\1\d)")
_TRUNK_REGIONS: Final = (
    *("AT", "AU", "BE", "BR", "CH", "CN", "DE", "FR", "GB", "ID", "IE", "IL", "IN", "IT", "JP", "KR", "MX", "MY", "NL"),
    *("NZ", "PH", "PK", "RU", "SE", "TH", "TR", "UA", "ZA"),
)
_UNDIVIDED = re.compile(_BEFORE + r"0\d{9,10}" + _AFTER)
_CHINESE_MOBILE = re.compile(_BEFORE + r"1[3-9]\d([ -]?)\d{4}\1\d{4}" + _AFTER)
_INDIAN_MOBILE = re.compile(_BEFORE + r"[6-9]\d{4}[ -]\d{5}" + _AFTER)
_INTERNATIONAL_PREFIX = re.compile(_BEFORE + r"00(?P<number>[1-9]\d{0,2}(?:[ ./()-]{0,2}\d){6,12})" + _AFTER)
_WITHOUT_PREFIX = tuple(
    (region, re.compile(_BEFORE + pattern + _AFTER))
    for region, pattern in (
        ("US", r"[2-9]\d{2}[2-9]\d{6}"),
        ("IN", r"[6-9]\d{9}"),
        ("ES", r"(?:[679]\d{2} \d{3} \d{3}|[89]\d{2} \d{2} \d{2} \d{2}|9\d \d{3} \d{2} \d{2})"),
        ("RU", r"8[ -]?\(?\d{3}\)?[ -]\d{3}[ -]\d\d[ -]\d\d"),
        ("BR", r"\d\d 9\d{4}-\d{4}"),
        ("TR", r"5\d{2} \d{3} \d{2} \d{2}"),
        ("NL", r"06-\d{8}"),
    )
)


def labelled(text: str) -> Iterator[Span]:
    """At least seven digits after a label such as "Tel."."""
    for match in _LABELLED.finditer(text):
        if _digits(match["number"]) >= 7:
            yield match.span("number")


def north_american(text: str) -> Iterator[Span]:
    """As North America writes them ("212-555-0182"), whether or not the number is in use."""
    yield from (match.span() for match in _NORTH_AMERICAN.finditer(text))


def international(text: str) -> Iterator[Span]:
    """Valid numbers with "+" or "00" and a country code, and all that are written as "+49(0)30 901820"."""
    if ("+" not in text and "00" not in text) or not _SEVEN_DIGITS.search(text):
        return
    yield from (match.span() for match in _COUNTRY_AND_TRUNK.finditer(text))
    from phonenumbers import Leniency, PhoneNumberMatcher

    yield from _after_international_prefix(text)
    if "+" not in text:
        return
    for found in PhoneNumberMatcher(text, None, leniency=Leniency.VALID, max_tries=MAX_CANDIDATES):
        yield found.start, found.end


def grouped(text: str) -> Iterator[Span]:
    """Valid numbers of the United States, grouped in any way that is usual there ("212 5552368")."""
    if not _SEVEN_DIGITS.search(text):  # nearly every report: spare it the numbering plans
        return
    from phonenumbers import Leniency, PhoneNumberMatcher, PhoneNumberType, number_type

    for found in PhoneNumberMatcher(text, "US", leniency=Leniency.STRICT_GROUPING, max_tries=MAX_CANDIDATES):
        divided = re.search(r"\d[\s().-]+\d", found.raw_string)
        if divided and number_type(found.number) != PhoneNumberType.UNKNOWN:
            yield found.start, found.end


def with_trunk_prefix(text: str) -> Iterator[Span]:
    """Numbers of nine or more digits that begin with 0 or have their area code in brackets ("(02) 9374 4000")."""

    @cache  # a text that repeats one number asks the plans of all regions once
    def is_number(words: str) -> bool:
        if _digits(words) < 9 or _SPECIMEN_LIKE.fullmatch(words) or _DATED.match(words) or _counts_up(words):
            return False
        return any(_is_valid(words, region) for region in _TRUNK_REGIONS)

    for match in islice(_TRUNK_PREFIX.finditer(text), MAX_CANDIDATES):
        if is_number(match.group()):
            yield match.span()


def undivided(text: str) -> Iterator[Span]:
    """Numbers of ten or eleven digits that begin with 0 and are written without a gap ("07700900123")."""
    for match in islice(_UNDIVIDED.finditer(text), MAX_CANDIDATES):
        if any(_is_valid(match.group(), region) for region in _TRUNK_REGIONS):
            yield match.span()


def mobile(text: str) -> Iterator[Span]:
    """Chinese ("13800138000") and Indian ("98765 43210") mobile numbers, which are written without a prefix."""
    for pattern, region in ((_CHINESE_MOBILE, "CN"), (_INDIAN_MOBILE, "IN")):
        for match in islice(pattern.finditer(text), MAX_CANDIDATES):
            if _is_valid(match.group(), region):
                yield match.span()


def without_prefix(text: str) -> Iterator[Span]:
    """Numbers that are written without a prefix where they come from: ten digits of the United States or India,
    Spanish, Russian, Brazilian and Turkish groups, Dutch mobile numbers."""
    if not _SEVEN_DIGITS.search(text):
        return
    for region, pattern in _WITHOUT_PREFIX:
        for match in islice(pattern.finditer(text), MAX_CANDIDATES):
            if not _counts_up(match.group()) and _is_valid(match.group(), region):
                yield match.span()


def _after_international_prefix(text: str) -> Iterator[Span]:
    """Numbers with "00" and a country code ("0032 2 555 12 12")."""
    from phonenumbers import NumberParseException, is_valid_number, parse

    for match in islice(_INTERNATIONAL_PREFIX.finditer(text), MAX_CANDIDATES):
        try:
            valid = is_valid_number(parse(f"+{match['number']}"))
        except NumberParseException:
            continue
        if valid:
            yield match.span()


def _is_valid(words: str, region: str) -> bool:
    """Whether these words as a whole are a number of the region, grouped in a way that is usual there."""
    from phonenumbers import Leniency, NumberParseException, PhoneNumberMatcher, is_valid_number, parse

    try:  # what is no number of the region is told five times as fast so
        if not is_valid_number(parse(words, region)):
            return False
    except NumberParseException:
        return False
    found = PhoneNumberMatcher(words, region, leniency=Leniency.STRICT_GROUPING, max_tries=1)
    return any(_digits(number.raw_string) == _digits(words) for number in found)


def _counts_up(words: str) -> bool:
    """Whether it is a list such as "01 02 03 04 05"."""
    numbers = [int(number) for number in re.findall(r"\d+", words)]
    return len(numbers) > 2 and all(after - before == 1 for before, after in pairwise(numbers))


def _digits(words: str) -> int:
    return sum(character.isdigit() for character in words)
