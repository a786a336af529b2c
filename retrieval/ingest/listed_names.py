"""Names as laboratory systems write them: "DOE^JANE", "DOE, JANE (62 F)", "Patient Jane Doe, 62 years".

Such names need no label, so that what stands around them must show that they name somebody: carets between words, an
age or a sex after them, or the word "patient" before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from retrieval.ingest.person_names import CAPITALS, INITIAL, LOWER, PARTICLES, UPPER, WORD, Span, is_no_name
from retrieval.language.english import clinical_words

# Words that stand capitalised before an age or a sex in headings: findings, sites, kinds of preparation.
_HEADINGS = """
    bal case four level one page part row sample set slide three two visit
    abnormal absent ach additional adenocarcinoma adenoma adequacy age amended appearance approved arm background
    benign bilateral block bottom carcinoma care category cervicovaginal clear client clin clusters collection
    colour comments completed conclusion consent consistent consult container control core correlation count
    cytological data deep demographics dense details discharge dorsal education effusion electronic endocervical
    exam examination external favour features fields film final findings first follow form general genital grade
    granuloma gross group high history immunocytochemistry impression indication infection inferior inflammation
    information initial intermediate internal invasive lateral left lesion limited liquid location low lumbar
    macroscopic macroscopy management marked medial melanoma menopausal metaplasia metastatic microscopic
    microscopical mild moderate monolayer mucosa name nasal new normal notes of old opinion other outpatient pale
    papillary para paracentesis parity past patient patients pcr plasma poor post postmenopausal pre premenopausal
    preparation present previous primary problem procedures protocol provisional ptc quadrant reactive received
    recent recommendation referral request result results revised risk safety satisfactory screening second severe
    severity sheet side signed small smears source stain stained staining statement status subclavian subject
    summary superficial superior supraclavicular surgical swab test tests third top total transplant type ulcer
    unremarkable unsatisfactory update urothelial us vault ventral ward wart white with zone
"""
_NOT_LISTED = frozenset(_HEADINGS.split())
_LETTERS = rf"[{UPPER}{LOWER}][{UPPER}{LOWER}'’.-]{{0,30}}"
_CARETS = re.compile(
    rf"(?<![\w^])(?:{PARTICLES}|(?:[{UPPER}]{{2,4}}\s){{0,2}})[{UPPER}{LOWER}][{UPPER}{LOWER}'’-]{{1,30}}"
    rf"(?:\^{{1,4}}{_LETTERS}){{1,5}}\^{{0,4}}(?!\w)"
)
_YEARS = r"(?i:(?:years?|yrs?|yo|y/o|y\.o\.|y|jahre|ans|años|anni)\b)"
_SEX = r"(?i:(?:female|male|woman|man|[FMW])(?![\w/.-]))"
_ABOUT = (
    rf"\s{{0,3}}[,;|(/-]?\s{{0,3}}(?:\(\s?)?(?:(?:(?i:aged?)\s)?(?:{_SEX}\s{{0,2}}[,/]?\s{{0,2}})?\d{{1,3}}[\s-]{{0,2}}"
    rf"(?:{_YEARS}|{_SEX}|[FMW]\b|\))|aged?\s\d{{1,3}}\b|{_SEX}[\s,;|/]{{0,3}}\d{{1,3}}(?![\d.,]*\s?(?:[cmµ]m|ml|%))"
    r"|\(\s?[FMW]\s?/\s?\d{1,3}\s?\)|(?:DOB|D\.O\.B\.|born|b\.\s\d|MRN|NHS|UHID|hosp(?:ital)?\s(?:no|number)|ID)\b|\*\s?\d{1,2}[./-])"
)
"""What follows a person's name in a heading: an age, a sex, a birth, a number."""
_MIXED = rf"(?:{INITIAL}\s?){{0,2}}{PARTICLES}{WORD}(?:\s{{1,3}}(?:{INITIAL}|{PARTICLES}{WORD})){{1,3}}"
_UPPER = rf"{CAPITALS}(?:\s{{1,3}}(?:[{UPPER}]\b\.?|{CAPITALS})){{1,3}}"
_SURNAME_FIRST = (
    rf"(?:{PARTICLES}{WORD}(?:\s{WORD})?,\s{{0,3}}{WORD}(?:\s(?:{INITIAL}|[{UPPER}]\b|{WORD})){{0,2}}"
    rf"|{CAPITALS}(?:\s{CAPITALS}){{0,3}},\s{{0,3}}(?:{CAPITALS}|{WORD})(?:\s(?:[{UPPER}]\b\.?|{CAPITALS}|{WORD})){{0,2}})"
)
_HEADED = re.compile(rf"(?:^|(?<=\n)|(?<=[|;]\s))(?P<name>{_SURNAME_FIRST}|{_MIXED}|{_UPPER})(?!\w)(?={_ABOUT})")
_PATIENT = (
    r"\b(?:[Pp]atients?|PATIENT|[Pp]t\.?|PT|[Cc]lient|[Ss]ubject|[Rr][Ee]:|[Rr]egarding|[Cc]oncerning)(?:['’]s)?"
    r"(?:\sis|\snamed|\scalled)?\s{1,3}"
)
_BY_PATIENT = re.compile(rf"{_PATIENT}(?P<name>{_SURNAME_FIRST}|{_MIXED}|{_UPPER})(?!\w)(?={_ABOUT})")
_FIELD = re.compile(
    rf"\b(?i:patient(?:['’]s)?\s{{1,3}}(?:full\s{{1,3}})?name)\s{{1,9}}(?P<name>{_SURNAME_FIRST}|{_MIXED}|{_UPPER})"
    r"(?=[\s,;|(]{1,3}(?:\d|DOB\b|[FM]\b))"
)
_VERB = (
    r"(?:\s|,\s)(?:was|is|has|had|who|presented|presents|came|underwent|attended|reports?|complains?|declined|consented|"
    r"requested|returned|died|feels|noticed)\b"
)
_RELATIVE = "[Hh]usband|[Ww]ife|[Mm]other|[Ff]ather|[Ss]on|[Dd]aughter|[Ss]ister|[Bb]rother|[Cc]arer|[Nn]ext of kin"
_DOING = re.compile(rf"\b(?:[Pp]atient|[Pp]t\.?|[Cc]lient|{_RELATIVE}),?\s{{1,3}}(?P<name>{_MIXED})(?={_VERB})")
_TABULATED = re.compile(
    rf"\bNAME\s{{1,9}}(?P<name>{CAPITALS}(?:\s{CAPITALS}){{1,3}}?)(?=\s{{1,9}}(?:AGE|SEX|GENDER|DOB|MRN|UHID|ID)\b)"
)
# "DOE, JANE" alone names somebody where the paper of somebody is meant, or where it is a line of its own.
_OWNED = re.compile(
    r"(?:\b(?i:smears?|results?|reports?|samples?|specimens?|slides?|cytology|letter|copy|record)\s(?:of|for|from|on|to)\s"
    rf"|^|(?<=\n))(?P<name>[{UPPER}]{{3,20}},\s[{UPPER}]{{3,20}})(?=[.;:\n]|$|\s(?:was|were|is|has)\b)"
)
_PERSONS_VERB = (
    r"(?:\swas\s(?:seen\s(?:again|today|by|in\s(?:the\s)?(?:clinic|ward|outpatients))|informed|told|referred|called|admitted|"
    r"reviewed\sin)|\s(?:presented\s(?:with|to)|attended|underwent|complain(?:s|ed)\sof|declined|consented|"
    r"returned\s(?:for|with)|is\san?\s\d{1,3}))\b"
)
_WORDS = rf"{PARTICLES}{WORD}(?:\s(?:{INITIAL}|{PARTICLES}{WORD})){{1,2}}"
_ALONE = re.compile(rf"(?:^|(?<=\n)|(?<=[.;]\s))(?P<name>{_WORDS})(?={_PERSONS_VERB})")
_OTHER_LABELS = (
    r"(?:患者|病人|受检者)?(?:姓名|氏名)\s{0,3}[:：=]?|(?:患者|病人|患者名|医师|医生|医師|担当医|报告人)\s{0,3}[:：=]"
    r"|(?:성명|환자명?|이름|اسم المريضة?|الاسم|المريضة?|пациент(?:ка)?|ф\.?\s?и\.?\s?о\.?|фамилия|имя|больн(?:ой|ая)"
    r"|врач|ασθενής|όνομα)\s{0,3}[:=]"
    r"|\b(?:patient|pt|name|patient['’]?s?\s{1,3}name|physician|doctor|pathologist)\s{0,3}[:=]"
)
_OTHER_SCRIPT = re.compile(
    rf"(?i:{_OTHER_LABELS})\s{{0,5}}(?P<name>"
    r"[\u3400-\u9fff]{1,4}(?:[\s·・][\u3400-\u9fff\u3040-\u30ff]{1,6})?|[\u3040-\u30ff]{2,8}(?:[\s・][\u3040-\u30ff]{2,8})?"
    r"|[\uac00-\ud7a3]{2,5}(?:\s[\uac00-\ud7a3]{1,3})?|[\u0600-\u06ff]{2,20}(?:\s[\u0600-\u06ff]{2,20}){0,3}"
    r"|[А-ЯЁІЇЄ][а-яёіїє]{1,30}(?:[\s-][А-ЯЁІЇЄ][а-яёіїє.]{0,30}){0,3}"
    r"|[Α-ΩΆ-Ώ][α-ωά-ώ]{1,30}(?:\s[Α-ΩΆ-Ώ][α-ωά-ώ.]{0,30}){0,2})"
)
_KEY = re.compile(rf"(?:{_SURNAME_FIRST})")


def _names_nobody(words: str) -> bool:
    """Whether one of the words is of headings or findings, as a person may be called only where a label says so."""
    return is_no_name(words) or any(
        word.lower() in _NOT_LISTED for word in re.findall(rf"[{UPPER}{LOWER}]{{2,}}", words)
    )


def _is_clinical(words: str) -> bool:
    """Whether one of the words describes cells, a disease, a marker or a specimen: nobody is called so."""
    return _names_nobody(words) or any(word.casefold() in clinical_words() for word in re.findall(r"\w+", words))


def with_carets(text: str) -> Iterator[Span]:
    """Names in the form of HL7 and DICOM: "DOE^JANE^M"."""
    if "^" in text:
        for match in _CARETS.finditer(text):
            if not _names_nobody(match.group().replace("^", " ")):
                yield match.span()


def with_attributes(text: str) -> Iterator[Span]:
    """Names before an age, a sex, a birth or a number, at the beginning of a line or after "patient"; and after
    "patient" before a verb."""
    for pattern in (_HEADED, _BY_PATIENT, _FIELD, _DOING, _TABULATED):
        for match in pattern.finditer(text):
            if not _names_nobody(match["name"]):
                yield match.span("name")


def owning_or_acting(text: str) -> Iterator[Span]:
    """Names without a label of whom a paper is ("Smear of DOE, JANE"), or who does what only people do."""
    for pattern in (_OWNED, _ALONE):
        for match in pattern.finditer(text):
            if not _is_clinical(match["name"]):
                yield match.span("name")


def in_other_scripts(text: str) -> Iterator[Span]:
    """Names in Chinese, Japanese, Korean, Arabic, Cyrillic or Greek letters after a label."""
    if not text.isascii():
        for match in _OTHER_SCRIPT.finditer(text):
            yield match.span("name")


def is_listed_name(key: str) -> bool:
    """Whether a key as a whole is a name with the surname first: "DOE, JANE"."""
    return _KEY.fullmatch(key.strip()) is not None and not _names_nobody(key)
