"""Site and category read from the text of a report, or None where it does not say.

    specimen ("(…)", "Specimen: …", what stands before "shows") ─► site ─► its reporting system
    conclusion ("consistent with …", "Diagnosis: …") ─► mentions ─► asserted how? ─► one category, or None

The site comes from the specimen, never from a diagnosis: "metastasis of a breast carcinoma" is no breast. Where a
report opens with its category, as cervical ones do, words that one system alone uses tell the site. The category is one
of the site's own system, never of another. Mentions that contradict each other, or are merely suggested, give no
answer.

How this was made: the rules from general knowledge of cytology reports, and from the train wordings of the phantoms.
COIN's 20 published reports were read while it was written, so what it does on them is no independent measurement. Of
the phantoms' held-out wordings only the frames of sentences were seen; diagnoses and specimens were not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from generation.prompts.cues import alternatives
from retrieval.language.negation import Assertion, assertion
from retrieval.language.specimen import HEADING, IN_BRACKETS, read_site
from retrieval.language.vocabulary import Category, ReportingSystem, vocabulary, word_pattern


@dataclass(frozen=True)
class ReportReading:
    """What a report says of itself. None where it does not say so clearly."""

    site: str | None = None
    site_words: str = ""
    """The words of the report that `site` was read from."""
    system: str | None = None
    """The site's reporting system."""
    category: str | None = None
    category_words: str = ""
    """The words of the report that `category` was read from."""


@dataclass(frozen=True)
class _Mention:
    """A category named in the text; None where it would be of no one category."""

    category: Category | None
    text: str
    start: int
    end: int
    explicit: bool
    """The category's own name, not merely something that belongs in it."""
    numbered: bool = False

    @property
    def words(self) -> str:
        """The part of the sentence around the mention, to the next comma or the like."""
        start = max(self.text.rfind(mark, 0, self.start) for mark in ",;:(.\n") + 1
        ends = [at for mark in ",;.)\n" if (at := self.text.find(mark, self.end)) >= 0]
        words = self.text[start : min(ends, default=len(self.text))].strip()
        return words + ")" if words.count("(") > words.count(")") else words


_LONGEST = 5_000
"""Characters that are read of a report: what stands further down is rarely the conclusion."""
HISTORY = re.compile(rf"\b(?:{alternatives('heading.history', 'labels')})\s*:[^.\n]*[.\n]?", re.I)
COMMENT = re.compile(
    r"(?:^|[.;,\n]) ?;? ?(?:additional |please )?"
    rf"(?:{alternatives('heading.comment', 'labels')})\b[^:;.\n]{{0,40}}:",
    re.I,
)
CONCLUSION = re.compile(
    rf"\b(?:{alternatives('conclusion', 'labels')}|{alternatives('summary', 'labels')})\b|\b(?:judged|assumed)\b", re.I
)
_QUALIFIED = re.compile(r"\b(?:suspici\w+|suspect\w*|cannot|un(?:determined|certain|clear)|not)\b", re.I)
_SUSPICIOUS = ("suspicious", "suspicion", "suspected")


def read_report(report: str, *, site: str = "", system: str = "") -> ReportReading:
    """Site, system and category of a report.

    Args:
        site: the site where it is known; it is not read then. One that the vocabulary lacks has no category.
        system: the reporting system where it is known; the category is read within it.
    """
    text = without_comments(report)
    site_words = ""
    if not site:
        site, site_words = read_site(text)
    known = vocabulary()
    within = known.system(system) if system else known.system_of(site)
    if within is None:
        return ReportReading(site or None, site_words)
    category, category_words = _read_category(text, within)
    return ReportReading(site or None, site_words, within.name, category, category_words)


def without_comments(report: str) -> str:
    """The report up to its first comment, without the clinical history: what was said before this specimen, or is
    added as a comment, says nothing of its category.
    """
    lines = (" ".join(line.split()) for line in report[:_LONGEST].splitlines())
    text = HISTORY.sub(" ", "\n".join(filter(None, lines)))
    if comment := COMMENT.search(text):
        text = text[: comment.start() + 1] if comment.start() else ""
    return text


def _read_category(text: str, system: ReportingSystem) -> tuple[str | None, str]:
    """Name and words of the category that `text` states, or None and nothing."""
    parts = list(parts_of(text))
    if not any(concludes for _, concludes in parts):
        return _resolve([mention for part, _ in parts for mention in _mentions(part, system)], system)
    mentions = [
        mention
        for part, concludes in parts
        for mention in _mentions(part, system)
        # Beside a conclusion, a description states a category only by its name, and "atypical cells" is no name there.
        if concludes or (mention.explicit and mention.category and mention.category.tier != "indeterminate")
    ]
    return _resolve(mentions, system)


def parts_of(text: str) -> Iterator[tuple[str, bool]]:
    """The report in parts, and of each whether a conclusion is drawn in it."""
    if brackets := IN_BRACKETS.match(text):
        text = text[brackets.end() :] if len(text) > brackets.end() + 1 else text
    if heading := HEADING.search(text):
        yield text[: heading.start()], False
        yield text[heading.end() :], True
        return
    for sentence in re.split(r"(?<=[.!])\s+|\n+", text):
        cue = CONCLUSION.search(sentence)
        if cue is None:
            yield sentence, False
        elif cue.group().lower() in ("judged", "assumed") or _QUALIFIED.search(sentence, 0, cue.start()):
            yield sentence, True
        else:
            yield sentence[: cue.start()], False
            yield sentence[cue.start() :], True


def _mentions(text: str, system: ReportingSystem) -> Iterator[_Mention]:
    """What of the system's words stands in the text; of overlapping ones the longest."""
    found: list[tuple[re.Match[str], Category | None, bool, bool]] = []
    malignant = next((category for category in system.categories if category.any_malignancy), None)
    for category in system.categories:
        found += [(m, category, True, False) for m in word_pattern(category.aliases).finditer(text)]
        found += [
            (m, category, True, m.group()[-1].isdigit())
            for m in word_pattern(category.codes, exact_case=True).finditer(text)
        ]
        found += [(m, category, True, True) for m in _numbered(system, category).finditer(text)]
        found += [(m, category, False, False) for m in word_pattern(category.findings).finditer(text)]
    found += [(m, malignant, False, False) for m in word_pattern(vocabulary().malignancy).finditer(text)]
    found += [(m, None, False, False) for m in word_pattern(vocabulary().neoplasia).finditer(text)]
    if suspicion := _suspicion(system):
        found += [(m, suspicion, False, False) for m in word_pattern(_SUSPICIOUS).finditer(text)]
    taken = list(word_pattern(vocabulary().not_malignancy).finditer(text))
    found.sort(key=lambda item: (item[0].start() - item[0].end(), not item[2], item[1] is malignant))
    for match, of, explicit, numbered in found:
        named = of is not None and match.group() in of.findings
        if any(other.start() < match.end() and match.start() < other.end() for other in taken) and not named:
            continue
        taken.append(match)
        yield _Mention(of, text, match.start(), match.end(), explicit, numbered)


def _numbered(system: ReportingSystem, category: Category) -> re.Pattern[str]:
    if not (category.numbers and system.numbered_by):
        return re.compile(r"(?!)")
    names = "|".join((*system.numbered_by, "category", "cat", "class"))
    return re.compile(
        rf"\b(?i:{names})\W+(?:(?i:system|category|cat|class)\W+)?(?:{'|'.join(category.numbers)})(?![\w])"
    )


def _suspicion(system: ReportingSystem) -> Category | None:
    """The category of a suspected malignancy."""
    suspicious = system.of_tier("suspicious")
    if len(suspicious) == 1:
        return suspicious[0]
    return next((category for category in suspicious if category.takes_suspicion), None)


def _only(categories: tuple[Category, ...]) -> Category | None:
    return categories[0] if len(categories) == 1 else None


def _resolve(mentions: list[_Mention], system: ReportingSystem) -> tuple[str | None, str]:
    """The one category that the mentions agree on, and the words that say so."""
    explicit: dict[str, _Mention] = {}
    found: dict[str, _Mention] = {}
    derived: dict[str, _Mention] = {}
    negative: _Mention | None = None
    ambiguous = False
    for mention in mentions:
        how = Assertion.AFFIRMED if mention.numbered else assertion(mention.text, mention.start, mention.end)
        meaning = _meaning(mention, how, system)
        if meaning == "negative":
            negative = negative or mention
        elif meaning == "ambiguous":
            ambiguous = True
        elif isinstance(meaning, tuple):
            name, changed = meaning
            (derived if changed else explicit if mention.explicit else found).setdefault(name, mention)
    by_name = {category.name: category for category in system.categories}

    def rank(name: str) -> int:
        return vocabulary().tiers.index(by_name[name].tier)

    severe = {name: m for name, m in found.items() if by_name[name].tier == "malignant"}
    if len(severe) > 1:  # "carcinoma" beside the name of a carcinoma that has its own category
        severe = {name: m for name, m in severe.items() if not by_name[name].any_malignancy}
    if explicit:
        name, mention = next(iter(explicit.items()))
        graver = any(rank(other) > rank(name) for other in (*severe, *derived))
        # "LSIL; cannot exclude HSIL" has no single category; "follicular neoplasm, carcinoma not excluded" has.
        beside = any(m.category and m.category.if_not_excluded and other != name for other, m in derived.items())
        return (name, mention.words) if len(explicit) == 1 and not graver and not beside else (None, "")
    if severe:
        clear = len(severe) == 1 and not derived
        return next(((name, m.words) for name, m in severe.items()), (None, "")) if clear else (None, "")
    if ambiguous:
        return None, ""
    rest = {**found, **derived}
    if len(rest) > 1:  # the graver of two: "atypical, benign cells", "suspicious … cannot be excluded"
        highest = max(map(rank, rest))
        rest = {name: mention for name, mention in rest.items() if rank(name) == highest}
    if len(rest) == 1:
        name, mention = next(iter(rest.items()))
        return name, mention.words
    benign = _only(system.of_tier("negative"))
    return (benign.name, negative.words) if negative and benign and not rest else (None, "")


def _meaning(mention: _Mention, how: Assertion, system: ReportingSystem) -> tuple[str, bool] | str | None:
    """A category with whether it is another than the mentioned one; "negative", "ambiguous", or None for nothing."""
    category = mention.category
    tier = category.tier if category else "malignant"
    if how is Assertion.VOID:
        return None
    if tier in ("non-diagnostic", "negative"):
        said = how in (Assertion.AFFIRMED, Assertion.SUGGESTED, Assertion.UNCLEAR)
        return (category.name, False) if said and category else None
    if tier == "indeterminate":
        return (category.name, False) if how not in (Assertion.NEGATED, Assertion.NOT_EXCLUDED) and category else None
    if how is Assertion.NEGATED:
        return "negative" if tier == "malignant" or category is _suspicion(system) else None
    if how is Assertion.AFFIRMED:
        return (category.name, False) if category else "ambiguous"
    if category is not None and category is _suspicion(system):
        return (category.name, False) if how is not Assertion.NOT_EXCLUDED else "ambiguous"
    if how is Assertion.SUSPECTED and tier != "low-grade neoplasm":
        instead = system.category(category.if_suspected) if category and category.if_suspected else _suspicion(system)
        return (instead.name, True) if instead else "ambiguous"
    if how is Assertion.NOT_EXCLUDED and tier != "low-grade neoplasm":
        unsure = _only(system.of_tier("indeterminate"))
        instead = system.category(category.if_not_excluded) if category and category.if_not_excluded else unsure
        return (instead.name, True) if instead else "ambiguous"
    return "ambiguous"
