"""Whether all that a report mentions agrees with the category that was read from it.

Every mention of a category, disease or suspicion is compared with that category, whatever is said of it: a graver one
must be denied, a milder one absent, and the category itself stated, not only asked for or weighed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from retrieval.language.mentions import Mention, asserted, find_mentions, suspicion_of
from retrieval.language.negation import Assertion
from retrieval.language.vocabulary import Category, ReportingSystem, vocabulary

_UNSURE_TIERS: Final = ("non-diagnostic", "indeterminate", "low-grade neoplasm", "suspicious")
_SUGGESTED_BY_FEATURES: Final = re.compile(
    r"\b(?:features|findings|appearances|picture)\s+(?:are\s+)?suggest\w*[^.;]*$", re.I
)
_FEATURES_OF: Final = re.compile(r"\b(?:features|changes|pattern)\s+of\s+(?:\w+\s+){0,2}$", re.I)
_PROBABLY: Final = re.compile(r"\bprobably\s+$", re.I)
# "No blasts, benign." ends a list of two statements, not of two denials.
_AFTER_DENIAL: Final = re.compile(r"\b(?:no|without|negative\s+for)\s+[^,;.\n]{2,30},\s*$", re.I)
_LAST: Final = re.compile(r"\s*(?:[.;]|$)")
_BEFORE: Final = 40
_APART: Final = 25
"""Characters between "suspicious for" and what is suspected."""


@dataclass(frozen=True)
class Statement:
    """How a report states a category. `spans` are the mentions' [start, end) in the text."""

    contradicted: bool
    stated: bool
    numbered: bool
    """By its number or code, too."""
    defined_by_doubt: bool
    """By a doubt that defines it: "HSIL cannot be excluded" is ASC-H."""
    spans: tuple[tuple[int, int], ...]


def statement(text: str, category: Category, system: ReportingSystem, specimen_end: int = 0) -> Statement:
    """How `text` states the category. Findings up to `specimen_end` name the specimen ("goitre, aspirate")."""
    read = [(mention, asserted(mention)) for mention in find_mentions(text, system)]
    read.sort(key=lambda item: item[0].start)
    first = min((m.start for m, _ in read if m.category is category), default=0)
    stated = contradicted = numbered = defined = False
    for at, (mention, how) in enumerate(read):
        if how is Assertion.VOID:
            continue
        if mention.category is category:
            verdict = _of_itself(mention, how)
            numbered |= verdict == "stated" and mention.numbered
        elif _is_defined_by(category, mention, how):
            verdict, defined = "stated", True
        elif at + 1 < len(read) and _opens(mention, how, read[at + 1][0], category, system):
            continue
        else:
            verdict = _of_another(mention, how, category, first, specimen_end)
        stated |= verdict == "stated"
        contradicted |= verdict == "contradicted"
        if verdict == "denied":  # "not definitive (SM, category V)": the number decides
            contradicted |= category.tier in ("malignant", "low-grade neoplasm")
    if any(m.category is category and how is Assertion.NEGATED for m, how in read) and category.tier == "suspicious":
        contradicted |= not numbered
    return Statement(contradicted, stated, numbered, defined, tuple((m.start, m.end) for m, _ in read))


def _rank(tier: str) -> int:
    return vocabulary().tiers.index(tier)


def _of_itself(mention: Mention, how: Assertion) -> str:
    """What a mention of the category itself says of it: "stated", "denied", "contradicted", or "" for nothing."""
    tier = mention.category.tier if mention.category else ""
    if how is Assertion.NEGATED:
        return "denied"
    if how is Assertion.UNCLEAR and tier == "malignant":  # "no invasive carcinoma; DCIS"
        return "contradicted"
    if how in (Assertion.AFFIRMED, Assertion.SUSPECTED):
        return "stated"
    if how is Assertion.UNCLEAR and tier == "negative" and _AFTER_DENIAL.search(_before(mention)):
        return "stated" if _LAST.match(mention.text, mention.end) else ""
    if how is Assertion.NOT_EXCLUDED and tier == "indeterminate" and mention.explicit:
        return "stated"
    suggested = how is Assertion.SUGGESTED and _SUGGESTED_BY_FEATURES.search(_before(mention))
    return "stated" if suggested else ""


def _is_defined_by(category: Category, mention: Mention, how: Assertion) -> bool:
    other = mention.category
    if other is None:
        return False
    return (how is Assertion.SUSPECTED and other.if_suspected == category.name) or (
        how is Assertion.NOT_EXCLUDED and other.if_not_excluded == category.name
    )


def _opens(mention: Mention, how: Assertion, following: Mention, category: Category, system: ReportingSystem) -> bool:
    """Whether "suspicious" opens the category's own name: "suspicious for a follicular neoplasm"."""
    suspicion = mention.category is suspicion_of(system) and how is Assertion.AFFIRMED and not mention.explicit
    return suspicion and following.category is category and following.start - mention.end < _APART


def _of_another(mention: Mention, how: Assertion, category: Category, first: int, specimen_end: int) -> str:
    """What a mention of something else says of the category: "stated", "contradicted", or "" for nothing."""
    tier = mention.category.tier if mention.category else "malignant"
    graver, milder = _rank(tier) > _rank(category.tier), _rank(tier) < _rank(category.tier)
    affirmed = how is Assertion.AFFIRMED
    if how is Assertion.NEGATED and graver:
        return "stated" if category.tier == "negative" else ""
    if how is Assertion.SUSPECTED and category.tier in ("suspicious", "indeterminate") and not milder:
        return "stated"
    left_open = how is Assertion.NOT_EXCLUDED or (how is Assertion.UNCLEAR and category.tier == "non-diagnostic")
    if left_open and category.tier in _UNSURE_TIERS and not milder:
        return ""
    if category.tier == tier == "malignant":  # two names of cancers are one finding
        if how in (Assertion.AFFIRMED, Assertion.SUGGESTED, Assertion.FAVOURED):
            return "stated" if affirmed and mention.category else ""
        return "" if how is Assertion.ALTERNATIVE else "contradicted"
    if milder and affirmed and tier == "indeterminate":  # "atypical cells", described before they are named
        described = mention.start < first and mention.text[mention.start : mention.end].lower().endswith(
            ("cell", "cells")
        )
        return "" if described or not mention.explicit else "contradicted"
    if category.tier == "suspicious" and (
        (graver and affirmed and _FEATURES_OF.search(_before(mention)))
        or (graver and how is Assertion.SUGGESTED)
        or (milder and how is Assertion.SUSPECTED and tier == "indeterminate")
    ):
        return ""
    probably_benign = how is Assertion.SUSPECTED and mention.text[mention.start : mention.end].lower() == "benign"
    if probably_benign and category.tier == "indeterminate" and _PROBABLY.search(_before(mention)):
        return ""  # so is C3 defined
    names_specimen = affirmed and tier == "negative" and not mention.explicit and mention.end <= specimen_end <= first
    return "" if names_specimen else "contradicted"


def _before(mention: Mention) -> str:
    return mention.text[max(0, mention.start - _BEFORE) : mention.start]
