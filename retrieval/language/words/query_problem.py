"""Whether a query in words says anything that a search can understand, and if not, what is wrong with it.

Every query has nearest cases, also one that says nothing: their categories then agree by accident. So a query is looked
at before its results are: is it in English, does it hold a word for a finding that the vocabulary of cytology or the
archive's reports know, does it contradict itself?
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import islice
from typing import Final

from retrieval.language.english import is_english, word_list
from retrieval.language.mentions import Mention, asserted, of_any_malignancy
from retrieval.language.negation import Assertion
from retrieval.language.report_scope import LONGEST, current_findings
from retrieval.language.vocabulary import Category, vocabulary, word_pattern
from retrieval.language.words.bm25 import ReportWords
from retrieval.language.words.terms import PHRASE, content_words, forms, names_finding, names_specimen, words_of

_TAG: Final = re.compile(r"</?[a-zA-Z!][^<>]{0,500}>|&\w{1,10};")
_NUMBER: Final = re.compile(r"[ivx]{1,4}[ab]?|\d[ab]?")
_GRADE: Final = re.compile(r"\b(?:high|low|intermediate)[\s-]?grade\b", re.I)
_BEFORE_DIGIT: Final = re.compile(r"(?<=[^\W\d_])(?=\d)")

MENTIONS: Final = 200
"""Of malignancies that are looked at: more stand in no report."""

NOT_ENGLISH: Final = "it is not in English, the only language that is read here"
NO_FINDING: Final = "it names no finding, only a specimen or nothing of a report"
NO_KNOWN_WORD: Final = "neither the vocabulary of cytology nor the archive's reports know its words"
NOT_IN_REPORTS: Final = "no report of the archive contains any of its words"
CONTRADICTION: Final = "it denies a malignancy and names one"
OPPOSITE: Final = "it denies a malignancy, and most of the cases that were found are malignant"
DENIED: Final = "it denies what most of the cases that were found have"


def query_problem(text: str, reports: ReportWords, *, is_labelled: bool = False) -> str:
    """Why a query in words is not understood, as half a sentence; empty where it is.

    One word for a finding of the vocabulary is enough, or half of the words from the archive's reports; and where the
    archive has reports, one of them has to hold one of the words, or another name of what it means. Words of the
    specimen, function words and single letters count for nothing. Time O(length), of which 5,000 characters count.

    Args:
        reports: those of the archive.
        is_labelled: whether a category was read from the text: what it denies is then told from what it names.
    """
    text = _TAG.sub(" ", text[:LONGEST])
    if not is_english(text):
        return NOT_ENGLISH
    general = word_list("general") | _words_of_sites()
    words = [word for word in content_words(text) if len(word) > 1 and not word.isdigit()]
    telling = [word for word in words if not names_specimen(word) and general.isdisjoint(forms(word))]
    graded = _GRADE.search(text)
    if not telling and not graded:
        return NO_FINDING
    known = any(map(_is_finding, telling)) or graded or _is_numbered(text)
    found = [word for word in telling or words if _is_in(reports, word)]
    if not known and 2 * len(found) < len(telling):
        return NO_KNOWN_WORD
    if not found and reports.present.any():
        return NOT_IN_REPORTS
    denied, named = malignancy_in(text)
    return CONTRADICTION if denied and named and not is_labelled else ""


def opposite_of(text: str, tiers: Sequence[str]) -> str:
    """`OPPOSITE` where the text denies a malignancy and more than half of the cases found, by their tiers, have one."""
    if 2 * sum(tier == "malignant" for tier in tiers) <= len(tiers) or not tiers:
        return ""
    denied, named = malignancy_in(_TAG.sub(" ", text[:LONGEST]))
    return OPPOSITE if denied and not named else ""


def denied_category(text: str, found: Sequence[Category | None]) -> str:
    """`DENIED` where more than half of the cases found, or of the nearest three, have one category, and the text only
    denies it ("no HSIL")."""
    for cases in (found, found[:3]):
        category, count = Counter(cases).most_common(1)[0] if cases else (None, 0)
        if category is None or 2 * count <= len(cases) or category.tier in ("negative", "non-diagnostic"):
            continue
        findings = current_findings(_TAG.sub(" ", text[:LONGEST]))
        patterns = (word_pattern(category.aliases), word_pattern(category.codes, exact_case=True))
        matches = (match.span() for pattern in patterns for match in islice(pattern.finditer(findings), MENTIONS))
        how = {asserted(Mention(category, findings, start, end, explicit=True)) for start, end in matches}
        if Assertion.NEGATED in how and Assertion.AFFIRMED not in how:
            return DENIED
    return ""


def malignancy_in(text: str) -> tuple[bool, bool]:
    """Whether a text denies any malignancy, and whether it states one, of this specimen. 200 mentions are looked at."""
    findings = current_findings(text)
    benign = [match.span() for match in word_pattern(vocabulary().not_malignancy).finditer(findings)]
    denied = named = False
    for match in islice(word_pattern(vocabulary().malignancy).finditer(findings), MENTIONS):
        start, end = match.span()
        if any(first < end and start < last for first, last in benign):
            continue
        mention = Mention(None, findings, start, end, explicit=False)
        how = asserted(mention)
        denied |= how is Assertion.NEGATED and of_any_malignancy(mention)
        named |= how is Assertion.AFFIRMED
    return denied, named


def _is_in(reports: ReportWords, term: str) -> bool:
    """Whether a report holds a term of `content_words`: a phrase by one of its meanings, or all its words."""
    words = [word for word in words_of(term) if word not in word_list("function")]
    return reports.knows(term) or (term.startswith(PHRASE) and bool(reports.containing(words).any()))


def _is_finding(word: str) -> bool:
    if names_finding(word):
        return True
    known, beginnings, ends = _finding_words()
    written = {*forms(word), word.rstrip("0123456789")}  # "CIN2", "HPV16"
    return not known.isdisjoint(written) or word.startswith(beginnings) or word.endswith(ends)


def _is_numbered(text: str) -> bool:
    """Whether a reporting system and a number of it are named: "Paris 5" and "Thy3", but not "Paris"."""
    words = words_of(_BEFORE_DIGIT.sub(" ", text))
    return not _names_of_systems().isdisjoint(words) and any(map(_NUMBER.fullmatch, words))


@cache
def _finding_words() -> tuple[frozenset[str], tuple[str, ...], tuple[str, ...]]:
    """Words of findings; beginnings of words, and ends, where the vocabulary leaves the rest of a word open."""
    known = vocabulary()
    categories = [category for system in known.systems for category in system.categories]
    phrases = [*known.malignancy, *known.not_malignancy, *known.neoplasia]
    for category in categories:
        phrases += [category.name, *category.codes, *category.aliases, *category.findings]
    parts = {part for phrase in phrases for part in re.split(r"[^\w*]+", phrase.casefold()) if len(part) > 1}
    plain = {word for word in parts if "*" not in word} | word_list("morphology")
    ignored = word_list("general") | word_list("function") | _words_of_sites() | _names_of_systems()
    open_ = {word for word in parts if "*" in word and len(word.strip("*")) >= 4}
    return (
        frozenset(plain - ignored) | {word.strip("*") for word in open_},
        tuple(word.strip("*") for word in open_ if word.endswith("*")),
        tuple(word.strip("*") for word in open_ if word.startswith("*")),
    )


@cache
def _names_of_systems() -> frozenset[str]:
    """What stands before a category's number: "bethesda", "paris"."""
    names = (name for system in vocabulary().systems for name in system.numbered_by)
    return frozenset(word for name in ("Thy", *names) for word in words_of(name) if len(word) > 1)


@cache
def _words_of_sites() -> frozenset[str]:
    """The words by which the vocabulary names specimens."""
    names: Iterable[str] = (name for site in vocabulary().sites for name in (site.name, *site.aliases))
    return frozenset(word for name in names for word in words_of(name.replace("*", ""))) - word_list("morphology")
