"""Clauses: a report cut where it may be cut, at the ends of sentences and after commas."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

CountTokens = Callable[[str], int]
"""Counts as the encoders do, with the two tokens that mark begin and end (`pipeline.PromptTokens.count`)."""


# "Crystals, foreign bodies and parasites are absent": the end of such a sentence denies what its beginning names.
_DENIED_LIST = re.compile(r"\b(?:is|are|was|were|be|been)\s+(?:absent|lacking|missing|not\s+\w+)\W*$", re.IGNORECASE)


class Clause(NamedTuple):
    """A clause, the sentence that it stands in, and the number of that sentence in the report."""

    text: str
    sentence: str
    number: int


def opening_specimen(report: str) -> re.Match[str] | None:
    """The specimen in brackets that reports of COIN's second style open with."""
    return re.match(r"\s*\([^()]*\)", report)


def clauses(report: str) -> Iterator[Clause]:
    """The clauses of a report in their order, without line breaks. What holds no letter or digit is left out."""
    report = re.sub(r":\s*\n\s*", ": ", report)  # a heading on a line of its own
    specimen = opening_specimen(report)
    sentences = [specimen.group()] if specimen else []
    sentences += re.split(r"(?<=[.;!?])\s+|\n+", report[specimen.end() :] if specimen else report)
    for number, sentence in enumerate(" ".join(sentence.split()) for sentence in sentences):
        parts = [sentence] if _DENIED_LIST.search(sentence) else re.split(r"(?<=,)\s+(?![^()]*\))", sentence)
        for clause in parts:
            if re.search(r"\w", clause):
                yield Clause(clause, sentence, number)


def longest_head(text: str, count_tokens: CountTokens, longest: int) -> int:
    """Where `text` may be cut so that what stands before takes at most `longest` tokens: after a word, or inside of an
    endless one; at least 1.
    """
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    return _last_within(text, ends, count_tokens, longest) or (
        _last_within(text, range(1, len(text) + 1), count_tokens, longest) or 1
    )


def _last_within(text: str, ends: Sequence[int], count_tokens: CountTokens, longest: int) -> int | None:
    """The last of `ends` up to which `text` takes at most `longest` tokens, by bisection; None if even the first is
    too much."""
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if count_tokens(text[: ends[middle]]) <= longest:
            low = middle + 1
        else:
            high = middle
    return ends[low - 1] if low else None
