"""Condensing: of a report that is too long for the encoders, what matters most.

It is cut into clauses, these are ranked (main conclusion and site first, then other conclusions, morphology, other
sentences, recommendations, and last the history, which is not of this specimen), and as many as fit are kept, in the
order of the report. What is left out is returned.

The words below were collected from COIN's 20 published reports, the terms of the reporting systems (Bethesda, Paris,
Milan ...) and common report headings. They rank; they do not interpret.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from generation.prompts.clauses import Clause, CountTokens, clauses, longest_head, opening_specimen

_HEADINGS = {
    "conclusion": r"diagnos[ie]s|conclusions?|impression|interpretation|result|general category",
    "site": r"specimen|specimen type|site|source|sample|material|organ",
    "morphology": r"microscop\w*|morphology|cytology|findings|description|(?:additional )?comments?",
    "recommendation": r"(?:additional )?recommendations?|advice|follow-?up|management|plan",
    "history": r"(?:clinical |medical )?(?:history|information|details|data)",
    "other": r"(?:specimen )?adequacy|procedure|gross\w*|stain\w*|note|method\w*",
}
_HEADING = re.compile(
    r"^(?:(?:final|cytological|cytologic|cytopathologic|cytopathological|pathological|pathologic) )?(?:"
    + "|".join(f"(?P<{role}>{names})" for role, names in _HEADINGS.items())
    + r")\s*:"
    # What is summed up stands behind a comma, and is all of it the conclusion.
    + r"|^(?P<summary>in (?:summary|conclusion)|to (?:summari[sz]e|conclude)|overall|taken together)\s*,",
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
    r"\b(?:consistent with|compatible with|in keeping with|are those of|considered(?: to be)?|diagnos\w+ (?:of|is|as)|"
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
    r"hyperplas\w+|reactive|inflammation|granuloma\w*|non-?diagnostic|unsatisfactory)\b",
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


class _Role(enum.IntEnum):
    """In the order of keeping."""

    CONCLUSION = 0
    MORPHOLOGY = 1
    OTHER = 2
    RECOMMENDATION = 3
    HISTORY = 4


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


def condense(report: str, *, count_tokens: CountTokens, limit: int) -> tuple[str, int, tuple[str, ...]]:
    """What of a report is kept within `limit` tokens, the tokens that it takes, and what is left out, in its order."""
    # No part may be longer than a third, so that the first of the conclusion and the first of the site always fit.
    parts = list(_split(report, count_tokens, limit // 3))
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
    return text, tokens, tuple(_left_out(parts, kept))


def _split(report: str, count_tokens: CountTokens, longest: int) -> Iterator[_Part]:
    """Clauses, then pieces of at most `longest` tokens, each with its role."""
    in_brackets = opening_specimen(report) is not None
    first = True
    last: _Part | None = None
    for clause in clauses(report):
        before = last if last is not None and _goes_on(clause, last) else None
        for piece in _pieces(clause.text, count_tokens, longest):
            part = replace(_classify(piece, clause.sentence, first), sentence=clause.number)
            if in_brackets and clause.number == 0:
                part = replace(part, names_site=True)
            if before is not None:
                part = _inherit(part, before)
            yield part
            before, last, first = part, part, False


def _goes_on(clause: Clause, before: _Part) -> bool:
    """Whether a clause belongs to the conclusion before it: "… are those of SUMP, basaloid type"."""
    concluded = before.role == _Role.CONCLUSION and before.sentence == clause.number and _CUE.search(before.text)
    says_more = (_CUE, _CATEGORY, _DISEASE, _RECOMMENDATION, _MORPHOLOGY)
    return bool(concluded) and not any(words.search(clause.text) for words in says_more)


def _pieces(clause: str, count_tokens: CountTokens, longest: int) -> Iterator[str]:
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
        end = longest_head(clause, count_tokens, longest)
        yield clause[:end]
        clause = clause[end:].lstrip()
    if clause:
        yield clause


def _classify(text: str, sentence: str, first: bool) -> _Part:
    """The role of one piece of a sentence; `first` is the report's first piece."""
    opening = _HEADING.match(sentence) or _HEADING.match(text)
    heading = opening.lastgroup if opening else None
    names_site = bool(_SITE.search(text))
    if heading in ("conclusion", "summary"):
        return _Part(text, _Role.CONCLUSION, 4, names_site)
    if heading == "site":
        return _Part(text, _Role.MORPHOLOGY, 0, True)
    if heading == "other":
        return _Part(text, _Role.OTHER)
    if heading == "history":
        return _Part(text, _Role.HISTORY)
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
    if before.role in (_Role.CONCLUSION, _Role.RECOMMENDATION, _Role.HISTORY) and part.role != _Role.CONCLUSION:
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
