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
    ALTERNATIVE = enum.auto()
    """One of several that the report leaves open: "carcinoma versus reactive changes"."""
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
_SCOPE_END = _pattern(
    r"[;\n] | (?<!\.)\.(?=\s|$) | \b(?:but|however|although|though|whereas|nevertheless|yet|except)\b"
)

_VOID_BEFORE = _pattern(
    r"\b(?:history\s+of|known|previous(?:ly)?|prior|status\s+post|to\s+(?:exclude|rule\s+out)|rule\s+out|r/o|rather\s+than|short\s+of|"
    r"detection\s+of|(?:probe|test|tests|testing|assay|stain|FISH|PCR|markers?|panel|search|request)\s+for|to\s+detect|for\s+the\s+diagnosis\s+of|less\s+than|worse\s+than|more\s+than|higher\s+than|lower\s+than|beyond|amount(?:s|ing)?\s+to|reach(?:es|ing)?|"
    r"threshold\s+(?:for|of)|criteria\s+(?:for|of)|(?:can|may|might)\s+(?:also\s+)?be\s+seen\s+(?:in|with)|"
    r"(?:often|also|commonly|frequently|usually)\s+(?:be\s+)?seen\s+(?:in|with)|associated\s+with|occurs?\s+in|reported\s+in|"
    r"argues?\s+against|against|as\s+opposed\s+to|mimic\w*|unlike|looking\s+for|screening\s+for|request\w*|"
    r"instead\s+of|if|in\s+case\s+of|whether|(?:in)?sufficient\s+for|for\s+(?:an?\s+)?(?:definit\w+|firm|outright))\b"
    r"[^,:]*$"
    r"|\b(?:elsewhere|outside)\s+as\s+(?:an?\s+)?$|\b(?:biopsy|histology|resection|imaging)\s*[:=]?\s*$"
)
_VOID_AFTER = _pattern(
    r"^[^,;]{0,40}?\b(?:cannot|can\s+not|could\s+not|not)\s+(?:yet\s+)?(?:be\s+)?(?:confirmed|proven|provable|supported|"
    r"favou?red|substantiated|established|assessed|evaluated)"
    r"|^[^,;]{0,15}?\b(?<!TBS\s)(?<!TBSRTC\s)(?<!Bethesda\s)(?<!System\s)(?<!Milan\s)(?<!WHO\s)(?<!than\s)(?:19|20)\d\d\b"
    r"|^[^.;:]{0,25}?\b(?:treated|resected|excised|in\s+remission|operated|irradiated|feared|on\s+(?:hormones?|chemotherapy|treatment|tamoxifen|BCG))\b"
    r"|^\s*(?:requires?|is\s+defined|are\s+defined|means|refers)\b"
    r"|^[^,;]{0,30}?\b(?:is|are|was|were|seems?|appears?|considered|thought)?\s*(?:very\s+|most\s+|highly\s+)?"
    r"(?:unlikely|improbable|doubtful|not\s+likely)\b"
    r"|^\s*(?:cells?)?\s*[:=]?\s*(?:_{2,}|\.{3,}|n/?a\b|not\s+(?:applicable|assessed|assessable|evaluated|performed|done|tested))"
)
_ALTERNATIVE_BEFORE = _pattern(
    r"\bbetween\s+(?:an?\s+)?$|(?:\bor\b|/)\s*(?:an?\s+|the\s+)?(?:[\w-]+[\s-]+){0,3}$|\bbetween\b[^;]*\band\b[^;]*$"
    r"|\b(?:versus|vs|either|differential(?:\s+diagnos[ie]s)?|ddx?|d/d|alternatively|and/or|less\s+likely|less\s+probably)\b[^;]*$"
)
_ALTERNATIVE_AFTER = _pattern(
    r"^[^,;:]{0,60}?(?:\b(?:versus|vs\.?|v\.|and/or|alternatively)(?=\W)|\bruled\s+in\s+(?:or|nor|and)\s+(?:ruled\s+)?out)"
    r"|^\s*(?:cells?\s*)?(?:\([^)]*\)\s*)?(?:/|\bor\b)\s*(?=\w)"
)
_EXCLUSION = r"(?:be\s+)?(?:\w+ly\s+)?(?:excluded?|ruled?\s+out)"
_NOT_EXCLUDED_BEFORE = _pattern(rf"\b(?:cannot|can't|can\s+not|could\s+not|unable\s+to|not)\s+{_EXCLUSION}\b[^,]*$")
_NOT_EXCLUDED_AFTER = _pattern(
    rf"^[^,]{{0,60}}?\b(?:cannot|can't|can\s+not|could\s+not|not(?:\s+to)?|neither\s+\w+\s+nor)\s+{_EXCLUSION}\b"
)
# Says that nobody looked further, where "cannot be excluded" judges what was seen.
_LEFT_OPEN_AFTER = _pattern(
    r"^[^,]{0,30}?\b(?:is|are|was|has)\s+not\s+(?:yet\s+)?(?:been\s+)?(?:excluded|ruled\s+out)\b"
    r"|^[^,]{0,40}?\bneither\s+\w+\s+nor\s+(?:excluded|ruled\s+out)\b"
)
_QUERIED_BEFORE = _pattern(
    r"\bquery\b[^,:]*$ | \b(?:other|else)\s+than\s*$"
    r"| \b(?:no|without|not)\s+(?:an?\s+)?invasive\s+$"  # what is in situ is not denied
)
# What a field of a form is filled with, and what stands beside a finding in a list.
_VALUE = (
    r"\s*(?:cells?)?\s*(?:\([^()]{2,30}\)\s*)?(?:present|seen|identified|detected|found)?\s*"
    r"(?::|=|\||\t|\.{2,}|…|\?(?=\s*(?:N|No|Y|Yes|Neg\w*|Pos\w*|None|Nil|Absent|Present|0)\b)|[-–—](?=\s|\w))\s*"
)
# "Adenocarcinoma negative for TTF-1" denies the marker.
_OF_ANOTHER = r"(?!\s+(?:for|on|by|with|at)\s+(?!malignan|cancer|carcinoma|tumou?r|neoplas|dysplas))"
_VALUE_NEGATIVE = _pattern(
    rf"^{_VALUE}(?:no\b|n\b|none\b|nil\b|absent\b|excluded\b|neg(?:ative)?\b{_OF_ANOTHER}|0\b|[-–−]\s?ve\b|[-–—−](?=\s|[.,;)]|$)|\([-–—−0]\)|false\b|nowhere\b|"
    r"not\s+(?:seen|identified|detected|present|found|observed|evident|noted|demonstrated))"
    rf"|^\s*(?:cells?)?\s*(?:\(\s*(?:[-–—−0]|neg\w*|no|absent|none|nil)\s*\)|0\b(?![.,]?\d)|[-–−]\s?ve\b|(?:is\s+|are\s+)?(?:negative|absent|nil)\b{_OF_ANOTHER})"
)
_VALUE_POSITIVE = _pattern(
    rf"^{_VALUE}(?:yes\b|y\b|present\b|positive\b|pos\b|\+\s?ve\b|seen\b|identified\b|detected\b|\+|\(\s*\+|true\b|x\b|✓)"
    r"|^\s*(?:cells?)?\s*\(\s*(?:\++|pos\w*|yes|present)\s*\)"
)
_VALUE_OPEN = _pattern(
    r"^\s*(?:cells?)?\s*[:=]?\s*[({<\[]?\s*(?:yes|y|present|positive|seen|pos)\s*[/|]\s*(?:no|n|absent|negative|not|neg)\b"
    r"|^\s*(?:cells?)?\s*[:=]?\s*[({<\[]?\s*(?:no|n|absent|negative|neg)\s*[/|]\s*(?:yes|y|present|positive|pos)\b"
    r"|^\s*(?:cells?)?\s*\(\s*\?+\s*\)"
    rf"|^{_VALUE}(?:[{{<]|\?|(?:\w+\s+)?(?:pending|awaited)\b|unknown\b|unclear\b|uncertain\b|equivocal\b|possible\b|(?:cannot|can't|can\s+not|not)\s+(?:be\s+)?(?:excluded|ruled\s+out)\b|see\b|to\s+follow\b)"
)
# A field that is filled with signs, figures or short words alone ("±", "TBC", "yes/no", "0.93"), or with nothing.
_FIELD = _pattern(
    r"^\s*(?:cells?)?\s*(?:\([^()]{2,30}\)\s*)?(?:present|seen|identified|detected|found)?\s*(?:[:=]|[-–—]\s*$)\s*"
    r"(?P<value>(?:[^,;|\n.]|[.,](?=[\d.]))*)(?P<next>\s*\|\s*\w+(?=\s*(?:[|.]|$)))?"
)
_NO = r"no|n|none|nil|absent|excluded|neg|negative|false|0|[-–—−]|[-–−]\s?ve|\([-–—−0]\)"
_YES = r"yes|y|present|pos|positive|seen|identified|detected|found|true|x|1|✓|✔|\++|\+\s?ve|\(\s*\++\s*\)"
_SETTLED = _pattern(rf"[\[({{]?\s*(?:{_NO}|{_YES})\s*[\])}}]?\s*")
_SAYS_MORE = _pattern(
    r"\b(?!(?:yes|pos|neg|nil|none|present|absent|positive|negative|seen|identified|detected|found|true|false|tb[acd]|nad)\b)"
    r"[a-z]{3,} | \b[a-z]\d"
)
_NO_ANSWER = _pattern(
    rf"^{_VALUE}no\s+(?:results?|comments?|answer|info\w*|data|opinion|report|assessment|conclusion|decision|reply|value|"
    r"entry|record|slides?|material|samples?)\b"
)
_NOT_CALLED = _pattern(
    r"\b(?:not|cannot|can't|isn't|never)\s+(?:be\s+)?(?:\w+ly\s+)?"
    r"(?:called|considered|reported|regarded|deemed|classified|labelled|accepted|taken|graded|said\s+to\s+be)\s+(?:as\s+)?(?:an?\s+)?$"
)
_NOT_DEFINITE = _pattern(  # "no definite carcinoma" leaves more open than it says
    r"\b(?:no|without)\s+(?:\w+\s+)?"
    r"(?:definit\w+|unequivocal|convincing|clear(?:-cut)?|overt|frank|obvious|conclusive|certain|outright)\b[^,]*$"
)
_DOUBLE_NEGATION = _pattern(
    r"\b(?:not|cannot|can't|isn't|never|hardly|unable\s+to)\s+(?:be\s+)?"
    r"(?:entirely\s+|completely\s+|truly\s+|clearly\s+|safely\s+)?"
    r"(?:call\w*|considered?|regarded?|reported?|deemed|classified|labelled|accepted|taken)?\s*(?:it\s+)?(?:as\s+)?"
    r"(?:negative\s+for|free\s+of|without|absent)\b[^,]*$"
    r"|\bneither\b[^,]*\bnor\s+(?:excluded?|absent)\b"
)
_NEGATION_BEFORE = _pattern(
    r"\b(?:no|not|nothing|non(?=[\s-]*$)|without|negative\s+for|free\s+of|free\s+from|absence\s+of|lack(?:s|ing)?(?:\s+of)?|neither|nor|never|none|"
    r"excludes?|rules?\s+out|fail(?:s|ed)\s+to|unable\s+to)\b"
)
_NEGATION_AFTER = _pattern(
    r"^\s*(?:cells?\s+)?(?:[^,;]{0,25}?\b(?:not|never|nowhere)\s+(?:be\s+)?(?:\w+ly\s+)?"
    r"(?:found|seen|detected|identified|observed|present|demonstrated|evident|noted|recogni[sz]ed|diagnosed)\b"
    r"|,[^,;.]{0,60},\s*(?:is|was|has\s+been|have\s+been|can\s+be)\s+(?:excluded|ruled\s+out)\b"
    r"|(?:is\s+|are\s+|was\s+|were\s+|(?:has|have)\s+been\s+|can\s+be\s+|could\s+be\s+)?(?:absent|excluded|ruled\s+out|lacking)\b)"
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

_ABNORMAL = _pattern(r"\b(?:dysplastic|abnormal)\b")


def assertion(text: str, start: int, end: int) -> Assertion:
    """How `text` says what it mentions at [start, end)."""
    text, start, end = _around(text, start, end)
    text = _IDLE.sub(lambda idle: " " * len(idle.group()), text)
    scope_start = max((match.end() for match in _SCOPE_END.finditer(text, 0, start)), default=0)
    ending = _SCOPE_END.search(text, end)
    before, after = text[scope_start:start], text[end : ending.start() if ending else len(text)]
    if _is_filled_unclearly(after):
        return Assertion.UNCLEAR
    if _VALUE_NEGATIVE.search(after):
        return Assertion.NEGATED
    if _VALUE_POSITIVE.search(after):
        return Assertion.AFFIRMED
    if _VALUE_OPEN.search(after) or _DOUBLE_NEGATION.search(before):
        return Assertion.UNCLEAR
    if _LEFT_OPEN_AFTER.search(after) or _QUERIED_BEFORE.search(before):
        return Assertion.UNCLEAR
    if _NOT_EXCLUDED_BEFORE.search(before) or _NOT_EXCLUDED_AFTER.search(after):
        return Assertion.NOT_EXCLUDED
    if (
        _NOT_CALLED.search(before)
        or _NOT_DEFINITE.search(before)
        or _VOID_BEFORE.search(before)
        or _VOID_AFTER.search(after)
    ):
        return Assertion.VOID
    if _NEGATION_AFTER.search(after):
        return Assertion.NEGATED
    negation = _negated_before(before)
    if negation is not None:
        return negation
    if _ALTERNATIVE_BEFORE.search(before) or _ALTERNATIVE_AFTER.search(after):
        return Assertion.ALTERNATIVE
    if _SUSPICION_BEFORE.search(before) or _SUSPICION_AFTER.search(after):
        return Assertion.SUSPECTED
    if _SUGGESTION_BEFORE.search(before):
        return Assertion.SUGGESTED
    if _FAVOUR_BEFORE.search(before) or _FAVOUR_AFTER.search(after):
        return Assertion.FAVOURED
    return Assertion.AFFIRMED


def _is_filled_unclearly(after: str) -> bool:
    """Whether a field's value is none that is known: "Malignant cells: yes/no", ": n/a", ": ±", ": 0.93"."""
    if _NO_ANSWER.search(after):
        return True
    field = _FIELD.search(after)
    if field is None or _SAYS_MORE.search(field["value"]):
        return False
    other = (field["next"] or "").strip(" |")
    return not _SETTLED.fullmatch(field["value"]) or bool(other and _SETTLED.fullmatch(other))


def is_denied_by_value(text: str, end: int) -> bool:
    """Whether a field's value denies what ends at `end`: "HSIL (-)", "HSIL: absent", and not "no HSIL"."""
    return bool(_VALUE_NEGATIVE.search(text[end : end + _REACH]))


def is_called_abnormal(text: str) -> bool:
    """Whether cells are called abnormal, without a category's name."""
    found = (assertion(text, match.start(), match.end()) for match in _ABNORMAL.finditer(text))
    return Assertion.AFFIRMED in found


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
