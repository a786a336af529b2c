"""Names without a label: as laboratory systems write them ("DOE^JANE", "DOE, JANE (62 F)"), and in sentences that
tell what is done with people only ("Discussed with Jane Doe", "cc: J. Doe").

What stands around them must show that they name somebody: carets between words, an age or a sex after them, the word
"patient" or a verb before. In a sentence a name has two words, and none of them is of findings, places or roles.
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
# Who else is told, asked or sent something.
_ROLES_AND_PLACES = """
    administrator agency aid alliance ambulance and assurance attending bank board branch call campus care carers cell
    center centre charity city clinician coding college colleague colleagues committee community company conference
    consultant control coordinator corporation council county court day desk diseases district doctor duty
    emergency enquiries expert experts family foundation general governance health hotline house husband infection
    infectious information intensive international joint manager meeting memorial ministry multidisciplinary national
    network nurse nursing observer office officer operating outpatients outside parents physician police practice
    practitioner private programme program public quality reader reception records reference referring regional register
    registrar registry requesting research resident responsible room royal saint school secretary security service
    services society staff station surgeon surgeons surgery technician technicians technologist theatre tissue treating
    trial trust tumor university women
    alcian aperio aptima cobas congo device diabetes diagnostics disease guideline guidelines inc index
    lab laboratories labs ltd lyt methylene oesophagus esophagus hologic leica roche path
    prussian sarcoma silver street syndrome toluidine
    monday tuesday wednesday thursday friday saturday sunday january february march april june july august september
    october november december north south east west central united
"""
_NO_PERSONS = frozenset(_ROLES_AND_PLACES.split())
_OF_A_SUBJECT = re.compile(r"(?i)(?:olog(?:y|ists?|ical)|etics|ular|iatr(?:y|ics?|ists?)|icians?|graphy|scopy|metry)$")
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
_WITH = (
    r"(?:discuss\w{0,5}|conferred|consult(?:ed|ation)?|shared|spoken?|reviewed|seen|agreed)(?:\s\w{1,12}){0,3}?\swith"
)
_TO = (
    r"(?:called|phoned|telephoned|rung|communicated|conveyed|given|reported|notified|faxed|forwarded|relayed|paged|passed|"
    r"shown|sent|e?mailed|referred|addressed|spoken?|spoke|read\sback|handed|copied|cop(?:y|ies)|letter|results?|phone\scall)"
    r"(?:\s(?!to\b)\w{1,12}){0,3}?\sto"
)
# A method, too, does what is done "by" somebody.
_BY = (
    r"(?!(?:stain\w*|prepared?|process\w*|test\w*|detect\w*|confirm\w*|measured|graded|guided|followed|caused|replaced|covered|"
    r"surrounded|obscured|perform\w*|examin\w*|visuali[sz]\w*|defined|fixed|cleared|cultured|isolated|"
    r"stag\w*|scor\w*|assay\w*|imag\w*|classif\w*|characteri[sz]ed)\b)"
    r"\w{2,15}(?:\s(?:out|electronically))?\sby"
)
_ASKED = (
    r"(?:informed|notified|contacted|alerted|paged|telephoned|emailed|thank(?:ing)?\syou,?|per|attending|on\sbehalf\sof|"
    r"(?:(?:second|expert|outside)\s)?opinion\s(?:of|from|by)|(?:(?:cyto|histo)?pathologist|cytologist|(?:cyto)?screener|"
    r"cytotechnologist|consultant|clinician|surgeon|radiologist|physician|oncologist|gp|registrar|co-?ordinator|secretary|"
    r"colleague)(?:\sof\srecord)?,?)"
)
_LABELLED = (
    r"(?:second\sopinion|(?:second|peer|final)\s(?:read(?:er|ing)?|review(?:er)?)|concurrence|concurring|"
    r"consult(?:ed|ant|ation)?|notified|informed|contacted|att(?:n|ention|ending)|"
    r"cop(?:y|ies|ied)(?:\sto)?|report\sto|distribution|recipients?|staff|dictated|typed|screened|reported|"
    r"signed|verified|validated|authori[sz]ed)\s{0,2}[.:]{1,2}"
)
_LETTER = (
    r"(?:^|(?<=[\n;.]\s)|(?<=\n))(?:cc\s{0,2}:|attn|dear|attention|(?:yours\s)?sincerely,?|(?:kind\s|best\s)?regards,?|"
    r"signed,|/s/)"
)
_TOLD = re.compile(rf"(?i:(?:\b(?=\w\w)(?:{_WITH}|{_TO}|{_BY}:?|{_ASKED}|{_LABELLED})|{_LETTER})\s{{1,3}})")
_NURSE = (
    r"(?:(?:(?:[Ss]taff|[Ww]ard|[Cc]harge)\s)?[Nn]urse|Sister|Matron|RN|GP|[Rr]egistrar|[Cc]onsultant|[Cc]olleagues?)\s"
)
_SHORT = rf"(?:{INITIAL}\s?){{1,3}}{PARTICLES}(?:{WORD}|{CAPITALS})"
_PERSON = rf"(?:{_SURNAME_FIRST}|{_SHORT}|{_MIXED}|{_UPPER})"
_WHOM = re.compile(
    rf"{_NURSE}(?P<surname>{WORD})(?!\w)(?!\s[A-Z])"
    rf"|(?:{_NURSE})?(?P<name>{_PERSON})(?P<more>(?:(?:,|;|\sand|\s&)\s{_PERSON}){{0,4}})(?!\w)"
)
_IN_FULL = (
    rf"(?:(?:{INITIAL}\s?){{1,2}}{PARTICLES}{WORD}|{PARTICLES}{WORD}\s(?:{INITIAL}|{PARTICLES}{WORD}))"
    rf"(?:\s(?:{INITIAL}|{PARTICLES}{WORD})){{0,2}}"
)
_AGREES = re.compile(
    rf"(?:^|(?<=[\n.;,]\s)|(?<=\n)|(?<=\band\s))(?P<name>{_IN_FULL})"
    rf"(?=(?:\sand\s{_MIXED})?\s(?:(?:also\s)?(?:agree[ds]?|concur(?:s|red)?|disagree[ds]?)\b"
    r"|(?:was|were|has\sbeen|will\sbe)\s(?:notified|contacted|called|informed|told)\b"
    r"|(?:has\s(?:reviewed|seen|agreed|confirmed)|signed|said|stated|writes|wrote)\b|phoned\b|rang\b|reviewed\s(?:the|this)\b|acknowledged\b))"
)
_APPOSED = re.compile(
    rf"\b(?P<name>{_IN_FULL}|{WORD}\s[{UPPER}]{{1,2}}|[{UPPER}]\s{WORD})\s?[,(–-]\s?"
    r"(?=(?i:(?:consultant|specialist|attending|senior|chief|lead|staff|resident|trainee|fellow|registrar|biomedical\sscientist|"
    r"(?:cyto|histo)?pathologist|cytotechnologist|cytologist|cytoscreener|nurse|secretary|GP|radiologist)\b))"
)
_KIN = re.compile(
    rf"\b(?:{_RELATIVE}),?\s(?P<name>{WORD})(?=,?\s(?:was|is|has|had|who|will|phoned|called|rang|asked|informed)\b)"
)
_DEAR = re.compile(rf"\b[Dd]ear\s(?P<name>(?!Sirs?\b|Madam\b|All\b){WORD})(?=,)")
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
    return _names_nobody(words) or any(word.casefold() in clinical_words() for word in re.findall(r"\w{2,}", words))


def _is_nobody(words: str) -> bool:
    """As `_is_clinical`, also of words for those who are told or sent something: "the Referring Clinician"."""
    return _is_clinical(words) or any(
        word.lower() in _NO_PERSONS or _OF_A_SUBJECT.search(word) for word in re.findall(r"[^\W\d_]+", words)
    )


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


def told_or_agreeing(text: str) -> Iterator[Span]:
    """Names of whom somebody told, asked or sent something, who agrees, and whose office stands behind them."""
    for cue in _TOLD.finditer(text):
        match = _WHOM.match(text, cue.end())
        if match is None:
            continue
        start = match.start("surname" if match["surname"] else "name")
        for person in re.finditer(_PERSON if match["name"] else WORD, text[start : match.end()]):
            words, first = person.group(), start + person.start()
            before = words.partition(",")[0]
            if not _is_nobody(words):
                yield first, first + len(words)
            elif " " in before and not _is_nobody(before):  # "Jane Doe, Ward"
                yield first, first + len(before)
    for pattern in (_AGREES, _APPOSED, _KIN, _DEAR):
        for match in pattern.finditer(text):
            if not _is_nobody(match["name"]):
                yield match.span("name")


def in_other_scripts(text: str) -> Iterator[Span]:
    """Names in Chinese, Japanese, Korean, Arabic, Cyrillic or Greek letters after a label."""
    if not text.isascii():
        for match in _OTHER_SCRIPT.finditer(text):
            yield match.span("name")


def is_listed_name(key: str) -> bool:
    """Whether a key as a whole is a name with the surname first: "DOE, JANE"."""
    return _KEY.fullmatch(key.strip()) is not None and not _names_nobody(key)
