"""Where a report names a category, a disease or a suspicion: the words of a reporting system found in a text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from retrieval.language.negation import Assertion, assertion
from retrieval.language.vocabulary import Category, ReportingSystem, vocabulary, word_pattern

_NUMBER = r"(?:C|L|V|M|B|Thy)?\s?(?:IV|V?I{1,3}|V|[1-6])[a-f]?"
_RANGE_BEFORE = re.compile(rf"\b{_NUMBER}\s*(?:[-–/]|\bto\b|\bor\b|\bversus\b|\band\b)\s*(?:\w+\s)?$", re.I)
_RANGE = re.compile(rf"\s*(?:[-–/]|\bto\b|\bor\b|\bversus\b|\bvs\b\.?)\s*{_NUMBER}\b", re.I)
"""After a category's number: it is one end of a range."""
# "III → II", "III + V", "III (V)", "3.5"; "II, 2. Left lobe" begins another point of a list.
_ANOTHER = re.compile(
    r"[^\w.,;\n]{0,12}(?:\.{1,3}(?=[\dIV])|[,;](?=\s{0,3}(?:[IV]+\b|[1-6]\s{0,3}(?:[,;)\]]|\.?\s*$)))|(?:plus|then|now|and)\b)?[^\w.,;\n]{0,12}"
    r"(?P<number>(?:IV|V?I{1,3}|V|[1-6])[A-Ba-b]?)(?=\s*(?:[.;:,)\]]|$))"
)
_COMPARED = re.compile(r"[^\w\s:.,\-–—=()\[\]#\"'/*_|]")
_NOT_THIS = re.compile(r"\b(?:not|no longer|neither|nor|rather than)\s+(?:an?\s+)?$", re.I)
_TAKEN_BACK = re.compile(
    r"\s+(?:(?:is|was|has been)\s+)?(?:withdrawn|not\s+(?:assigned|given|the\s+\w+|applicable))\b"
    r"|['’”\"]?\s+(?:was\s+)?entered\s+by\b|\s+by\s+(?:FISH|UroVysion)\b",
    re.I,
)
# "Insufficient: no macrophages" gives the reason, where "Insufficient: no" is a field with its value.
_EXPLAINED = re.compile(r"[^\S\n]*[:,][^\S\n]*no[^\S\n]+(?!evidence|signs?\b)[a-z][^:=|\n]*(?=[.;\n]|$)", re.I)
_EXCLUDED = re.compile(r"\s+(?:(?:is|was|has been)\s+)?(?:excluded|ruled\s+out)\b", re.I)
_ANY_MALIGNANCY = re.compile(r"(?:malignan\w*|cancer|carcinoma)(?:ous)?s?", re.I)
_UNQUALIFIED = re.compile(r"(?:\b(?:no|any|of|for|without|or|nor|invasive|metastatic|the|an?)|[:,;.(\n]|^)\s*$", re.I)
# Denied they exclude a malignancy, where no word limits them ("no tumour", not "no mucinous neoplasm"); affirmed they
# say nothing.
_GROWTHS = ("neoplasm", "neoplasia", "tumor")
_DENIED_OUTRIGHT = re.compile(
    r"\b(?:no|without|negative\s+for|free\s+of|absence\s+of|no\s+(?:definite\s+)?(?:evidence|signs?|features)\s+of(?:\s+an?)?)\s+$",
    re.I,
)
_NOTHING_MORE = re.compile(r"\s*(?:[.,;:)\n]|(?:is\s+|was\s+)?(?:seen|identified|present|found|detected)\b|$)", re.I)
# Alone in its clause this is said of the specimen; "insufficient evidence of malignancy" is said of something else, and
# few cells, where anything else is mentioned, were enough.
_TOO_FEW = re.compile(
    r"(?<![\w-])(?:(?P<plain>(?:insufficient|inadequate|unsatisfactory|non[\s-]?diagnostic|not\s(?:diagnostic|adequate))"
    r"|(?:insufficient|inadequate|too\sfew|not\senough)\s(?:\w{1,20}\s)?cell(?:s|ularity)"
    r"(?:\sfor\s(?:an?\s)?(?:diagnosis|assessment|evaluation|interpretation|opinion))?)"
    r"|(?:scant|scanty|poor|very\slow|minimal)\scellularity|paucicellular|virtually\sacellular|blood\sonly)(?=\s*(?:[.;,:)\n]|$))",
    re.I,
)
_OF_SOMETHING_ELSE = re.compile(
    r"\b(?:clinical|history|information|details?|data|colposcop\w{1,3}|request|form|consent|fixation|label\w{0,5}|therapy|response|"
    r"treatment|resolution|imaging|biopsy|histology|margins?|pass|passes|flow|cytometry|immuno\w{1,20}|molecular|block)\b[^.;\n]{0,40}$",
    re.I,
)
MOST_MENTIONS = 200
"""In 5,000 characters: a dense report of 130 has 13. How each is meant takes a millisecond."""
_SUSPICIOUS = ("suspicious", "suspicion", "suspected")


@dataclass(frozen=True)
class Mention:
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
        start = max(self.text.rfind(mark, 0, self.start) for mark in ",;:|(.\n") + 1
        ends = [at for mark in ",;|.)\n" if (at := self.text.find(mark, self.end)) >= 0]
        words = self.text[start : min(ends, default=len(self.text))].strip()
        return words + ")" if words.count("(") > words.count(")") else words


def find_mentions(text: str, system: ReportingSystem) -> list[Mention]:
    """What of the system's words stands in the text; of overlapping ones the longest. Nothing, where there is more than
    any report says (`MOST_MENTIONS`)."""
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
    found += [(m, None, False, False) for m in word_pattern(_GROWTHS).finditer(text) if _is_denied_outright(m, text)]
    too_few = [
        m for m in _TOO_FEW.finditer(text) if not _OF_SOMETHING_ELSE.search(text[max(0, m.start() - 60) : m.start()])
    ]
    for category in system.of_tier("non-diagnostic"):
        found += [(m, category, m["plain"] is not None, False) for m in too_few]
    if suspicion := suspicion_of(system):
        found += [(m, suspicion, False, False) for m in word_pattern(_SUSPICIOUS).finditer(text)]
    taken, benign = bytearray(len(text)), bytearray(len(text))  # 1 where a mention, or the name of a benign disease, is
    for match in word_pattern(vocabulary().not_malignancy).finditer(text):
        benign[match.start() : match.end()] = b"\1" * len(match.group())
    found.sort(key=lambda item: (item[0].start() - item[0].end(), not item[2], item[1] is malignant))
    mentions: list[Mention] = []
    for match, mentioned, explicit, numbered in found:
        start, end = match.span()
        if taken.find(1, start, end) < 0 and (benign.find(1, start, end) < 0 or _is_finding_of(mentioned, match)):
            taken[start:end] = b"\1" * (end - start)
            mentions.append(Mention(mentioned, text, start, end, explicit, numbered))
    if len(scanty := {m.start() for m in too_few if m["plain"] is None}) < len(mentions):
        mentions = [mention for mention in mentions if mention.start not in scanty]
    return mentions if len(mentions) <= MOST_MENTIONS else []


def _is_finding_of(category: Category | None, match: re.Match[str]) -> bool:
    return category is not None and match.group().casefold() in map(str.casefold, category.findings)


def _is_denied_outright(match: re.Match[str], text: str) -> bool:
    return bool(
        _DENIED_OUTRIGHT.search(text[max(0, match.start() - 40) : match.start()])
        and _NOTHING_MORE.match(text, match.end())
        and assertion(text, match.start(), match.end()) is Assertion.NEGATED
    )


def _numbered(system: ReportingSystem, category: Category) -> re.Pattern[str]:
    if not (category.numbers and system.numbered_by):
        return re.compile(r"(?!)")
    names = "|".join((*system.numbered_by, "category", "cat", "class"))
    return re.compile(
        rf"\b(?i:{names})\W+(?:(?i:system|category|cat|class)\W+)?(?:{'|'.join(category.numbers)})(?![\w])"
    )


def suspicion_of(system: ReportingSystem) -> Category | None:
    """The category of a suspected malignancy."""
    suspicious = system.of_tier("suspicious")
    if len(suspicious) == 1:
        return suspicious[0]
    return next((category for category in suspicious if category.takes_suspicion), None)


def asserted(mention: Mention) -> Assertion:
    """How the report says a mention; a category's number is affirmed, unless it is one end of a range."""
    if _TAKEN_BACK.match(mention.text, mention.end):
        return Assertion.VOID
    harmless = mention.category and mention.category.tier in ("non-diagnostic", "negative")
    if harmless and _EXPLAINED.match(mention.text, mention.end):
        return assertion(mention.text[: mention.end], mention.start, mention.end)
    if not mention.numbered:
        return assertion(mention.text, mention.start, mention.end)
    before = mention.text[max(0, mention.start - 40) : mention.start]
    if _NOT_THIS.search(before) or _EXCLUDED.match(mention.text, mention.end):
        return Assertion.VOID
    another = _ANOTHER.match(mention.text, mention.end)
    if another and mention.category and another["number"] in mention.category.numbers:  # "II (2)"
        another = None
    compared = _COMPARED.search(mention.text, mention.start, mention.end)  # "≥ IV"
    one_end = another or compared or _RANGE.match(mention.text, mention.end) or _RANGE_BEFORE.search(before)
    return Assertion.ALTERNATIVE if one_end else Assertion.AFFIRMED


def of_any_malignancy(mention: Mention) -> bool:
    """Whether any malignancy is meant: "carcinoma", and not "small cell carcinoma"."""
    before = mention.text[max(0, mention.start - 20) : mention.start]
    return bool(_ANY_MALIGNANCY.fullmatch(mention.text, mention.start, mention.end) and _UNQUALIFIED.search(before))
