"""The numbers in the rules for identifiers (digits, days, the check digit), at each limit and beside it."""

from __future__ import annotations

import calendar
import hashlib
import hmac

import pytest

from retrieval.ingest.deidentification import IdentifierCount, identifiers_in_key, pseudonyms_of
from retrieval.ingest.identifiers import RULES


def spans(rule: str, text: str) -> list[str]:
    return [text[start:end] for start, end in RULES[rule].spans(text)]


@pytest.mark.parametrize("number", range(1, 13))
@pytest.mark.parametrize("form", ["{day} {month} 2020", "{day} {short} 2020", "{day}. {month} '20"])
def test_a_month_has_its_days(number: int, form: str) -> None:
    names = {"month": calendar.month_name[number], "short": calendar.month_abbr[number]}
    days = calendar.monthrange(2020, number)[1]
    for day in range(33):
        written = form.format(day=day, **names)
        assert spans("date, day and month", written) == ([written] if 1 <= day <= days else [])


@pytest.mark.parametrize(
    ("text", "dated"),
    [
        ("3 March", True), ("3 march", False), ("3 june", True), ("3 Mar", False), ("3 Mar 2020", True),
        ("3 mar 2020", False), ("3 May", False), ("3 May 2020", True), ("3 Sept", False), ("30 Sept 2020", True),
        ("31 Sept 2020", False), ("3 Sep '20", True), ("29 February", True), ("30 February", False),
    ],
)  # fmt: skip
def test_a_short_month_needs_a_year_and_what_is_a_word_too_a_capital(text: str, dated: bool) -> None:
    assert bool(spans("date, day and month", text)) is dated


@pytest.mark.parametrize("rule", ["year first", "year last", "short year", "short year and single digits"])
def test_numbers_are_a_date_where_the_calendar_has_it(rule: str) -> None:
    """With the year first the month is next; with the year last either may be."""
    for year in (2020, 2021):
        for a in (0, 1, 2, 12, 13, 28, 29, 30, 31, 32):
            for b in (0, 1, 2, 4, 12, 13, 29, 30, 31):
                orders = [(a, b)] if rule == "year first" else [(a, b), (b, a)]
                exists = any(
                    1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1] for month, day in orders
                )
                written = {
                    "year first": f"{year}-{a:02}-{b:02}",
                    "year last": f"{a:02}.{b:02}.{year}",
                }.get(rule, f"{a:02}/{b:02}/{year % 100}")
                assert spans(f"date, {rule}", written) == ([written] if exists else [])


@pytest.mark.parametrize("nine", ["943476591", "000000000", "123456789", "401023213", "999999999", "100000001"])
def test_the_check_digit_of_the_nhs_is_the_one_that_makes_the_weighted_sum_divisible_by_11(nine: str) -> None:
    weighted = sum((10 - place) * int(digit) for place, digit in enumerate(nine))
    right = [check for check in range(10) if (weighted + check) % 11 == 0]
    written = [f"{nine[:3]} {nine[3:6]} {nine[6:]}{check}" for check in range(10)]
    assert [check for check in range(10) if spans("NHS number", written[check])] == right


@pytest.mark.parametrize(
    ("rule", "text", "found"),
    [
        ("record number after its own label", "MRN 123", True),
        ("record number after its own label", "MRN 12", False),
        ("record number after a label and 'no.'", "Specimen no. 1234", True),
        ("record number after a label and 'no.'", "Specimen no. 123", False),
        ("record number after 'ref.'", "Ref: 1234", True),
        ("record number after 'ref.'", "Ref: 123", False),
        ("telephone number after a label", "Tel. 555 0182", True),
        ("telephone number after a label", "Tel. 55 01 82", False),
        ("telephone number, trunk prefix", "03 345 6789", True),
        ("telephone number, trunk prefix", "0662 80440", True),
        ("telephone number, trunk prefix", "0662 8044", False),  # valid in Austria, and too short without a label
        ("telephone number, trunk prefix", "01 02 03 04 06", True),
        ("telephone number, trunk prefix", "01 02 03 04 05", False),  # a list of slides
        ("telephone number, trunk prefix", "02 01 02 03 04", True),
        ("telephone number, undivided", "07700900123", True),
        ("telephone number, undivided", "020123456", False),
        ("telephone number, mobile", "13800138000", True),
        ("telephone number, mobile", "12800138000", False),
        ("telephone number, without a prefix", "2125552368", True),
        ("telephone number, without a prefix", "3456789012", False),
        ("telephone number, international", "0032 2 555 12 12", True),
        ("telephone number, international", "0032 2 555 12", False),
        ("telephone number, international", "+32 2 555 12 12", True),
        ("telephone number, international", "+32 2 555 1", False),
        ("telephone number, grouped", "212 5552368", True),
        ("telephone number, grouped", "112 5552368", False),
        ("telephone number, grouped", "2125552368", False),
    ],
)
def test_so_many_digits_are_a_number(rule: str, text: str, found: bool) -> None:
    assert bool(spans(rule, f"Cervix; {text}; NILM.")) is found


@pytest.mark.parametrize(("key", "kinds"), [("123456", ["record number"]), ("12345", []), ("a123456", [])])
def test_a_key_of_six_digits_is_a_record_number(key: str, kinds: list[str]) -> None:
    assert [item.kind for item in identifiers_in_key(key)] == kinds


def test_a_pseudonym_is_16_digits_of_the_keyed_hash() -> None:
    whole = hmac.new(b"archive", b"S21-45678", hashlib.sha256).hexdigest()
    assert pseudonyms_of("archive")("S21-45678") == whole[:16]


@pytest.mark.parametrize(
    ("count", "lines", "words"),
    [
        (1, (3,), "1 date in reports (line 3)"),
        (2, (3,), "2 dates in reports (line 3)"),
        (2, (3, 8), "2 dates in reports (lines 3, 8)"),
        (9, tuple(range(1, 10)), "9 dates in reports (lines 1, 2, 3, 4, 5, 6, 7, 8, 9)"),
        (10, tuple(range(1, 11)), "10 dates in reports (lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 …)"),
    ],
)
def test_a_count_names_ten_lines(count: int, lines: tuple[int, ...], words: str) -> None:
    assert str(IdentifierCount("reports", "date", count, lines)) == words
    many = str(IdentifierCount("reports", "postal address", count, lines))
    assert ("addresses" in many) is (count > 1)
