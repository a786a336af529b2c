"""Prompts: what of a report the text encoders get to read.

SDXL's encoders read 77 tokens and cut off the rest, and in a report the diagnosis stands last. A report that fits is
the prompt, word for word: COIN was trained on free report text. A longer one is condensed. It is cut into clauses,
these are ranked (main conclusion and site first, then other conclusions, morphology, other sentences, and
recommendations last), and as many as fit are kept, in the order of the report. What is left out is returned.

The words below were collected from COIN's 20 published reports, the terms of the reporting systems (Bethesda, Paris,
Milan ...) and common report headings. They rank; they do not interpret.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from generation.errors import EmptyReportError, SettingsError

TOKEN_LIMIT = 77  # of CLIP's text encoders, with the two tokens that mark begin and end
_SMALLEST_LIMIT = 16

_HEADINGS = {
    "conclusion": r"diagnos[ie]s|conclusions?|impression|interpretation|result|general category",
    "site": r"specimen|specimen type|site|source|sample|material|organ",
    "morphology": r"microscop\w*|morphology|cytology|findings|description|(?:additional )?comments?",
    "recommendation": r"(?:additional )?recommendations?|advice|follow-?up|management|plan",
    "other": r"(?:clinical )?(?:history|information|details|data)|adequacy|procedure|gross\w*|stain\w*|note|method\w*",
}
_HEADING = re.compile(
    r"^(?:(?:final|cytological|cytologic|cytopathologic|cytopathological|pathological|pathologic) )?(?:"
    + "|".join(f"(?P<{role}>{names})" for role, names in _HEADINGS.items())
    + r")\s*:",
    re.IGNORECASE,
)
_SITE = re.compile(
    r"\b(?:cervi\w+|endocervi\w+|vagin\w+ smear|pap smear|thyroid|isthmus|urin\w+|bladder|ureter\w*|renal pelvis|"
    r"pleural?|peritone\w+|pericardi\w+|abdominal|ascit\w+|effusions?|lavage|washings?|brushings?|"
    r"sputum|bronch\w+|lungs?|trachea\w*|mediastin\w+|breasts?|nipple|axilla\w*|salivary|parotid|submandibular|sublingual|"
    r"lymph nodes?|lymph|pancrea\w+|bile|biliary|liver|hepatic|kidney|adrenal|ovar\w+|endometri\w+|"
    r"cerebrospinal|csf|brain|skin|bone|soft tissue|oesophag\w+|esophag\w+|stomach|gastric|anal|rectal|"
    r"fine[- ]needle|fna|aspirat\w+|neck|prostat\w+|testi\w+)\b",
    re.IGNORECASE,
)
# Abbreviations of categories, written in capitals.
_CATEGORY = re.compile(
    r"\b(?:NILM|ASC-?US|ASC-?H|LSIL|HSIL|SIL|AGC|AIS|SCC|AUS|FLUS|AUC|S?HGUC|NHGUC|LGUN|SFM|SUMP|PTC|MTC)\b"
    r"|(?i:\bno intraepithelial lesion|\bnegative for intraepithelial|\bsquamous intraepithelial lesion)"
)
_CUE = re.compile(
    r"\b(?:consistent with|compatible with|in keeping with|considered(?: to be)?|diagnos\w+ (?:of|is|as)|"
    r"indicat(?:es?|ing|ive of)|suspicious for|suspected|positive for|negative for|no evidence of|"
    r"(?:did not find|does not show|do not show|no|without) (?:\w+ ){0,2}(?:cancer|malignan\w+|tumou?r|neoplas\w+)|"
    r"cannot be (?:ruled out|excluded)|favou?r(?:s|ed|ing)?|in line with|represent(?:s|ing)?|"
    r"suggest(?:s|ing|ive of)?(?! (?:colposcopy|biopsy|follow|repeat|further|clinical|excision|review|correlat)))\b",
    re.IGNORECASE,
)
# Where a run-on clause is cut: before the words of a conclusion, and before its heading where no full stop precedes it.
_CUT = re.compile(rf"{_CUE.pattern}|\b(?:{_HEADINGS['conclusion']})\s*:", re.IGNORECASE)
_DISEASE = re.compile(
    r"\b(?:\w*carcinomas?|lymphomas?|melanomas?|sarcomas?|blastomas?|adenomas?|mesotheliomas?|malignan\w+|neoplas\w+|"
    r"cancers?|tumou?rs?|dysplas\w+|metasta\w+|benign|vaginosis|candid\w+|trichomon\w+|thyroiditis|goit(?:er|re)|"
    r"hyperplas\w+|reactive|inflammation|granuloma\w*)\b",
    re.IGNORECASE,
)
_RECOMMENDATION = re.compile(
    r"\b(?:recommend\w*|advis\w+|suggest(?:ed)? (?:colposcopy|biopsy|follow|repeat|further|clinical|excision|review)|"
    r"correlat\w+|follow[- ]?up|please|repeat (?:smear|fna|cytology|sampling)|"
    r"further (?:clinical |investigation|exam))",
    re.IGNORECASE,
)
_MORPHOLOGY = re.compile(
    r"\b(?:\w*cells?|\w*cellular\w*|\w*nucle\w+|cytoplasm\w*|\w*chromat\w+|background|clusters?|sheets?|"
    r"papilla\w*|gland\w*|\w*epitheli\w+|squam\w+|follic\w+|colloid|lymphocyt\w*|neutrophil\w*|macrophage\w*|"
    r"histiocyt\w*|necro\w+|mitot\w+|mitos\w+|vacuol\w*|mucin\w*|arrange\w*|pattern\w*|moulding|molding|koilocyt\w*|kerati\w+|smears?|"
    r"psammoma|mesotheli\w+|urotheli\w+|blood\w*|debris|diathesis|crowd\w+|overlapp\w+|enlarged|membrane\w*)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Prompt:
    """A report and what is encoded of it.

    `text` is encoded and takes `tokens` of `limit` tokens (begin and end marks included). `dropped` holds what was left
    out, in the order of the report; together with `text` it is the whole report but for spaces and punctuation.
    """

    report: str
    text: str
    tokens: int
    limit: int
    dropped: tuple[str, ...] = ()


class _Role(enum.IntEnum):
    """In the order of keeping."""

    CONCLUSION = 0
    MORPHOLOGY = 1
    OTHER = 2
    RECOMMENDATION = 3


@dataclass(frozen=True)
class _Part:
    """A clause, or a piece of one. `weight` orders conclusions among themselves; a higher one is kept first."""

    text: str
    role: _Role
    weight: int = 0
    names_site: bool = False
    sentence: int = 0
    continues: bool = False  # the piece before it is of the same clause

    @property
    def is_scrap(self) -> bool:
        """Whether it means nothing without the piece before it."""
        return self.continues and not self.names_site and self.role != _Role.CONCLUSION


def build_prompt(report: str, *, count_tokens: Callable[[str], int], limit: int = TOKEN_LIMIT) -> Prompt:
    """The prompt for a report: the report itself where it fits into `limit` tokens, else condensed.

    `count_tokens` counts as the encoders do, with begin and end marks (`pipeline.PromptTokens.count`).

    Raises `EmptyReportError` for a report without a letter or digit, `SettingsError` for a limit below 16.
    """
    if limit < _SMALLEST_LIMIT:
        raise SettingsError(f"A prompt of {limit} tokens holds no site and diagnosis: {_SMALLEST_LIMIT} are needed.")
    # A lone surrogate (bytes that were no UTF-8, from a command line) cannot be encoded: it becomes "?".
    readable = report.encode(errors="replace").decode()
    text = " ".join(readable.split())
    if not any(character.isalnum() for character in text):
        raise EmptyReportError("The report is empty: there is nothing to generate from. Enter report text.")
    tokens = count_tokens(text)
    if tokens <= limit:
        return Prompt(report, text, tokens, limit)

    # No part may be longer than a third, so that the first of the conclusion and the first of the site always fit.
    parts = list(_split(readable, count_tokens, limit // 3))
    kept: set[int] = set()
    text, tokens = "", 0
    for index in _by_importance(parts):
        if parts[index].is_scrap and index - 1 not in kept:
            continue
        longer = _join(parts, kept | {index})
        needed = count_tokens(longer)
        if needed <= limit:
            kept.add(index)
            text, tokens = longer, needed
        if tokens >= limit - 1:  # full: do not try a thousand more
            break
    return Prompt(report, text, tokens, limit, tuple(_left_out(parts, kept)))


def _split(report: str, count_tokens: Callable[[str], int], longest: int) -> Iterator[_Part]:
    """Sentences, then clauses, then pieces of at most `longest` tokens, each with its role."""
    report = re.sub(r":\s*\n\s*", ": ", report)  # a heading on a line of its own
    specimen = re.match(r"\s*\([^()]*\)", report)  # COIN's second style opens with the specimen
    sentences = [specimen.group()] if specimen else []
    sentences += re.split(r"(?<=[.;!?])\s+|\n+", report[specimen.end() :] if specimen else report)
    first = True
    for number, sentence in enumerate(" ".join(sentence.split()) for sentence in sentences):
        for clause in re.split(r"(?<=,)\s+(?![^()]*\))", sentence):
            if not re.search(r"\w", clause):
                continue
            before: _Part | None = None
            for piece in _pieces(clause, count_tokens, longest):
                part = replace(_classify(piece, sentence, first), sentence=number)
                if specimen and number == 0:
                    part = replace(part, names_site=True)
                if before is not None:
                    part = _inherit(part, before)
                yield part
                before, first = part, False


def _pieces(clause: str, count_tokens: Callable[[str], int], longest: int) -> Iterator[str]:
    """A clause as it is where it is short enough; else cut before what introduces a conclusion, then by words.

    A handful of pieces fill any prompt, so the rest of a very long clause stays in one piece.
    """
    cut = _CUT.search(clause)
    if cut and cut.start() > 0 and count_tokens(clause) > longest:
        yield from _pieces(clause[: cut.start()].rstrip(), count_tokens, longest)
        clause = clause[cut.start() :]
    for _ in range(6):
        if count_tokens(clause) <= longest:
            break
        end = _longest_head(clause, [match.end() for match in re.finditer(r"\S+", clause)], count_tokens, longest)
        if end is None:  # one endless word
            end = _longest_head(clause, range(1, len(clause) + 1), count_tokens, longest) or 1
        yield clause[:end]
        clause = clause[end:].lstrip()
    if clause:
        yield clause


def _longest_head(clause: str, ends: Sequence[int], count_tokens: Callable[[str], int], longest: int) -> int | None:
    """The last of `ends` up to which `clause` takes at most `longest` tokens, by bisection; None if even the first is
    too much."""
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if count_tokens(clause[: ends[middle]]) <= longest:
            low = middle + 1
        else:
            high = middle
    return ends[low - 1] if low else None


def _classify(text: str, sentence: str, first: bool) -> _Part:
    """The role of one piece of a sentence; `first` is the report's first piece."""
    opening = _HEADING.match(sentence) or _HEADING.match(text)
    heading = opening.lastgroup if opening else None
    names_site = bool(_SITE.search(text))
    if heading == "conclusion":
        return _Part(text, _Role.CONCLUSION, 4, names_site)
    if heading == "site":
        return _Part(text, _Role.MORPHOLOGY, 0, True)
    if heading == "other":
        return _Part(text, _Role.OTHER)
    if heading == "recommendation" or _RECOMMENDATION.search(text):
        return _Part(text, _Role.RECOMMENDATION)
    category, cue = _CATEGORY.search(text), _CUE.search(text)
    if category or cue or _DISEASE.search(text):
        # COIN's first style opens with the category; elsewhere the words of a conclusion outweigh a mere mention.
        weight = 3 if category and first else 2 if category or cue else 1
        return _Part(text, _Role.CONCLUSION, weight, names_site)
    describes = names_site or _MORPHOLOGY.search(sentence)
    return _Part(text, _Role.MORPHOLOGY if describes else _Role.OTHER, 0, names_site)


def _inherit(part: _Part, before: _Part) -> _Part:
    """A later piece of a clause: what goes on after the words of a conclusion belongs to it."""
    if before.role in (_Role.CONCLUSION, _Role.RECOMMENDATION) and part.role != _Role.CONCLUSION:
        part = replace(part, role=before.role, weight=before.weight)
    return replace(part, continues=True)


def _by_importance(parts: Sequence[_Part]) -> list[int]:
    """Indices of `parts` in the order of keeping.

    First the head of the main conclusion and the site, then the rest of the main conclusion, then by role. The main
    conclusion is the weightiest; of equals the last, where narrative reports put it.
    """
    indices = range(len(parts))
    head = list(indices)  # of each part, where its conclusion begins
    for i in indices:
        if parts[i].continues and parts[i].role == parts[i - 1].role == _Role.CONCLUSION:
            head[i] = head[i - 1]
    conclusions = [i for i in indices if parts[i].role == _Role.CONCLUSION]
    conclusions.sort(key=lambda i: (-parts[i].weight, -head[i], i))
    site = next((i for i in indices if parts[i].names_site and parts[i].role != _Role.RECOMMENDATION), 0)
    rest = sorted(indices, key=lambda i: (parts[i].role, i))
    return list(dict.fromkeys([*conclusions[:1], site, *conclusions, *rest]))


def _join(parts: Sequence[_Part], kept: set[int]) -> str:
    """The kept parts in the order of the report. A part whose continuation was dropped ends like a sentence."""
    pieces = []
    for index in sorted(kept):
        text = parts[index].text
        if index + 1 not in kept:
            text = text.rstrip(",;: ")
            if text[-1:].isalnum():
                text += "."
        pieces.append(text)
    return " ".join(pieces)


def _left_out(parts: Sequence[_Part], kept: set[int]) -> Iterator[str]:
    """The dropped parts, those that stood side by side in one sentence as one text."""
    texts: list[str] = []
    for index, part in enumerate(parts):
        follows = index > 0 and index - 1 not in kept and parts[index - 1].sentence == part.sentence
        if texts and (index in kept or not follows):
            yield " ".join(texts).rstrip(",; ")
            texts = []
        if index not in kept:
            texts.append(part.text)
    if texts:
        yield " ".join(texts).rstrip(",; ")
