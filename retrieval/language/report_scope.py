"""What of a report is said of this specimen now: the rest is cut before categories are looked for.

Left out are the history and what was asked, earlier and provisional diagnoses beside a final one, what a laboratory
prints below every report (risks, limits, scales), names of programmes and clinics, markers that are named after a
disease, and choices of a form that are not ticked. A report on several specimens is divided.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 5_000
"""Characters that are read of a report: what stands further down is rarely the conclusion."""


def _pattern(expression: str) -> re.Pattern[str]:
    return re.compile(expression, re.IGNORECASE | re.VERBOSE)


_DISEASE: Final = (
    r"(?:cancer|\w{0,20}carcinoma|lymphoma|melanoma|malignan\w{1,9}|tumou?r|leuk\w{1,9}|sarcoma|mesothelioma|"
    r"neoplas\w{1,9}|dysplasia|"
    r"oncology|HSIL|LSIL|CIN)"
)
_ORGAN: Final = (
    r"(?:(?:upper|lower|pulmonary|head\s+and|male|female)\s+)?(?:lung|breast|stomach|gastric|colon|colorectal|rectum|rectal|"
    r"bowel|pancrea\w+|ovar\w+|endometri\w+|uter\w+|cervix|cervical|kidney|renal|thyroid|prostat\w+|bladder|urothelial|"
    r"liver|biliary|bile\s+duct|oesophag\w+|esophag\w+|gastrointestinal|GIT?|gyna?ecolog\w+|mullerian|müllerian|skin|"
    r"larynx|laryngeal|pharyn\w+|tonsil\w*|tongue|oral\s+cavity|head\s+and\s+neck|salivary\s+gland|pulmonary|"
    r"mammary|testis|testicular|tract)"
)
_INSTITUTION: Final = (
    r"(?:screening|program(?:me)?s?|cent(?:re|er)s?|clinics?|units?|registry|services?|institute|hospitals?|network|"
    r"society|foundation|study|trial|board|teams?|MDT|MDM|conference|meeting|pathway|alliance|council|trust|department|"
    r"ward|nurses?|charity|guidelines?|protocol|patients?|survivors?|risk|predisposition|syndrome|family|vaccin\w+|"
    r"prevention|surveillance|follow\W?up|referrals?|waiting|"
    r"fast|track|pathway|rapid|one[\s-]stop|project|biobank|campaign|awareness|week|month|support|care|list|code|form|request|research)"
)
_MARKER: Final = (
    r"(?:antigens?|markers?|panels?|antibod\w+|stains?|staining|immuno\w+|profile|genes?|mutations?|fusions?|"
    r"translocations?|FISH|PCR|assays?|probes?|cocktail|work\W?up|studies)"
)
_TITLE: Final = re.compile(
    r"\b(?:[A-Z][a-z]+ )*(?:Cancer|Lymphoma|Melanoma|Mesothelioma|Leuk\w+|Tumou?r|Sarcoma|Oncology)"
    r"(?: and)?(?: [A-Z][a-z]+)+"
)
# Names that hold a disease's word and say nothing of the specimen.
_NAMES: Final = _pattern(
    rf"\b(?:suspected\s{{1,9}}(?:[\w&]{{1,25}}\s{{1,9}}){{0,3}})?(?:{_ORGAN}\s{{1,9}})?{_DISEASE}(?:['’]s)?[\s-]{{1,9}}"
    rf"(?:[\w-]{{1,25}}[\s-]{{1,9}}){{0,2}}?{_INSTITUTION}\b"
    rf"| \b(?:anti[\s-]?)?{_DISEASE}[\s-]{{1,9}}(?:(?:associated|specific|related)[\s-]{{1,9}})?{_MARKER}"
    r"(?:\s*[:=-]?\s*(?:is\s+|was\s+|were\s+)?(?:negative|positive|not\s+detected|pending|weak\w*|strong\w*))?"
)
_RELATIVE: Final = (
    r"(?:mother|father|sister|brother|aunt|uncle|grandmother|grandfather|daughter|son|relatives?|wife|husband)"
)
_START: Final = r"(?:(?<=^)|(?<=[.;\n]))\s*"
# Cut to the end of its sentence.
_HISTORY: Final = _pattern(
    rf"{_START}(?:(?:[\w&/-]+\s+){{0,2}}(?:clinic|ward|board|team|MDT)\s+(?:referral|request|list|letter|note)|h/o|hx\b|hist\b|history|past\s+(?:medical\s+)?history|PMH|previous(?:ly)?|prior|earlier|past|"
    r"requesting\s+\w+\s*:|referring\s+\w+\s*:|from\s*:|ward\s*:|location\s*:|copy\s+to|family\s+history|FH\b|referred|referral|requested|indication|reason\s+for|request|clinical\s+(?!correlation)|clinical:|"
    r"clinician|query|\?|r/o|rule\s+out|to\s+rule\s+out|to\s+exclude|"
    rf"(?:the\s+|her\s+|his\s+|patient['’]?s?\s+)?{_RELATIVE}\b)[^.;\n]*(?:\.(?=\d)[^.;\n]*)*"
)
# Cut to the next comma, colon or full stop.
_BACKGROUND: Final = _pattern(
    rf"{_START}(?:known|status\s+post|s/p|treated|under\s+treatment|on\s+treatment|radiotherapy|follow\W?up)\b[^.;:,\n]*:?"
    r"| \b(?:after|following|status\s+post|s/p|in\s+an?\s+(?:\w+\s+){0,2}?"
    r"(?:patient|woman|man|case|lady|gentleman|girl|boy|child|smoker)"
    r"\s+with|(?:patient|woman|man|lady)\s+with|known|case\s+of|background\s+of|treated\s+for|treatment\s+(?:for|of)|operated\s+for|"
    r"monitoring\s+(?:for|of)|surveillance\s+(?:for|of)|follow\W?up\s+(?:of|for)|diagnosed\s+with|h/o|hx\s+of|history\s+of)"
    r"\s+[^.;:,\n]*"
    r"| \b(?:previous|prior|earlier|last)\s+(?:\w+\s+){0,3}?"
    r"(?:\d{4}|smear|pap|test|cytology|biopsy|FNA|report|result|histology)"
    r"\b[^.;\n]*"
)
_EARLIER: Final = (
    r"(?:prelim(?:inary)?|provisional|interim|working|frozen(?:\s+section)?|telephoned|verbal|original(?:ly)?|initial(?:ly)?|issued\s+(?:before|earlier|previously|first)|outside|external|referring|submitted|submitting|contributor'?s?|"
    r"previous|earlier|first|on[\s-]?site|ROSE|rapid\s+on[\s-]?site|intraoperative|screener'?s?|cytotechnologist'?s?|automated|old|superseded)"
)
_FINAL: Final = _pattern(
    r"\b(?:final|supplementary|replaces|supersedes|amended|revised|corrected|our|this\s+laboratory|review|reviewed|consensus|definitive|updated|new|now|today|current)\b"
)
_PROVISIONAL: Final = _pattern(
    rf"\b{_EARLIER}(?:\s*\([^()\n]{{1,40}}\))?(?:\s+(?:on[\s-]?site\s+)?(?:cytology\s+|cytologic(?:al)?\s+)?"
    r"(?:diagnos[ie]s|dx|report(?:ed)?|reading|interpretation|impression|opinion|category|assessment|evaluation|result|screen(?:ing)?|called|signed\s+out))?"
    r"(?:\s+(?:as|was|of))?(?:\s*:[^\n]*?(?=$|\n|\b(?:final|amended|revised|corrected|our|definitive)\b)|\s*[-–]?\s*[^.;,\n]*)"
)
_OUTCOME: Final = r"(?:diagnos[ie]s|dx|report|reading|interpretation|impression|opinion|category|result)"
_FINAL_LABEL: Final = _pattern(
    rf"\b(?:(?:final|definitive)(?:\s+(?:cytolog\w+\s+)?{_OUTCOME})?|(?:amended|revised|corrected)\s+(?:cytolog\w+\s+)?{_OUTCOME})"
    r"(?:\s*\([^()\n]{1,40}\))?\s*:"
)
_AMENDED_REPORT: Final = _pattern(r"\b(?:amended|revised|corrected|supplementary)\s+report\b")
# A sentence of what is printed below every report.
_FOOTER: Final = _pattern(
    r"\brisks?\s+of\s+(?:malignan\w+|cancer|neoplas\w+) | \bROM\b | \bmalignancy\s+(?:risk|rate)s? | \bimplied\s+risk"
    r"| \bestimated\s+risk | \bfalse[\s-](?:negative|positive)s? | \bsensitivity\b | \bscreening\s+test\b"
    r"| \bdisclaimer\b | \bmay\s+be\s+(?:of\s+(?:value|help|use)|helpful|useful|warranted|indicated|advisable)\b"
    r"| \bthis\s+(?:assay|test|method|examination|technique|procedure)\s+(?:does|do|is|can|cannot|should|may|was)\b"
    r"| \b(?:cytology|cytological\s+examination|a\s+negative\s+(?:result|report|smear|test|cytology))\s+"
    r"(?:does|do|can|cannot|should|may)\b"
    r"| \b(?:categories|key|legend|scale|definitions?)\s*: | \bguidelines?\b"
    r"| \bin\s+(?:this|the)\s+(?:category|group)\b | \bfor\s+(?:this|the)\s+category\b "
    r"| (?<![\d.])(?<!Ki-67\s)(?<!Ki67\s)(?<!Ki-67:\s)(?<!MIB-1\s)(?<!ER\s)(?<!PR\s)\d+(?:\.\d+)?\s*%"
)
_SENTENCE_END: Final = re.compile(r"(?<=[;\n])|(?<=\.)(?<!\.\.)(?=\s)")
_LIMIT: Final = _pattern(
    r"\b(?:does|do|did|would)\s+not\s+(?:entirely\s+|completely\s+|necessarily\s+)?(?:exclude|rule\s+out)\b[^.;\n]*"
)
_VERSUS: Final = re.compile(r"\b(?:[Vv][Ss]|v)\.\s+(?=\w)")  # "Category V. Repeat …" is none
_RANGE_OF_ALL: Final = _pattern(
    r"\b(?:scale|range|classes|categories)\s+(?:of\s+|from\s+)?(?:C|L|V|M|B|Thy\s?)?(?:I|1)\s*(?:-|–|to)\s*"
    r"(?:C|L|V|M|B|Thy\s?)?(?:VI|V|[4-7])\b |"
    r"[(\[]\s*(?:categor(?:y|ies)\s+|scale\s+|range\s+)?(?:C|L|V|M|B|Thy\s?)?(?:I|1|0)\s*(?:-|–|to|\.\.\.?)\s*(?:C|L|V|M|B|Thy\s?)?(?:VII?|VI|V|[4-7])\s*[)\]]"
)
_BOX: Final = re.compile(r"\[\s*([xX✓✔*]?)\s*\]|\(\s*([xX✓✔*]?)\s*\)|([☐□☒☑✓✔])|(?<!_)_{1,4}([xX✓]?)_{1,4}(?!_)")
_UNDECIDED: Final = _pattern(
    r"\b(?:ddx?|d/d|differential(?:\s+diagnos[ie]s)?)\s*:?\s*\(?(?:1|i|a)[.)]"
    r"| \bsecond\s+(?:reader|opinion|observer|pathologist|reviewer)\s*:"
    r"| \bno\s+consensus | \bconsensus\s+(?:was|could|is)\s+not | \bdisagree\w* | \bdiffering\s+(?:views|opinions)"
    r"| \bopinions?\s+(?:differ|were\s+divided|are\s+divided) | \bdivided\s+opinion"
    r"| \bdiagnosis\s+(?:is\s+|was\s+|has\s+been\s+)?(?:deferred|pending|awaited|withheld|to\s+follow)"
    r"| \b(?:final|full)\s+report\s+(?:is\s+)?(?:to\s+follow|pending|awaited)"
    r"| \b(?:cannot|can\s+not|could\s+not)\s+(?:reliably\s+|further\s+)?be\s+"
    r"(?:separated|distinguished|told\s+apart|decided|resolved)"
    r"| \bindistinguishable | \b(?:not\s+possible|impossible|unable)\s+to\s+(?:distinguish|decide|separate|tell|choose)"
)
# In what is said of the specimen itself, these leave open what a category's name beside them states.
_DOUBTFUL: Final = _pattern(
    r"\bquery\b | \bneither\b | \bpossibilit(?:y|ies)\b | \bequivocal\b | \bdifficult\w* | \bhard\s+to\b | \bunless\b"
    r"| \bdefer\w*\b | \bpresum\w+ | \bdiscrepan\w+ | \bdisput\w+ | \bdebat\w+ | (?<!\bno\s)\bquestion\w*"
    r"| \b(?:unsure|undecided|inconclusive|unresolved)\b | \b(?:may|might)\b | \bcould\b(?!\s+not)"
    r"| \bnot\s+(?:\w+ly\s+)?(?:sure|certain|clear|decided|conclusive)\b | \bborders?\s+on\b | \bat\s+least\b"
)
# Where a metastasis comes from may be open where the metastasis is not: "metastatic adenocarcinoma, likely stomach".
_ORIGIN: Final = _pattern(
    r"(?:,|\(|;|\s[-–])?\s*\b(?:(?:most|very)\s+)?(?:likely|probabl[ye]|presumabl[ye]|possibl[ye]|favou?r(?:ing|s|ed)?|"
    r"suggest(?:ing|s|ive\s+of)|query|consistent\s+with|compatible\s+with|in\s+keeping\s+with)\s+"
    r"(?:(?:of|from|an?|the|primary|origin|source|in)\s+)*"
    rf"{_ORGAN}(?:\s*(?:or|and|/|,|versus|vs\.?)\s*{_ORGAN})*"
    r"(?:\s+(?:primary|origin|source|tract))*(?=\s*(?:[,;.)\n]|$))\)?"
)
_METASTASIS: Final = re.compile(r"\bmetasta\w+", re.I)
_WEIGHED: Final = _pattern(
    r"\?|\b(?:possib\w+|probab\w+|likely|suspic\w+|suspect\w*|quer\w+|or|versus|vs|no|not|without|favou?r\w*|consistent|"
    r"suggest\w*|exclude\w*|rule[ds]?|if|presum\w+|either|worr\w+|concern\w*)\b"
)
_QUESTION: Final = re.compile(  # a whole sentence; "Adenocarcinoma?" is a suspicion
    r"(?:(?<=^)|(?<=[.;\n]))\s*(?:(?:is|are|was|were|could|can|may|might|does|do|did|has|have|what|which|should|would|any|please)\b"
    r"|(?=\w+\W+\w+\W+\w+\W+\w+))[^.;\n?]*\?(?!\s*(?:N|No|Y|Yes|Neg\w*|Pos\w*|None|Nil|Absent|Present|0)\b)(?=\s|$)",
    re.I,
)
_TEMPLATE: Final = re.compile(r"\{[^{}\n]{1,60}\}|<[^<>\n]{2,40}>|\bdelete as\b|\*delete", re.I)
_ELSEWHERE: Final = _pattern(  # what another laboratory or examination found; not "biopsy recommended"
    r"\b(?:elsewhere|another\s+(?:hospital|laboratory|lab|institution)|outside\s+(?:hospital|laboratory|lab|institution))\b"
    r"| \b(?:BI\W?RADS|TI\W?RADS|mammogra\w*|ultraso\w+|MRI|PET|CT\s+scan|imaging|radiolog\w+|x\W?ray|colposcop\w+|"
    r"cystoscop\w+|histolog\w+|biops(?:y|ies)|resection|PSA|CA\W?125|CEA)\W{1,3}(?:\w+\W+){0,2}?"
    r"(?:show\w*|report\w*|reveal\w*|confirmed|diagnos\w+|was|were|is|suggest\w*|of|from|results?|findings?|impression|\d|"
    r"positive|negative|carcinoma|malignan\w+|suspicious|consistent)"
)
_CYTOLOGY: Final = _pattern(
    r"\b(?:FNA[BC]?|aspirat\w+|smears?|cytolog\w+|brush\w*|wash\w*|guided|fluid|LBC|pap|EBUS|lavage|urine|sputum|"
    r"barbotage|tap|mucin|ascit\w+)\b"
)
_YEAR: Final = re.compile(
    r"(?<!Bethesda )(?<!TBS )(?<!TBSRTC )(?<!Paris )(?<!Milan )(?<!Yokohama )(?<!Sydney )(?<!WHO )(?<!System )"
    r"(?<![\d/.-])\b((?:19|20)\d\d)\b(?![/.-]\d)"
)
_GLOSSARY: Final = re.compile(
    r"\b(?:abbreviations?|glossary|key|legend|reporting categories|note to clinicians?)\s*:.*", re.I
)
# "Tumour cells: N" may be a number that is not filled in; a second field with Y or N tells that it is No.
_LETTER: Final = re.compile(r"[:=|?]\s*[YNyn](?=\s*(?:[.,;|\n)]|$))")
_NOW: Final = re.compile(
    r"\b(?:today|current (?:sample|specimen|smear|test)|present (?:sample|specimen|smear)|this time)\b", re.I
)
_LEGEND: Final = re.compile(r"\b(?:C|L|V|M|B|Thy|Category |Class )?\s?(VI|IV|III|II|I|V|[1-7])\b", re.I)


def current_findings(report: str) -> str:
    """The report without what is not said of this specimen now. Lines and sentences stay apart."""
    lines = (" ".join(line.split()) for line in report[:LONGEST].splitlines())
    text = _VERSUS.sub("versus ", ticked("\n".join(filter(None, lines))))  # its full stop ends no sentence
    if _FINAL.search(text):
        text, provisional = _PROVISIONAL.subn(" ", text)
        if provisional and (final := _FINAL_LABEL.search(text)):
            text = text[final.start() :]
    if len(_LETTER.findall(text)) == 1:
        text = _LETTER.sub(lambda value: ": unknown" if value[0][-1] in "Nn" else value[0], text)
    text = _NAMES.sub(" ", _TITLE.sub(" ", text))
    text = _QUESTION.sub(" ", text)
    text = "\n".join(_GLOSSARY.sub("", line) for line in text.split("\n") if not _is_legend(line))
    text = _since_now(text)
    text = _latest("".join(part for part in _SENTENCE_END.split(text) if not _is_aside(part)))
    text = _without_origin(_LIMIT.sub(" ", text))
    text = _RANGE_OF_ALL.sub(" ", text)
    return _BACKGROUND.sub(" ", _HISTORY.sub(" ", text))


def settled(report: str) -> str:
    """The report without its provisional diagnoses, where one that is labelled as final stands beside them, and
    without the words of that label."""
    text, provisional = _PROVISIONAL.subn(" ", report[:LONGEST])
    if not (provisional and _FINAL_LABEL.search(text)):
        return report[:LONGEST]
    return _AMENDED_REPORT.sub(" ", _FINAL_LABEL.sub(" ", text))


def _without_origin(text: str) -> str:
    """The text without the words that weigh where a metastasis comes from."""
    parts = _SENTENCE_END.split(text)
    for number, part in enumerate(parts):
        metastasis = _METASTASIS.search(part)
        if metastasis and not _WEIGHED.search(part, 0, metastasis.start()):
            parts[number] = part[: metastasis.end()] + _ORIGIN.sub("", part[metastasis.end() :])
    return "".join(parts)


def without_history(text: str) -> str:
    """The text without the sentences that tell the history and the request."""
    return _HISTORY.sub(" ", text[:LONGEST]).strip(" .;\n")


def _is_aside(sentence: str) -> bool:
    """Whether a sentence is printed below every report, is not filled in, or tells of another examination."""
    printed = _FOOTER.search(sentence) or _TEMPLATE.search(sentence)
    return bool(printed or (_ELSEWHERE.search(sentence) and not _CYTOLOGY.search(sentence)))


def _is_legend(line: str) -> bool:
    """Whether a line lists the categories of a system, as laboratories print below a report."""
    if len(line) > 2_000:
        return False
    numbers = [found[1].upper() for found in _LEGEND.finditer(line)]
    return len(set(numbers)) >= 4 and len(line.split()) >= 2 * len(set(numbers))


def _since_now(text: str) -> str:
    """From the sentence on that speaks of today, where one does."""
    parts = _SENTENCE_END.split(text)
    first = next((number for number, part in enumerate(parts) if _NOW.search(part)), 0)
    return "".join(parts[first:])


def _latest(text: str) -> str:
    """Of results listed with their years the latest, and all that has no year."""
    parts = _SENTENCE_END.split(text)
    years = [max(map(int, found), default=0) if (found := _YEAR.findall(part)) else 0 for part in parts]
    if len({year for year in years if year}) < 2:
        return text
    return "".join(part for part, year in zip(parts, years, strict=True) if year in (0, max(years)))


def ticked(text: str) -> str:
    """A form with boxes: what is not ticked is cut, and so are the boxes. Other texts are returned as they are."""
    text = text[:LONGEST]
    boxes = list(_BOX.finditer(text))
    if not boxes or (len(boxes) == 1 and not _mark(boxes[0])):
        return text
    last = text[boxes[-1].end() :].partition("\n")[0]
    before = bool(re.search(r"\w", last))  # "[x] NILM  [ ] HSIL": each box stands before its choice
    kept = [text[: boxes[0].start()]] if before else []
    for number, box in enumerate(boxes):
        if before:
            end = boxes[number + 1].start() if number + 1 < len(boxes) else len(text)
            choice = text[box.end() : end]
            if number + 1 == len(boxes) and not _mark(box):  # what follows the last choice is not the choice's
                choice_end = re.search(r"[.;\n]", choice)
                choice, rest = (
                    (choice[: choice_end.start()], choice[choice_end.start() :]) if choice_end else (choice, "")
                )
                kept.append(rest)
                continue
            kept.append(f" {choice}" if _mark(box) else (" . " if "\n" not in choice else "\n"))
        else:
            start = boxes[number - 1].end() if number else 0
            choice = text[start : box.start()]
            if not _mark(box):
                head, mark, _ = choice.rpartition("\n") if "\n" in choice else choice.rpartition(". ")
                choice = head + mark
            kept.append(f"{choice} . ")
    if not before:
        kept.append(text[boxes[-1].end() :])
    return "".join(kept)


def _mark(box: re.Match[str]) -> bool:
    return any(group in ("x", "X", "✓", "✔", "*", "☒", "☑") for group in box.groups() if group)


def is_undecided(text: str) -> bool:
    """Whether a report says that it decides nothing: readers differ, or the diagnosis is to follow."""
    return bool(_UNDECIDED.search(text[:LONGEST]))


def is_doubtful(text: str) -> bool:
    """Whether what is said of a specimen is weighed, and not stated."""
    return bool(_DOUBTFUL.search(text[:LONGEST]))
