"""Reports compared by their words: Okapi BM25 over postings that grow with the archive.

The least that any comparison by meaning or by image has to beat, and often hard to beat: reports of one finding are
written in the same words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from generation.prompts.glossary import Replacement, glossary
from retrieval.arrays import Bools
from retrieval.language.words.postings import Rows, Segment, first_to_merge, indexed, merged, renumbered
from retrieval.language.words.terms import forms, query_terms, terms_of, words_of

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

Scores = npt.NDArray[np.float32]

K1: Final = 1.5
B: Final = 0.75
COMMON: Final = 16
"""A word that more than one text in so many has is added to all scores at once: ten times faster."""
COMMON_KEPT: Final = 32
"""Such words whose scores are kept."""


def with_meanings(text: str) -> str:
    """The text, followed by the words that its machine-translated wordings mean ("cue cells … clue")."""
    return append_meanings(text, glossary().apply(text)[1])


def append_meanings(text: str, replaced: Sequence[Replacement]) -> str:
    """The text, followed by the words of what was replaced in it by the glossary.

    Appended, and the wordings kept: a report of either wording is then found by the other, and as well as before by
    its own.
    """
    if not replaced:
        return text
    known = set(words_of(text))
    meant = dict.fromkeys(word for each in replaced for word in words_of(each.meaning) if word not in known)
    return " ".join([text, *meant])


class ReportWords:
    """An index of n texts, scored by BM25 (Lucene's variant, k1 = 1.5, b = 0.75; Kamphuis et al., ECIR 2020).

    A text with no word in common with the query scores 0, any other more. The same texts and query give the same
    scores, alone or in a batch, and however the index came to hold them but for rounding. An index does not change once
    it is made (`changed` makes another one, which shares what has stayed), so threads may share it.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """Texts may be empty: they score 0 for every query. O(words of all texts)."""
        self._number: dict[str, int] = {}
        segment, self._lengths = indexed(map(terms_of, texts), len(texts), self._number, 0)
        self._segments: tuple[Segment, ...] = (segment,)
        self._present = np.ones(len(texts), dtype=bool)

    def changed(self, gone: Sequence[int], texts: Sequence[str]) -> ReportWords:
        """The index without the texts in the rows `gone`, which stay as rows that no query finds, and with further
        texts in rows behind the others. O(words of the new texts), beside a copy of one number a text."""
        other = ReportWords.__new__(ReportWords)
        other._number = dict(self._number) if texts else self._number
        segment, lengths = indexed(map(terms_of, texts), len(texts), other._number, len(self))
        other._lengths = np.concatenate([self._lengths, lengths])
        other._present = np.concatenate([self._present, np.ones(len(texts), dtype=bool)])
        other._present[list(gone)] = False
        other._segments = (*self._segments, segment) if texts else self._segments
        first = first_to_merge([len(each.rows) for each in other._segments])
        if first < len(other._segments):
            other._segments = (*other._segments[:first], merged(other._segments[first:], len(other._number)))
        return other

    def only(self, rows: Sequence[int]) -> ReportWords:
        """The index of these rows alone, int64[m], ascending, which are then numbered from 0. O(words of all texts)."""
        number = np.full(len(self), -1, dtype=np.int64)
        number[rows] = np.arange(len(rows))
        other = ReportWords.__new__(ReportWords)
        other._number = self._number
        other._lengths, other._present = self._lengths[rows], self._present[rows]
        other._segments = (renumbered(merged(self._segments, len(self._number)), number),)
        return other

    def packed(self) -> tuple[list[str], dict[str, npt.NDArray[Any]]]:
        """Words and arrays by which `unpacked` makes the index again: without rows that are gone, and without words
        that no text has any more.

        Returns:
            The w words that are left, and of the n texts: `lengths` float32[n], in words; `starts` int64[w + 1], where
            the postings of each word begin; `rows` int32[p] and `counts` float32[p], its texts and how often each has
            it.
        """
        here = self if self._texts == len(self) else self.only(np.flatnonzero(self._present).tolist())
        segment = merged(here._segments, len(here._number))
        used = np.flatnonzero(np.diff(segment.starts))
        numbered = list(here._number)  # in the order of their numbers
        arrays = {"lengths": here._lengths, "starts": np.append(segment.starts[used], len(segment.rows))}
        return [numbered[word] for word in used], {**arrays, "rows": segment.rows, "counts": segment.counts}

    @classmethod
    def unpacked(cls, words: Sequence[str], arrays: Mapping[str, npt.NDArray[Any]]) -> ReportWords:
        """The index that was packed; see `packed` for the shapes of the arrays."""
        index = cls([])
        index._number = {word: number for number, word in enumerate(words)}
        index._segments = (Segment(arrays["starts"], arrays["rows"], arrays["counts"]),)
        index._lengths, index._present = arrays["lengths"], np.ones(len(arrays["lengths"]), dtype=bool)
        return index

    def __len__(self) -> int:
        return len(self._present)

    @property
    def present(self) -> Bools:
        """bool[n]: the rows that are not gone."""
        return self._present

    def scores(self, text: str) -> Scores:
        """What each of the n texts scores for a query, float32[n]. A word counts as often as the query says it. O(texts
        that have one of the words), beside the n scores themselves."""
        scores = np.zeros(len(self), dtype=np.float32)
        for word, times in sorted(self._numbers(text).items()):
            if COMMON * self._frequency(word) > len(self):
                scores += np.float32(times) * self._of_all(word)
            else:
                for rows, weights in self._weighted(word):
                    scores[rows] += np.float32(times) * weights
        return scores

    def _of_all(self, word: int) -> Scores:
        """What a word adds to the score of each text, float32[n]. Kept for the words that queries have most lately."""
        known = self._common.get(word)
        if known is None:
            known = np.zeros(len(self), dtype=np.float32)
            for rows, weights in self._weighted(word):
                known[rows] = weights
            for oldest in list(self._common)[: max(0, len(self._common) + 1 - COMMON_KEPT)]:
                self._common.pop(oldest, None)
            self._common[word] = known
        return known

    @cached_property
    def _common(self) -> dict[int, Scores]:
        return {}

    def batch_scores(self, texts: Sequence[str]) -> Scores:
        """As `scores` for b queries, float32[b, n]. O(occurrences of the queries' words in the n texts)."""
        from scipy.sparse import csc_matrix

        found = [sorted(self._numbers(text).items()) for text in texts]
        ends = np.cumsum([0, *map(len, found)])
        rows = np.array([word for words in found for word, _ in words], dtype=np.int64)
        times = np.array([count for words in found for _, count in words], dtype=np.float32)
        queries = csc_matrix((times, rows, ends), shape=(len(self._number), len(texts)))
        sums: Scores = np.asarray((self._matrix @ queries).todense(), dtype=np.float32)
        return np.ascontiguousarray(sums.T)

    def containing(self, words: Sequence[str]) -> Bools:
        """Which of the n texts hold all of these different words, in the singular or the plural, bool[n]; none where
        there is no word."""
        found = np.zeros(len(self), dtype=bool)
        if words:
            found[self._rows_containing(words)] = True
            found &= self._present
        return found

    def _rows_containing(self, words: Sequence[str]) -> Rows:
        """Beginning with the rarest word: the others are looked up for its texts alone."""
        numbers = [[self._number[form] for form in sorted(forms(word) & self._number.keys())] for word in words]
        postings = [[each.rows[each.of(n)] for each in self._segments for n in of_word] for of_word in numbers]
        sizes = [sum(map(len, of_word)) for of_word in postings]
        rarest = int(np.argmin(sizes))
        rows = np.concatenate([np.empty(0, dtype=np.int32), *postings[rarest]])
        for position in np.argsort(sizes).tolist():
            if position != rarest and len(rows):
                held = [each.holding(n, rows) for each in self._segments for n in numbers[position]]
                rows = rows[np.logical_or.reduce(held)]
        return rows

    def batch_containing(self, queries: Sequence[Sequence[str]]) -> Bools:
        """As `containing` for b queries, bool[b, n]."""
        return np.stack([self.containing(words) for words in queries]) if queries else np.zeros((0, len(self)), bool)

    def knows(self, word: str) -> bool:
        """Whether one of the texts holds the word, given as `words_of` gives it, in the singular or the plural."""
        return any(self._frequency(self._number[form]) > 0 for form in forms(word) & self._number.keys())

    def _numbers(self, text: str) -> dict[int, float]:
        return {self._number[term]: times for term, times in query_terms(text).items() if term in self._number}

    def _frequency(self, word: int) -> int:
        """How many texts have the word."""
        if self._texts == len(self):
            return sum(len(each.rows[each.of(word)]) for each in self._segments)
        return sum(int(self._present[each.rows[each.of(word)]].sum()) for each in self._segments)

    def _weighted(self, word: int) -> Iterator[tuple[Rows, Scores]]:
        """The texts that have a word, and what it adds to the score of each."""
        frequency = self._frequency(word)
        rarity = np.float32(np.log(1 + (self._texts - frequency + 0.5) / (frequency + 0.5)))
        for segment in self._segments:
            here = segment.of(word)
            rows, counts = segment.rows[here], segment.counts[here]
            if self._texts < len(self):
                kept = self._present[rows]
                rows, counts = rows[kept], counts[kept]
            weights = self._damping[rows]
            weights += counts
            np.divide(counts, weights, out=weights)
            weights *= rarity
            yield rows, weights

    @cached_property
    def _texts(self) -> int:
        return int(self._present.sum())

    @cached_property
    def _damping(self) -> Scores:
        """float32[n], k1 (1 - b + b length / mean length)."""
        mean = float(self._lengths[self._present].mean(dtype=np.float64)) if self._texts else 0.0
        return (K1 * (1 - B + B * self._lengths.astype(np.float64) / (mean or 1.0))).astype(np.float32)

    @cached_property
    def _matrix(self) -> csc_matrix:
        """What a word adds to a text's score, float32[texts, words]."""
        from scipy.sparse import csc_matrix

        rows: list[Rows] = []
        weights: list[Scores] = []
        starts = [0]
        for word in range(len(self._number)):
            parts = list(self._weighted(word))
            rows += [part for part, _ in parts]
            weights += [part for _, part in parts]
            starts.append(starts[-1] + sum(len(part) for part, _ in parts))
        data = np.concatenate(weights) if weights else np.empty(0, dtype=np.float32)
        indices = np.concatenate(rows) if rows else np.empty(0, dtype=np.int32)
        return csc_matrix((data, indices, np.array(starts)), shape=(len(self), len(self._number)))
