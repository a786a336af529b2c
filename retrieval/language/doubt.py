"""Whether a report plainly states the category that was read from it; where not, none is given.

The rules of `label_extraction` know many ways to say a diagnosis, and reports know more. What they do not foresee is
most often told by a general sign: something else is mentioned, the sentence weighs what it names, its clause has words
that describe neither cells nor disease, another reader or examination speaks, a question is asked. Ordinary reports
have none of these. The words are in doubt.toml, listed for their class and not for a report.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from retrieval.language.english import word_list
from retrieval.language.negation import Assertion, assertion
from retrieval.language.report_scope import LONGEST, settled
from retrieval.language.statement import Statement, statement
from retrieval.language.vocabulary import Category, ReportingSystem, vocabulary

_WORD: Final = re.compile(r"[A-Za-z]+")
_TOKEN: Final = re.compile(r"[A-Za-z0-9]+")
_LONGEST_CODE: Final = 5
_SENTENCE_END: Final = re.compile(r"(?<=[.;])\s|\n|;")
_CLAUSE_END: Final = re.compile(r"[,:;|=]|\)\s|(?<=\.)\s|\n")
_QUOTED: Final = re.compile(r"(?<![A-Za-z])[\"'‘“]\s*[^\"'’”\n]{0,60}[\"'’”]")
# Of an edition ("Bethesda 2014") is no time of the patient's.
# "Fewer than 2000 cells" counts.
_YEAR: Final = re.compile(
    r"(?<!\bBethesda\s)(?<!\bSystem\s)(?<!\bMilan\s)(?<!\bSydney\s)(?<!\bTBS\s)(?<!\bTBSRTC\s)"
    r"(?<!\bWHO\s)(?<!\bthan\s)(?<![<>])\b(?:19|20)\d\d\b"
    r"(?!\s+(?:\w+\s+)?(?:cells|ml|g|IU|U)\b)",
    re.I,
)
_LEFT: Final = re.compile(r"\b(?:[Ll]eft|LEFT)\b(?!\s+(?:for|over))|\bL\b")
_RIGHT: Final = re.compile(r"\b(?:[Rr]ight|RIGHT)\b|\bR\b")
_NUMBERED_PLACE: Final = re.compile(
    r"\b(level|station|nodule|lesion|site|lump|cyst)\s+(\d{1,2}[A-Z]?|[IVX]+[AB]?)\b", re.I
)
_TUMOUR: Final = re.compile(r"tumou?r|neoplas", re.I)
# "Carcinoma in 0 of 6 slides" counts, where "HER2 0" and "0.5 ml" do not.
_ZERO: Final = re.compile(
    r"\b(?:0|zero)\s*(?:/|(?:of|out|cells?|slides?)\b)|\b(?:in|on|at)\s+(?:0|zero)\b(?![.,]\d)", re.I
)


_OF_TIERS: Final = frozenset(
    ("low", "high", "insufficient", "inadequate", "unsatisfactory", "acellular", "positive", "negative", "no", "other")
)
"""Words of categories' names that say something else beside the name of another category."""


@dataclass(frozen=True)
class _Words:
    weighing: frozenset[str]
    describing: frozenset[str]
    describing_of_tier: dict[str, frozenset[str]]
    describing_endings: re.Pattern[str]
    turning: frozenset[str]
    unsettled: re.Pattern[str]
    elsewhere: re.Pattern[str]
    alarming: re.Pattern[str]
    calming: re.Pattern[str]
    plain: re.Pattern[str]
    plain_of_tier: dict[str, re.Pattern[str]]
    plain_where: dict[str, re.Pattern[str]]


def doubt(
    report: str, current: str, words: str, category: Category, system: ReportingSystem, specimen: str = ""
) -> str:
    """Why the category is in doubt, or "" where the report plainly states it. Time O(length), of 5,000 characters.

    Args:
        report: all of it.
        current: what of it concerns this specimen now (`current_findings`).
        words: the words of `current` that the category was read from.
        specimen: the words that the site was read from.
    """
    report, current = report[:LONGEST], current[:LONGEST]
    lists = _words()
    specimen_end = 0
    if specimen and specimen in current:
        specimen_end = _next_start(_CLAUSE_END, current, current.find(specimen) + len(specimen))
    how = statement(current, category, system, specimen_end)
    if how.contradicted or not how.stated:
        return "something else is mentioned beside it" if how.contradicted else "it is not stated outright"
    start, end = _place(current, words)
    sentence = current[_last_end(_SENTENCE_END, current, start) : _next_start(_SENTENCE_END, current, end)]
    if _is_weighed(sentence, category, how) or (category.tier != "negative" and _ZERO.search(sentence)):
        return "the sentence weighs it"
    from_, to = _last_end(_CLAUSE_END, current, start), _next_start(_CLAUSE_END, current, end)
    if _has_other_words(current, from_, to, category, how):
        return "its clause has words of another kind"
    if lists.turning & {word.lower() for word in _WORD.findall(current)} or _YEAR.search(current):
        return "the report turns or looks back"
    if lists.unsettled.search(settled(report)):
        return "another reader speaks, or the report is not settled"
    if lists.elsewhere.search(report):
        return "another examination gives a verdict"
    if "?" in current or _QUOTED.search(sentence):
        return "a question or a quotation"
    if (_LEFT.search(current) and _RIGHT.search(current)) or _names_several_places(current):
        return "several sides or places are named"
    return "words of another kind of finding" if _is_unlike(current, category, how, specimen_end) else ""


def _names_several_places(current: str) -> bool:
    """Whether two levels, stations or nodules are named: "level II node …, level III node …"."""
    places: dict[str, set[str]] = {}
    for match in _NUMBERED_PLACE.finditer(current):
        places.setdefault(match[1].lower(), set()).add(match[2].upper())
    return any(len(numbers) > 1 for numbers in places.values())


def _place(current: str, words: str) -> tuple[int, int]:
    start = current.find(words.rstrip(")"))
    return (start, start + len(words)) if start >= 0 else (0, len(current))


def _last_end(pattern: re.Pattern[str], text: str, before: int) -> int:
    return max((match.end() for match in pattern.finditer(text, 0, before)), default=0)


def _next_start(pattern: re.Pattern[str], text: str, after: int) -> int:
    match = pattern.search(text, after)
    return match.start() if match else len(text)


def _is_weighed(sentence: str, category: Category, how: Statement) -> bool:
    """Whether words are left that weigh, once what is stated plainly is cut."""
    return any(word.lower() in _words().weighing for word in _WORD.findall(_without_plain(sentence, category, how)))


def _has_other_words(current: str, start: int, end: int, category: Category, how: Statement) -> bool:
    """Whether the clause at [start, end) has words, beside what it mentions, that describe no cells and no disease."""
    lists = _words()
    clause = list(current[start:end])
    for first, last in how.spans:
        clause[max(0, first - start) : max(0, last - start)] = " " * len(
            clause[max(0, first - start) : max(0, last - start)]
        )
    known = (
        lists.describing | lists.describing_of_tier[category.tier] | lists.weighing
    )  # which the sentence is judged by
    return any(
        word.lower() not in known
        and word.lower().rstrip("s") not in known
        and not lists.describing_endings.search(word)
        # Abbreviations, names of markers, and numbers are no words.
        and not (sum(map(str.isupper, word)) > 1 and len(word) <= _LONGEST_CODE and not current[start:end].isupper())
        for word in _TOKEN.findall(_without_plain("".join(clause), category, how))
        if len(word) > 1 and word.isalpha()
    )


def _without_plain(sentence: str, category: Category, how: Statement) -> str:
    lists = _words()
    cut = [lists.plain]
    if category.tier in lists.plain_of_tier:
        cut.append(lists.plain_of_tier[category.tier])
    cut += [lists.plain_where[name] for name in ("numbered", "defined_by_doubt") if getattr(how, name)]
    for pattern in cut:
        sentence = pattern.sub(" ", sentence)
    return sentence


def _is_unlike(current: str, category: Category, how: Statement, start: int) -> bool:
    """Whether words of disease stand beside a negative category, or words of health beside a grave one,
    from `start` on."""
    lists = _words()
    if category.tier == "negative":
        neoplastic = any("neoplasm" in alias for alias in category.aliases)
        return any(
            assertion(current, match.start(), match.end()) not in (Assertion.NEGATED, Assertion.VOID)
            for match in _outside(lists.alarming.finditer(current, start), how)
            if not (neoplastic and _TUMOUR.match(match.group()))
        )
    tiers = vocabulary().tiers
    grave = tiers.index(category.tier) >= tiers.index("suspicious")
    return grave and any(_outside(lists.calming.finditer(current, start), how))


def _outside(matches: Iterable[re.Match[str]], how: Statement) -> Iterable[re.Match[str]]:
    """The matches that overlap no mention."""
    inside = {at for start, end in how.spans for at in range(start, end)}
    return (match for match in matches if inside.isdisjoint(range(match.start(), match.end())))


def _pattern(expressions: list[str], flags: re.RegexFlag = re.IGNORECASE) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(expressions)})\b" if expressions else r"(?!)", flags)


@functools.lru_cache(maxsize=1)
def _words() -> _Words:
    lists = tomllib.loads(Path(__file__).with_name("doubt.toml").read_text(encoding="utf-8"))
    examined = f"(?:{'|'.join(lists['examinations'])})"
    verdict = f"(?:{'|'.join(lists['verdicts'])})"
    weighing = frozenset(lists["weighing"].split())
    return _Words(
        weighing,
        frozenset(lists["describing"].split()) | word_list("morphology") | _of_vocabulary() - weighing,
        {_tier(tier): frozenset(words.split()) for tier, words in lists["describing_of_tier"].items()},
        re.compile(rf"(?:{'|'.join(lists['describing_endings'])})$", re.IGNORECASE),
        frozenset(lists["turning"].split()),
        _pattern(lists["unsettled"]),
        _pattern([rf"{examined}\b(?:(?!guided|smear|cytolog|FNA|aspirat|\bto\s)[^.;()\n]){{0,40}}?\b{verdict}"]),
        _pattern(lists["alarming"]),
        _pattern(lists["calming"]),
        _pattern(lists["plain"]),
        {_tier(tier): _pattern(found) for tier, found in lists["plain_of_tier"].items()},
        {name: _pattern(found) for name, found in lists["plain_where"].items()},
    )


def _tier(name: str) -> str:
    return name.replace("low-grade-", "low-grade ")


def _of_vocabulary() -> frozenset[str]:
    """The words of categories, findings and sites, without those that say something else beside another category."""
    known = vocabulary()
    names = [name for system in known.systems for category in system.categories for name in category.aliases]
    names += [name for system in known.systems for category in system.categories for name in category.findings]
    for site in known.sites:
        names += (site.name, *site.aliases, *site.names, *(name for kind in site.specimens for name in kind))
    return frozenset(word.lower() for word in _WORD.findall(" ".join(names))) - _OF_TIERS
