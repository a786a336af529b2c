"""Condensing: of a report that is too long for the encoders, what matters most.

It is cut into clauses, these are ranked (main conclusion and site first, then other conclusions, morphology, other
sentences, recommendations, and last the history, which is not of this specimen), and as many as fit are kept, in the
order of the report. What is left out is returned.

The words by which the parts are told apart are in cues.toml. They rank; they do not interpret.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from generation.prompts.clauses import Clause, CountTokens, clauses, longest_head, opening_specimen
from generation.prompts.cues import alternatives

_ROLES = ("conclusion", "site", "morphology", "recommendation", "history", "other")


def _cues(pattern: str, flags: re.RegexFlag = re.IGNORECASE) -> re.Pattern[str]:
    """A pattern in which each group of cues.toml stands by its name in braces."""
    return re.compile(
        re.sub(r"\{([a-z.]+)\}", lambda name: f"(?:{alternatives(name[1], 'condensing')})", pattern), flags
    )


_HEADING = _cues(
    r"^(?:(?:final|cytological|cytologic|cytopathologic|cytopathological|pathological|pathologic) )?(?:"
    + "|".join(f"(?P<{role}>{{heading.{role}}})" for role in _ROLES)
    + r")\s*:"
    # What is summed up stands behind a comma, and is all of it the conclusion.
    + r"|^(?P<summary>{summary})\s*,"
)
_SITE = _cues(r"\b{site}\b")
_CATEGORY = _cues(r"\b{category.code}\b|(?i:\b{category.words})", re.NOFLAG)
_CUE = _cues(r"\b{conclusion}\b")
# Where a run-on clause is cut: before the words of a conclusion, and before its heading where no full stop precedes it.
_CUT = _cues(r"\b{conclusion}\b|\b{heading.conclusion}\s*:")
_DISEASE = _cues(r"\b{disease}\b")
_RECOMMENDATION = _cues(r"\b{advice}")
_MORPHOLOGY = _cues(r"\b{morphology}\b")


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
