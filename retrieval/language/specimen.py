"""The specimens of a report: the words that say where the cells come from, and the site they name.

In this order: the words about the specimen; the number or code of a system that one site alone has ("TBSRTC III");
words that one system's reports alone hold; a later sentence that opens with a specimen ("…. FNA of thyroid: …"); the
only site that the report names, where that is neither the origin of a metastasis nor beside an unknown specimen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import Final

from generation.prompts.cues import alternatives
from retrieval.language.report_scope import LONGEST
from retrieval.language.vocabulary import ReportingSystem, Site, vocabulary, word_pattern

IN_BRACKETS = re.compile(r"\s*\(((?:[^()]|\([^()]*\))*)\)")
SPECIMEN = re.compile(rf"\b(?:{alternatives('heading.site', 'labels')})\s*:\s*([^.;\n]+)", re.I)
_FINDING_BEGINS = re.compile(
    r":|\s[-–—]\s|\b(?:show(?:s|ed|ing)?|reveal\w*|contain\w*|demonstrat\w+|display\w*|consists?|yield\w*|"
    r"did|do|does|is|are|was|were|with|there|finds?|found|has|have|observed|seen|comprises?|exhibit\w*|presents?|positive|negative|suspicious|"
    r"consistent|no|not|cannot)\b",
    re.I,
)
_BESIDE = re.compile(
    r"\b(?:beside|adjacent to|next to|near|outside|lateral to|medial to|anterior to|posterior to|above|below|behind|"
    r"over) (?:the |a |an )?(?:\w+ )?$",
    re.I,
)
HEADING = re.compile(
    rf"\b(?:(?:final|cytolog\w*|patholog\w*) )?(?:{alternatives('heading.conclusion', 'labels')})\s*:", re.I
)
# What opens a report before its specimen.
_OPENING: Final = re.compile(r"\s*(?:(?:[A-E]|[1-5])[.)]\s+|(?:cytology\s+)?(?:report|test|examination)\s*:\s*)", re.I)
_SENTENCE_END: Final = re.compile(r"(?<=[.;])\s|\n")
_STAINS: Final = r"(?:MGG|giemsa|H\s?&\s?E|HE|haematoxylin|hematoxylin|diff[\s-]?quik|romanowsky|ziehl\w*|PAS)"
# "Pap" is a stain here, and no smear of the cervix.
_STAIN: Final = re.compile(
    rf"\bpap(?:anicolaou)?\W{{0,3}}(?:stain\w*|method|technique)|\bpap(?:anicolaou)?\W+(?:and\s+)?{_STAINS}\b"
    rf"|\b{_STAINS}\W+(?:and\s+|or\s+)?pap(?:anicolaou)?\b|\bstain\w*\s+(?:with|by|for|:)\s*pap(?:anicolaou)?\b",
    re.I,
)
# Their full stop ends no sentence: "Pl. effusion".
_ABBREVIATED: Final = re.compile(
    r"\b(pl|br|thyr|cx|lt|rt|ax|cerv|supraclav|inguin|endocerv|bronch|panc|abd)\.(?=\s)", re.I
)
_SAMPLING: Final = re.compile(
    r"\b(?:FN[AB]\w*|aspirat\w+|needl\w+|punctur\w+|smears?|brush\w*|wash\w*|lavage|fluid|tap|scrap\w+|swab|imprint|"
    r"cytolog\w+|cytospin|cell\s+block|specimen|sample|biopsy|LBC|nodes?|EUS|EBUS|CT\W?guided)\b",
    re.I,
)
_ELSEWHERE: Final = re.compile(
    r"metasta\w*|\b(?:primary|origin\w*|secondar\w+|from|spread\w*|recurren\w+|known)\b", re.I
)
# Words beside the site that name no other one.
_NEUTRAL: Final = re.compile(
    r"an?|the|of|from|in|and|fna[bc]?|fine|needle|aspirat(?:e|es|ion)|cytolog(?:y|ic|ical)|smears?|sample|specimen|guided|us|ct|"
    r"ultrasound|nodules?|mass|lump|lesion|swelling|cyst|cystic|solitary|palpable|solid|firm|hard|mobile|large|small|right|left|"
    r"lt|rt|r|l|upper|lower|mid|middle|pole|lobe|cm|mm|x|category|cat|class|code|system|grade|iac|diagnosis|result|report|"
    r"conclusion|impression|opinion|interpretation|diagnostic|general|final|overall|categori[sz]ation|[ivx]+[ab]?",
    re.I,
)
_MARKED_SPECIMEN: Final = re.compile(
    r"(?:^|(?<=[.;\n]))\s*(?:(?:specimen|part|sample|site|container|case|slide)\s+)?(?:[A-E]|[1-5]|I{1,3})\s?[.):]\s+(?=\w{2})"
    r"|(?<=[.;:,\n])\s*\((?:[a-e]|[1-5]|i{1,3})\)\s+(?=\w{2})",
    re.I,
)
SIDE: Final = re.compile(
    r"(?:^|(?<=[.;\n]))\s*(?:right|left|upper|lower|level\s+\w+|station\s+\w+|nodule\s+\w+)\b[^.;:\n]{0,40}?\s*:\s*(?=\w)",
    re.I,
)


def read_site(text: str) -> tuple[str, str]:
    """Name and words of the site, or two empty strings. Time O(length), of 5,000 characters."""
    text = _ABBREVIATED.sub(r"\1", _STAIN.sub(" ", text[:LONGEST]))
    specimen, certain = _specimen(text)
    found = _named(specimen)
    if not found:
        # Words that place a specimen where no name of a site stands beside them; those of two sites place it nowhere.
        found = [(site, match) for site in vocabulary().sites for match in word_pattern(site.hints).finditer(specimen)]
        if len({site.name for site, _ in found}) > 1:
            return "", ""
    if found:
        return _of_highest_rank(found, specimen)
    if certain:  # a specimen is named, but the vocabulary does not know it
        return "", ""
    implied = [(system, match) for system in vocabulary().systems if (match := _numbered(system).search(text))]
    if not implied:
        implied = [(s, m) for s in vocabulary().systems if (m := word_pattern(s.site_cues).search(text))]
    if implied:
        return (implied[0][0].sites[0], implied[0][1].group()) if len(implied) == 1 else ("", "")
    return _later_specimen(text)


def specimens(text: str) -> list[str]:
    """The parts of a report on several specimens, each with what stands before the first; [text] for one specimen."""
    text = text[:LONGEST]
    for pattern in (_MARKED_SPECIMEN, SIDE):
        marks = list(pattern.finditer(text))
        if len(marks) > 1:
            ends = [*(mark.start() for mark in marks[1:]), len(text)]
            # The mark itself ("A.") would be taken for a sentence; a side belongs to the specimen.
            starts = [mark.end() if pattern is _MARKED_SPECIMEN else mark.start() for mark in marks]
            return [text[start:end] for start, end in zip(starts, ends, strict=True)]
    return [text]


def names_other_system(text: str, system: ReportingSystem) -> bool:
    """Whether a report gives a number or code of another system and none of this one: "hard palate …, Milan V"."""
    return not _numbered(system).search(text) and any(
        _numbered(other).search(text) for other in vocabulary().systems if other is not system
    )


def only_site(text: str) -> tuple[str, str]:
    """The one site that a text without a specimen of its own names, and its words; two empty strings where it names
    several, or may name the origin of a metastasis.
    """
    text = _STAIN.sub(" ", text).strip()
    specimen, certain = _specimen(text)
    found = _named(text)
    if certain or not found or len({site.name for site, _ in found}) > 1 or not _is_neutral(specimen, text):
        return "", ""
    diseased = {site.name for site, _ in _named(text, of_diseases=True)} - {found[0][0].name}
    if diseased and "metasta" not in text.lower():  # "Breast carcinoma. Node to be sampled."
        return "", ""
    for site, match in found:
        sentence_start = max((m.end() for m in _SENTENCE_END.finditer(text, 0, match.start())), default=0)
        item = (
            re.split(r"[,:;]", text[sentence_start : match.start()])[-1]
            + re.split(r"[,:;.\n]", text[match.start() :], maxsplit=1)[0]
        )
        sampled = site.rank > 1 or _SAMPLING.search(item)
        if sampled or not _ELSEWHERE.search(text):
            return site.name, match.group()
    return "", ""


def _named(words: str, *, of_diseases: bool = False) -> list[tuple[Site, re.Match[str]]]:
    """The sites that words about a specimen name."""
    found: list[tuple[Site, re.Match[str]]] = []
    for site in vocabulary().sites:
        for match in word_pattern(site.aliases).finditer(words):
            # "breast cancer patient" names no specimen.
            of_disease = re.match(r"\W+(?:\w+\W+)?(?:cancer|\w*carcinoma|metasta)", words[match.end() :], re.I)
            if (of_diseases or not of_disease) and not _BESIDE.search(words, 0, match.start()):
                found.append((site, match))
    # "cervical/vaginal" contains no "vaginal smear".
    reach: dict[int, int] = {}  # by place, how far the words reach that begin there or before
    for _, match in found:
        reach[match.start()] = max(match.end(), reach.get(match.start(), 0))
    starts = sorted(reach)
    for before, start in pairwise(starts):
        reach[start] = max(reach[start], reach[before])
    covered = {start: reach[before] for before, start in pairwise(starts)}
    return [
        (site, match)
        for site, match in found
        if covered.get(match.start(), 0) < match.end() and reach[match.start()] == match.end()
    ]


def _of_highest_rank(found: list[tuple[Site, re.Match[str]]], specimen: str) -> tuple[str, str]:
    if len({site.name for site, _ in found}) > 1 and re.search(r"\b(?:and|plus)\b|[&+]", specimen):
        return "", ""  # two specimens
    highest = max(site.rank for site, _ in found)
    best = [(site, match) for site, match in found if site.rank == highest]
    if len({site.name for site, _ in best}) > 1:
        return "", ""
    return best[0][0].name, best[0][1].group()


def _later_specimen(text: str) -> tuple[str, str]:
    """The site of a later sentence that opens with its specimen, where all such sentences name one."""
    heads = (sentence.partition(":") for sentence in _SENTENCE_END.split(text)[1:])
    found = [item for head, colon, _ in heads if colon and _SAMPLING.search(head) for item in _named(head)]
    return (found[0][0].name, found[0][1].group()) if len({site.name for site, _ in found}) == 1 else ("", "")


@cache
def _numbered(system: ReportingSystem) -> re.Pattern[str]:
    """A system's name with one of its numbers or codes: "TBSRTC III", "Paris: AUC"."""
    if not system.numbered_by:
        return re.compile(r"(?!)")
    names = _any(system.numbered_by)
    values = _any(value for category in system.categories for value in (*category.numbers, *category.codes))
    apart = r"[\s:=(–-]{1,3}"
    between = rf"(?:{apart}(?:(?i:system|category|cat|class|code|edition)|2\.0|20\d\d)(?!\w))*"
    counts = r"(?!\s+(?:slides?|cases?|smears?|samples?|specimens?|passes|patients?|ml|mm|cm)\b)"
    return re.compile(rf"\b(?:{names}){between}{apart}(?:{values})(?![\w]){counts}")


def _any(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def _is_neutral(specimen: str, text: str) -> bool:
    """Whether the words before a finding name no place that the vocabulary lacks."""
    items = specimen.split(",")
    if (
        text[len(specimen) : len(specimen) + 1] != ":"
    ):  # the last words describe the finding: "adenoid cystic carcinoma"
        items = items[:-1]
    systems = {word.lower() for system in vocabulary().systems for word in system.numbered_by}
    return all(
        _NEUTRAL.fullmatch(word) or word.lower() in systems for word in re.findall(r"[^\W\d_]+", " ".join(items))
    )


def _specimen(text: str) -> tuple[str, bool]:
    """The words about the specimen, and whether they are certain to be that."""
    brackets = IN_BRACKETS.match(text)
    if brackets:
        return brackets.group(1), True
    if heading := SPECIMEN.search(text):
        before = _SENTENCE_END.split(text[: heading.start()])[-1].strip(" -*|#\t")
        if not before or _named(heading.group(1)):  # "Endocervical sample: …" is no heading
            return heading.group(1), True
    if opening := _OPENING.match(text):
        text = text[opening.end() :]
    sentence = re.split(r"(?<=[.;])\s|\n", text.strip(), maxsplit=1)[0]
    if heading := HEADING.match(sentence):  # "Diagnosis: left thyroid, FNA: …"
        sentence = sentence[heading.end() :].strip()
    begins = _FINDING_BEGINS.search(sentence)
    if begins:
        return sentence[: begins.start()], False
    diagnosis = word_pattern(vocabulary().malignancy).search(sentence)
    return (sentence[: diagnosis.start()] if diagnosis else sentence), False
