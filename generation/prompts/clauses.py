"""Sentences and clauses of a report: where it may be cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

CountTokens = Callable[[str], int]
"""Counts as the encoders do, with the two tokens that mark begin and end (`PromptTokens.count`)."""
SENTENCE_END = re.compile(r"(?<=[.;!?])\s+|\n+")
# "Crystals, foreign bodies and parasites are absent": the end of such a sentence denies what its beginning names.
_DENIED_LIST = re.compile(r"\b(?:is|are|was|were|be|been)\s+(?:absent|lacking|missing|not\s+\w+)\W*$", re.IGNORECASE)


class Clause(NamedTuple):
    """A clause, the sentence that holds it, and the number of that sentence in the report (from 0)."""

    text: str
    sentence: str
    number: int


def opening_specimen(report: str) -> re.Match[str] | None:
    """Match the specimen in brackets at the beginning of reports of COIN's second style."""
    return re.match(r"\s*\([^()]*\)", report)


def clauses(report: str) -> Iterator[Clause]:
    """The clauses of a report in their order, without line breaks. Those without a letter or digit are left out."""
    specimen = opening_specimen(report)
    begin = specimen.end() if specimen else 0
    sentences = [*([specimen.group()] if specimen else []), *split_sentences(report[begin:])]
    for number, sentence in enumerate(" ".join(sentence.split()) for sentence in sentences):
        parts = [sentence] if _DENIED_LIST.search(sentence) else re.split(r"(?<=,)\s+(?![^()]{0,300}\))", sentence)
        for clause in parts:
            if re.search(r"\w", clause):
                yield Clause(clause, sentence, number)


def split_sentences(text: str, end: re.Pattern[str] = SENTENCE_END) -> list[str]:
    """Split a text after each sentence and line, but not behind a heading that has a line of its own."""
    return end.split(re.sub(r":\s*\n\s*", ": ", text))


def longest_head(text: str, count_tokens: CountTokens, longest: int) -> int:
    """How many characters of `text` fit into `longest` tokens if it is cut after a word; at least 1.

    It is cut inside the first word if even that is too long.
    """
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    return _last_within(text, ends, count_tokens, longest) or (
        _last_within(text, range(1, len(text) + 1), count_tokens, longest) or 1
    )


def _last_within(text: str, ends: Sequence[int], count_tokens: CountTokens, longest: int) -> int | None:
    """The last of `ends` up to which `text` takes at most `longest` tokens, by bisection; None if no end is."""
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if count_tokens(text[: ends[middle]]) <= longest:
            low = middle + 1
        else:
            high = middle
    return ends[low - 1] if low else None
