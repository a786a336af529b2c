"""Postings: for each word the texts that have it, as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Bools, Ints

Rows = npt.NDArray[np.int32]

MOST_PARTS: Final = 8
"""Of what grows by parts: with more, some are merged."""
SMALL: Final = 8
"""The largest part stays as it is where it is so many times as large as the others together."""


def first_to_merge(sizes: Sequence[int]) -> int:
    """From which part on the parts are to be merged into one, by their sizes in the order in which they came; as many
    as there are parts where they may stay. Each entry is then copied a number of times that grows as the logarithm."""
    if len(sizes) <= MOST_PARTS:
        return len(sizes)
    return 1 if SMALL * sum(sizes[1:]) < sizes[0] else 0


@dataclass(frozen=True, eq=False)
class Segment:
    """The postings of some texts: of word w the texts `rows[starts[w] : starts[w + 1]]` and how often each has it."""

    starts: Ints
    rows: Rows
    """Of each word ascending."""
    counts: npt.NDArray[np.float32]

    def of(self, word: int) -> slice:
        """The postings of a word; none where it came up later."""
        return slice(self.starts[word], self.starts[word + 1]) if word + 1 < len(self.starts) else slice(0)

    def holding(self, word: int, rows: Rows) -> Bools:
        """Which of these rows, int32[m], have a word: bool[m]. O(m log postings)."""
        having = self.rows[self.of(word)]
        if not len(having):
            return np.zeros(len(rows), dtype=bool)
        return np.asarray(having[np.minimum(np.searchsorted(having, rows), len(having) - 1)] == rows, dtype=bool)


def indexed(
    texts: Iterable[Sequence[str]], count: int, number: dict[str, int], first: int
) -> tuple[Segment, npt.NDArray[np.float32]]:
    """The postings of `count` texts, each given by its words, in the rows from `first` on, and their lengths in words,
    float32[count]; numbers new words."""
    words: list[int] = []
    lengths = np.zeros(count, dtype=np.float32)
    for row, of_text in enumerate(texts):
        lengths[row] = len(of_text)
        words += [number.setdefault(word, len(number)) for word in of_text]
    rows = np.repeat(np.arange(count, dtype=np.int64), lengths.astype(np.int64))
    return _postings(np.array(words, dtype=np.int64), rows, first, len(number), max(1, count)), lengths


def _postings(words: Ints, rows: Ints, first: int, known: int, texts: int) -> Segment:
    """Occurrences (word, row), each of them once, as postings."""
    pairs, counts = np.unique(words * texts + rows, return_counts=True)
    starts = np.searchsorted(pairs, np.arange(known + 1) * texts)
    return Segment(starts, (pairs % texts + first).astype(np.int32), counts.astype(np.float32))


def merged(segments: Sequence[Segment], known: int) -> Segment:
    """Segments as one, of the first `known` words; the rows of a later one are higher."""
    if len(segments) == 1:
        return segments[0]
    words = [np.repeat(np.arange(len(each.starts) - 1), np.diff(each.starts)) for each in segments]
    order = np.argsort(np.concatenate(words), kind="stable")  # stable: rows ascend
    word = np.concatenate(words)[order]
    return Segment(
        np.searchsorted(word, np.arange(known + 1)),
        np.concatenate([each.rows for each in segments])[order],
        np.concatenate([each.counts for each in segments])[order],
    )


def renumbered(segment: Segment, number: Ints) -> Segment:
    """With row i as number[i]; without those that are below 0."""
    rows = number[segment.rows]
    kept = rows >= 0
    before = np.concatenate([[0], np.cumsum(kept)])
    return Segment(before[segment.starts], rows[kept].astype(np.int32), segment.counts[kept])
