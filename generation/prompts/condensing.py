"""Condensing: reduce a report that is too long for the encoders to its most important clauses.

The report is cut into clauses. These are ranked: main conclusion and site first, then other conclusions, morphology,
other sentences, recommendations, and last the history, which is not about this specimen. As many as fit are kept, in
the order of the report. The others are returned as dropped.

The cues that decide the role of a clause are in cues.toml. They rank; they do not interpret.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

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
    # Everything behind "In summary," is the conclusion.
    + r"|^(?P<summary>{summary})\s*,"
)
_SITE = _cues(r"\b{site}\b")
_CATEGORY = _cues(r"\b{category.code}\b|(?i:\b{category.words})", re.NOFLAG)
_CUE = _cues(r"\b{conclusion}\b")
# A run-on clause is cut before a cue of a conclusion, and before a conclusion's heading that no full stop precedes.
_CUT = _cues(r"\b{conclusion}\b|\b{heading.conclusion}\s*:")
_DISEASE = _cues(r"\b{disease}\b")
_RECOMMENDATION = _cues(r"\b{advice}")
_MORPHOLOGY = _cues(r"\b{morphology}\b")


class _Role(enum.IntEnum):
    """What a part of a report is about; lower ones are kept first."""

    CONCLUSION = 0
    MORPHOLOGY = 1
    OTHER = 2
    RECOMMENDATION = 3
    HISTORY = 4


class _Part(NamedTuple):
    """A clause, or a piece of one. `weight` orders conclusions among themselves; a higher one is kept first."""

    text: str
    role: _Role
    weight: int = 0
    names_site: bool = False
    sentence: int = 0
    continues: bool = False  # the piece before it belongs to the same clause

    @property
    def needs_the_one_before(self) -> bool:
        """Whether it means nothing without the piece before it."""
        return self.continues and not self.names_site and self.role != _Role.CONCLUSION


def condense(report: str, *, count_tokens: CountTokens, limit: int) -> tuple[str, int, tuple[str, ...]]:
    """Condense a report to at most `limit` tokens.

    Returns:
        The text that is kept, the tokens that it takes, and the parts left out; both in the order of the report. Empty
        for a report without a word.
    """
    # No part may be longer than a third, so that the first of the conclusion and the first of the site always fit.
    parts = list(_split(report, count_tokens, limit // 3))
    if not parts:  # not one word
        return "", 0, ()
    kept: set[int] = set()
    text, tokens = "", 0
    for index in _by_importance(parts):
        if parts[index].needs_the_one_before and index - 1 not in kept:
            continue
        longer = _join(parts, kept | {index})
        needed = count_tokens(longer)
        if needed <= limit:
            kept.add(index)
            text, tokens = longer, needed
        if tokens >= limit - 1:  # full: do not try a thousand other parts
            break
    return text, tokens, tuple(_left_out(parts, kept))


def _split(report: str, count_tokens: CountTokens, longest: int) -> Iterator[_Part]:
    """Clauses, then pieces of at most `longest` tokens, each with its role."""
    in_brackets = opening_specimen(report) is not None
    first = True
    last: _Part | None = None
    for clause in clauses(report):
        before = last if last is not None and _continues_conclusion(clause, last) else None
        for piece in _pieces(clause.text, count_tokens, longest):
            part = _classify(piece, clause.sentence, first)._replace(sentence=clause.number)
            if in_brackets and clause.number == 0:
                part = part._replace(names_site=True)
            if before is not None:
                part = _inherit(part, before)
            yield part
            before, last, first = part, part, False


def _continues_conclusion(clause: Clause, before: _Part) -> bool:
    """Whether a clause belongs to the conclusion before it: "… are those of SUMP, basaloid type"."""
    concluded = before.role == _Role.CONCLUSION and before.sentence == clause.number and _CUE.search(before.text)
    own_role = (_CUE, _CATEGORY, _DISEASE, _RECOMMENDATION, _MORPHOLOGY)
    return bool(concluded) and not any(cue.search(clause.text) for cue in own_role)


def _pieces(clause: str, count_tokens: CountTokens, longest: int) -> Iterator[str]:
    """Cut a clause of more than `longest` tokens before a conclusion's cue, then between words.

    A few pieces fill any prompt, so the rest of a very long clause stays in one piece.
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
    """Find the role of one piece of a sentence; `first` says whether it is the report's first piece."""
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
        # Reports of COIN's first style open with the category; elsewhere a conclusion's cue outweighs a mere mention.
        weight = 3 if category and first else 2 if category or cue else 1
        return _Part(text, _Role.CONCLUSION, weight, names_site)
    describes = names_site or _describes(sentence)
    return _Part(text, _Role.MORPHOLOGY if describes else _Role.OTHER, 0, names_site)


@functools.lru_cache(maxsize=4)
def _describes(sentence: str) -> bool:
    """Whether a sentence describes cells. Called for each of its clauses, of which a long one has thousands."""
    return bool(_MORPHOLOGY.search(sentence))


def _inherit(part: _Part, before: _Part) -> _Part:
    """Give a later piece of a clause the role of the piece before it, unless it states a conclusion of its own."""
    if before.role in (_Role.CONCLUSION, _Role.RECOMMENDATION, _Role.HISTORY) and part.role != _Role.CONCLUSION:
        part = part._replace(role=before.role, weight=before.weight)
    return part._replace(continues=True)


def _by_importance(parts: Sequence[_Part]) -> list[int]:
    """Indices of `parts`, the most important first.

    First come the head of the main conclusion and the site, then the rest of the main conclusion, then the others by
    role. The main conclusion is the one of the highest weight; of equals the last, where narrative reports put it.
    """
    indices = range(len(parts))
    head = list(indices)  # head[i]: the part that begins the conclusion which part i belongs to
    for i in indices:
        if parts[i].continues and parts[i].role == parts[i - 1].role == _Role.CONCLUSION:
            head[i] = head[i - 1]
    conclusions = [i for i in indices if parts[i].role == _Role.CONCLUSION]
    conclusions.sort(key=lambda i: (-parts[i].weight, -head[i], i))
    site = next((i for i in indices if parts[i].names_site and parts[i].role != _Role.RECOMMENDATION), 0)
    rest = sorted(indices, key=lambda i: (parts[i].role, i))
    return list(dict.fromkeys([*conclusions[:1], site, *conclusions, *rest]))


def _join(parts: Sequence[_Part], kept: set[int]) -> str:
    """Join the kept parts in the order of the report, each with a full stop if its continuation was dropped."""
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
    """The dropped parts; neighbours within one sentence are joined."""
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
