"""Whether a report asserts what it mentions: "no carcinoma", "carcinoma cannot be excluded", "suspected carcinoma" …

Rules in the manner of NegEx (Chapman et al., J Biomed Inform 2001;34:301-310): cues before and after a mention, within
a scope that "but" and the like, a semicolon or a full stop end. Where a negation may or may not reach a mention
(a comma lies between), the answer is UNCLEAR, and the reader abstains.
"""

from __future__ import annotations

import enum
import re


class Assertion(enum.Enum):
    """How a report says what it mentions."""

    AFFIRMED = enum.auto()
    NEGATED = enum.auto()
    NOT_EXCLUDED = enum.auto()
    SUSPECTED = enum.auto()
    SUGGESTED = enum.auto()
    """ "Suggesting …": of what was seen or of what was concluded, which readers take differently."""
    FAVOURED = enum.auto()
    UNCLEAR = enum.auto()
    VOID = enum.auto()
    """Not said of this specimen, or neither confirmed nor denied: history, "to rule out …", "… rather than"."""


def _pattern(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.IGNORECASE | re.VERBOSE)


_REACH = 400
"""Characters to either side of a mention in which cues are sought."""

# Hold a negation's word and negate nothing.
_IDLE = _pattern(
    r"\bnot\s+otherwise\s+specified | "
    r"\bno\s+special\s+type | \bno\s+doubt | \bwithout\s+(?:any\s+)?doubt | \bnot\s+only"
)
_SCOPE_END = _pattern(r"[;\n] | \.(?=\s|$) | \b(?:but|however|although|though|whereas|nevertheless|yet|except)\b")

_VOID_BEFORE = _pattern(
    r"\b(?:history\s+of|known|previous(?:ly)?|prior|status\s+post|to\s+(?:exclude|rule\s+out)|rather\s+than|versus|vs|"
    r"instead\s+of|if|in\s+case\s+of|whether|differential|(?:in)?sufficient\s+for|for\s+(?:an?\s+)?(?:definit\w+|firm|outright))\b"
    r"[^,]*$"
)
_VOID_AFTER = _pattern(
    r"^[^,]{0,25}?\b(?:cannot|can\s+not|could\s+not|not)\s+(?:yet\s+)?(?:be\s+)?(?:confirmed|proven|provable)"
)
_EXCLUSION = r"(?:be\s+)?(?:\w+ly\s+)?(?:excluded?|ruled?\s+out)"
_NOT_EXCLUDED_BEFORE = _pattern(rf"\b(?:cannot|can't|can\s+not|could\s+not|unable\s+to|not)\s+{_EXCLUSION}\b[^,]*$")
_NOT_EXCLUDED_AFTER = _pattern(
    rf"^[^,]{{0,60}}?\b(?:cannot|can't|can\s+not|could\s+not|not(?:\s+to)?|neither\s+\w+\s+nor)\s+{_EXCLUSION}\b"
)
_NEGATION_BEFORE = _pattern(
    r"\b(?:no|not|without|negative\s+for|free\s+of|free\s+from|absence\s+of|lack(?:s|ing)?(?:\s+of)?|neither|nor|never|none|"
    r"excludes?|rules?\s+out|fail(?:s|ed)\s+to|unable\s+to)\b"
)
_NEGATION_AFTER = _pattern(
    r"^\s*(?:cells?\s+)?(?:[^,;]{0,25}?\b(?:not|never|nowhere)\s+(?:be\s+)?(?:\w+ly\s+)?"
    r"(?:found|seen|detected|identified|observed|present|demonstrated|evident|noted|recogni[sz]ed|diagnosed)\b"
    r"|(?:is\s+|are\s+|was\s+|were\s+)?(?:absent|excluded|ruled\s+out|lacking)\b)"
)
# Between a negation and a mention, these begin a statement of its own.
_STATEMENT = _pattern(r"\b(?:consistent|compatible|in\s+keeping|considered|diagnos\w+|represent\w*|positive)\b")
_SUSPICION_BEFORE = _pattern(
    r"\b(?:suspicious|suspicion|suspect(?:ed|s|ing)?|worrisome|concerning|concern\s+for)\b"
    r"|\b(?:possibl[ey]|probabl[ey]|possibility\s+of|query|questionable)\b[^,]*$|\?\s*$"
)
_SUSPICION_AFTER = _pattern(
    r"^[^,;]{0,60}?\b(?:(?:is|are|was|were)\s+)?(?:strongly\s+|highly\s+)?(?:suspected|(?:to|should|must|has\s+to)\s+be\s+considered|possible)\b"
    r"|^\s*(?:cells?\s*)?\?"
)
_SUGGESTION_BEFORE = _pattern(r"\bsuggest\w*\b")
_FAVOUR_BEFORE = _pattern(
    r"\b(?:favou?r\w*|likely|may\s+(?:be|represent)|might\s+(?:be|represent)|could\s+(?:be|represent)|resembl\w+)\b[^,]*$"
)
_FAVOUR_AFTER = _pattern(
    r"^(?:\s+\w+){0,2}\s*\b(?:is\s+|are\s+|being\s+)?(?:favou?red|considered|(?:most\s+|very\s+)?likely)\b"
)


def assertion(text: str, start: int, end: int) -> Assertion:
    """How `text` says what it mentions at [start, end)."""
    text, start, end = _around(text, start, end)
    text = _IDLE.sub(lambda idle: " " * len(idle.group()), text)
    scope_start = max((match.end() for match in _SCOPE_END.finditer(text, 0, start)), default=0)
    ending = _SCOPE_END.search(text, end)
    before, after = text[scope_start:start], text[end : ending.start() if ending else len(text)]
    if _NOT_EXCLUDED_BEFORE.search(before) or _NOT_EXCLUDED_AFTER.search(after):
        return Assertion.NOT_EXCLUDED
    if _VOID_BEFORE.search(before) or _VOID_AFTER.search(after):
        return Assertion.VOID
    if _NEGATION_AFTER.search(after):
        return Assertion.NEGATED
    negation = _negated_before(before)
    if negation is not None:
        return negation
    if _SUSPICION_BEFORE.search(before) or _SUSPICION_AFTER.search(after):
        return Assertion.SUSPECTED
    if _SUGGESTION_BEFORE.search(before):
        return Assertion.SUGGESTED
    if _FAVOUR_BEFORE.search(before) or _FAVOUR_AFTER.search(after):
        return Assertion.FAVOURED
    return Assertion.AFFIRMED


def _around(text: str, start: int, end: int) -> tuple[str, int, int]:
    """The neighbourhood that cues may stand in: a report of a thousand mentions is not read a thousand times."""
    first = max(0, start - _REACH)
    return text[first : end + _REACH], start - first, end - first


def _negated_before(before: str) -> Assertion | None:
    """NEGATED or UNCLEAR where a negation stands before the mention, else None."""
    cues = list(_NEGATION_BEFORE.finditer(before))
    if not cues:
        return None
    between = before[cues[-1].end() :]
    if _STATEMENT.search(between):
        return Assertion.UNCLEAR
    last_item = between.rpartition(",")[2]
    in_list = "," not in between or re.search(r"\b(?:or|nor)\b", last_item)
    return Assertion.NEGATED if in_list else Assertion.UNCLEAR
