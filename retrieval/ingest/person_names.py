"""Names of people in a text, by what stands beside them: a title or a label before ("Patient name:", "Screened by"), or
a degree after. English, with the titles of a few neighbouring languages.

Each function returns spans in the order of one pattern; the same name may be found by several.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
"""`text[start:end]`."""

UPPER = "A-Z" + "".join(c for c in map(chr, range(0xC0, 0x180)) if c.isupper())
LOWER = "a-z" + "".join(c for c in map(chr, range(0xC0, 0x180)) if c.islower())
"""Latin letters, for a set in a pattern."""
# Every repetition has a limit: without one, a text of capitals or hyphens alone takes minutes.
WORD = rf"(?:Mc|Mac|O['’]|D['’]|L['’])?[{UPPER}][{LOWER}]{{1,30}}(?:[-'’][{UPPER}][{LOWER}]{{1,30}}){{0,3}}"
CAPITALS = rf"[{UPPER}](?:['’]?[{UPPER}]){{1,30}}(?:-[{UPPER}]{{2,30}}){{0,3}}"
INITIAL = rf"[{UPPER}]\."
PARTICLES = r"(?:(?:von|van|der|den|de|di|da|del|dos|la|le|bin|al|ten|ter|zu)\s+){0,3}"
# Words that stand capitalised where a name might: headings, organs, methods, eponyms after "by".
_CLINICAL = """
    abdominal accession adequate age air alcohol anterior aspirate aspiration atypical axillary bethesda biopsy
    bladder block body bone brain brash breast bronchial brush brushing cavity cell cells cervical cervix clinic
    clinical comment cyst cytology cytopathology cytospin date department diagnosis diagnostic diff dob duct
    endometrial epithelial female fine fluid follicular gland gynaecology gynecology hashimoto hodgkin hospital
    imaging institute isthmus kidney laboratory left ligand light liquid liver lobe lower lung lymph lymphoma male
    malignant mass material medical medicine method microscopy middle milan mrn neck needle negative neoplasm nipple
    no nodal node nodule not number obstetrics oncology ovary pancreas papanicolaou paris parotid pathology pelvic
    pericardial peritoneal pleural positive posterior procedure report reporting review right salivary sample scan
    section see service sex site skin smear smears specimen spleen squamous station sternberg stomach suspicious
    system the thyroid tissue tumor tumour ultrasound unknown upper urinary urine vaginal warthin wash washing woman
    yokohama unit team melanoma electronic electronically signature
    digital diagnostics
    agc ais asc ascus cin copd eus fna hgsil hiv hpv hrt hsil iud lgsil lmp lsil nilm pap tbs
"""
_NO_NAMES = frozenset(_CLINICAL.split())
_TITLE = re.compile(
    r"(?<![\w-])(?:(?P<several>Drs)\.?\s+|(?:"
    r"(?:(?:[Dd]r|[Pp]rof|Mr|Mrs|Ms|Mx)\b(?!['’])\.?|(?P<capitals>(?:DR|PROF|MR|MRS|MS)\.|DR|PROF|MRS)\b\.?|Professor|Doctor|Miss|Herrn?|"
    r"Frau|Mme|Madame)(?:\s*(?:med|rer|nat|habil|h\.\s?c|phil)\.)*\s+)+)"
)
_LABEL = re.compile(
    r"(?:\b(?:patient(?:['’]s)?|pt|full|first|last|given|family|maiden|mother['’]?s?|father['’]?s?|next\s+of\s+kin)\s+"
    r"(?:full\s+)?name|\b(?:surname|forename)|(?:^|[\n.;|,(])[ \t]{0,9}name)(?:\s{0,9}[:=]\s{0,9}|\s{1,3}[-–]\s{1,3})",
    re.I,
)
_PERSON = re.compile(
    r"\b(?:patient|pt|client|next\s+of\s+kin|(?:(?:referring|submitting|requesting|attending|treating|responsible|family)\s+)?"
    r"(?:physician|clinician|doctor|surgeon|consultant|practitioner)|referrer|gp|(?:cyto)?pathologists?|cytologists?|"
    r"cytotechnologists?|cytoscreener|screener|operator|aspirator|radiologist|resident)\s*[:=]\s*"
    r"|\b(?:signed|verified|validated|reported|screened|rescreened|authori[sz]ed|dictated|reviewed|examined|performed|"
    r"referred|requested|aspirated|collected|interpreted|diagnosed|submitted|seen|written|typed)\s+"
    r"(?:out\s+)?(?:electronically\s+)?by\s*:?\s*",
    re.I,
)
_DEGREE = re.compile(
    rf"(?<![\w-])(?P<name>(?:(?:{WORD}|{INITIAL}|[{UPPER}]{{2,30}})\s{{1,9}}){{1,3}}(?:{WORD}|[{UPPER}]{{2,30}})),?\s{{1,9}}"
    r"(?:M\.?D\.?|Ph\.?\s?D\.?|MBBS|MBChB|MB\s?BS|FRCPath|FRCPA|FCAP|FIAC|MIAC|CFIAC|S?CT\s?\(?(?:ASCP|IAC)\)?"
    r"|RN|BSN|MSN|FNP|CRNP|ARNP|APRN|PA-C|DNP|MBBCh|MBBChir|FRCS|MRCP|MRCPath|FRCR|FIBMS)(?![\w-])"
)
# "JD/ab" on a line of its own or at the end: who dictated and who typed. Those with a verb need no list of methods but
# the short one: "reported by MDT", "screened by AI".
_INITIALS = re.compile(
    r"(?:^|(?<=\n)|(?<=[.;]\s))(?P<pair>[A-Z]{2,3}\s?[/:]\s?(?!(?:ml|dl|mg|kg|hpf|mm|cm|cc|er|pr)\b)[a-z]{2,3})(?=\.?\s*(?:$|\n))"
    r"|(?i:\b(?:initials|(?:screened|typed|transcribed|dictated|signed|checked|verified|authori[sz]ed|entered|keyed|"
    r"countersigned|cosigned|reported|reviewed|"
    r"(?:cyto|histo)?pathologist|cytologist|(?:cyto)?screener|cytotechnologist|typist)(?:\sby\s{0,2}:?|:))\s{0,2}:?\s{0,2})"
    r"(?P<one>(?!(?:AI|US|CT|MR|XR|PET|MRI|EM|LM|IHC|ICC|IF|PCR|MDT|MDM|QA|QC|ENT|GP|ED|ER|OR|ICU|LBC|FNA|EUS|TBS|WHO|HPV|NGS|"
    r"LIS|HIS|II|III|IV|VI|PAS|HE|MGG|RT|LT|TV|UK|USA|EU|NHS|CIN|SIL|PAP|TPS|IAC|BAL|DR|MD|NO|OK|YES|NA|TBA|TBC|ROM|FOV|HPF|NOS)"
    r"\b)[A-Z]{2,3}|[A-Z]\.\s?[A-Z]\.(?:\s?[A-Z]\.)?)(?![\w-]|\s[A-Z][a-z]|/\d)"
    r"|(?i:\b(?:typed|transcribed|keyed|entered)\sby\s{0,2}:?\s{0,2})(?P<low>(?!it|us|me)[a-z]{2})(?=\.?\s*(?:$|\n))"
)
# Only people sign: a surname alone is one here.
_SIGNED = re.compile(
    rf"(?i:\b(?:signed|typed|dictated|transcribed|countersigned|cosigned)(?:\sout)?(?:\selectronically)?\sby\s{{0,2}}:?\s{{0,3}})(?P<name>{WORD})(?!\w)"
)
_MIXED_NAME = re.compile(rf"(?:(?:{INITIAL}\s*)*{PARTICLES}{WORD})(?:\s+{INITIAL})*")
_CAPITAL_NAME = re.compile(rf"(?:{INITIAL}\s*)*{CAPITALS}(?:\s+[{UPPER}]\b\.?)*")
_AND = re.compile(r"\s*(?:,|and|&)\s*")
_COMMA = re.compile(r",\s*")
_FOLLOWS = re.compile(r"\s+|\s*-\s*")


def after_title(text: str) -> Iterator[Span]:
    """Names after a title: "Dr. Nakamura"; after "Drs." several of them."""
    for match in _TITLE.finditer(text):
        end = yield from _name_at(text, match.end(), capitals=match["capitals"] is not None)
        while match["several"] and end and (more := _AND.match(text, end)):
            end = yield from _name_at(text, more.end(), capitals=False)


def after_label(text: str) -> Iterator[Span]:
    """Names after a label: "Patient name: DOE, JANE"."""
    for match in _LABEL.finditer(text):
        end = yield from _name_at(text, match.end(), capitals=True)
        if end and (comma := _COMMA.match(text, end)):
            yield from _name_at(text, comma.end(), capitals=True)


def in_role(text: str) -> Iterator[Span]:
    """Names of at least two words after a role or an act: "Pathologist: Ann Lee", "screened by J. Okafor"."""
    for match in _PERSON.finditer(text):
        start = match.end()
        if _TITLE.match(text, start):
            continue  # found by its title
        end = _end_of_name(text, start, capitals=True)
        if end and re.search(r"\s|\.", text[start:end]):  # a word alone after "by" is as often a method
            yield (start, end)
        elif end and (comma := _COMMA.match(text, end)):
            labelled = match.group().rstrip().endswith((":", "="))  # "Patient: DOE, JANE", not "by HIV, HPV"
            given = _end_of_name(text, comma.end(), capitals=labelled and text[start:end].isupper())
            if given:
                yield (start, given)


def before_degree(text: str) -> Iterator[Span]:
    """Names before a degree: "Maria Gonzalez-Ruiz, MD"."""
    for match in _DEGREE.finditer(text):
        words = re.findall(rf"[{UPPER}{LOWER}]+", match["name"])
        if not any(word.lower() in _NO_NAMES for word in words):
            yield match.span("name")


def initials(text: str) -> Iterator[Span]:
    """Initials of who wrote: "JD/ab" at the end, "typed by JD"; and a surname alone behind "signed by"."""
    for match in _INITIALS.finditer(text):
        yield match.span(match.lastgroup or 0)
    for match in _SIGNED.finditer(text):
        if not is_no_name(match["name"]):
            yield match.span("name")


def _name_at(text: str, start: int, *, capitals: bool) -> Generator[Span, None, int]:
    """The name at `start`, as a generator that returns where it ends (0 where there is none)."""
    end = _end_of_name(text, start, capitals=capitals)
    if end:
        yield (start, end)
    return end


def _end_of_name(text: str, start: int, *, capitals: bool) -> int:
    """Where the name that begins at `start` ends; 0 where none does. Up to four words, all in capitals or none."""
    for pattern in (_MIXED_NAME, _CAPITAL_NAME) if capitals else (_MIXED_NAME,):
        end, position = 0, start
        for _ in range(4):
            match = pattern.match(text, position)
            if match is None or is_no_name(match.group()):
                break
            end = match.end()
            gap = _FOLLOWS.match(text, end)
            if gap is None or "\n" in gap.group():
                break
            position = gap.end()
        if end:
            return end
    return 0


def is_no_name(words: str) -> bool:
    """Whether one of the words is clinical: it stands capitalised in headings and names nobody."""
    return any(word.lower() in _NO_NAMES for word in re.findall(rf"[{UPPER}{LOWER}]{{2,}}", words))
