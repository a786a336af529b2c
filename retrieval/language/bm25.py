"""Reports compared by their words: Okapi BM25, as `bm25s` computes it.

The least that any comparison by meaning or by image has to beat, and often hard to beat: reports of one finding are
written in the same words.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from generation.prompts.glossary import Replacement, glossary
from retrieval.language.english import function_words

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

Scores = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_WORD: Final = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """The words of a text in their order: runs of letters and digits, case folded (Unicode NFKC).

    Stop words stay: BM25 gives a word that most reports hold next to no weight, and "no", "not" and "without" are
    stop words of every list.
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def content_words(text: str) -> tuple[str, ...]:
    """The different words of a text but for function words, in their order: what a report must hold to contain it."""
    return tuple(dict.fromkeys(word for word in words_of(text) if word not in function_words()))


def with_meanings(text: str) -> str:
    """The text, followed by the words that its machine-translated wordings mean ("cue cells … clue")."""
    return append_meanings(text, glossary().apply(text)[1])


def append_meanings(text: str, replaced: Sequence[Replacement]) -> str:
    """The text, followed by the words of what was replaced in it by the glossary.

    Appended, and the wordings kept: a report of either wording is then found by the other, and as well as before by
    its own.
    """
    known = set(words_of(text))
    meant = dict.fromkeys(word for each in replaced for word in words_of(each.meaning) if word not in known)
    return " ".join([text, *meant])


class ReportWords:
    """An index of n texts, scored by BM25 (Lucene's variant, k1 = 1.5, b = 0.75; Kamphuis et al., ECIR 2020).

    A text with no word in common with the query scores 0, any other more. The same texts and query give the same
    scores, alone or in a batch. The index does not change once it is made, so threads may share it.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """Texts may be empty: they score 0 for every query. O(words of all texts)."""
        self._count = len(texts)
        documents = [words_of(text) for text in texts]
        vocabulary = sorted({word for document in documents for word in document})
        self._number = {word: i for i, word in enumerate(vocabulary)}
        self._weights = _bm25(documents, self._number)
        self._held = self._weights.copy()
        self._held.data = np.ones_like(self._weights.data)  # a weight is above 0 wherever a text has the word

    def __len__(self) -> int:
        return self._count

    def scores(self, text: str) -> Scores:
        """What each of the n texts scores for a query, float32[n]. A word counts as often as the query says it."""
        return self.batch_scores([text])[0]

    def batch_scores(self, texts: Sequence[str]) -> Scores:
        """As `scores` for b queries, float32[b, n]. O(occurrences of the queries' words in the n texts)."""
        return self._summed(self._weights, [words_of(text) for text in texts])

    def containing(self, words: Sequence[str]) -> Bools:
        """Which of the n texts hold all of these different words, bool[n]; none where there is no word."""
        return self.batch_containing([words])[0]

    def batch_containing(self, queries: Sequence[Sequence[str]]) -> Bools:
        """As `containing` for b queries, bool[b, n]. Time as of `batch_scores`."""
        wanted = np.array([len(words) or -1 for words in queries])
        held: Bools = self._summed(self._held, queries) == wanted[:, None]
        return held

    def _summed(self, matrix: csc_matrix, queries: Sequence[Sequence[str]]) -> Scores:
        """The sum of a matrix' columns, float32[texts, words], over each query's words: float32[b, n]."""
        from scipy.sparse import csc_matrix

        found = [[self._number[word] for word in words if word in self._number] for words in queries]
        ends = np.cumsum([0, *(len(words) for words in found)])
        rows = np.array([word for words in found for word in words], dtype=np.int64)
        shape = (len(self._number), len(queries))
        chosen = csc_matrix((np.ones(len(rows), dtype=np.float32), rows, ends), shape=shape)
        chosen.sum_duplicates()
        sums: Scores = np.asarray((matrix @ chosen).todense(), dtype=np.float32)
        return np.ascontiguousarray(sums.T)

    def knows(self, word: str) -> bool:
        """Whether one of the texts holds the word, given as `words_of` gives it."""
        return word in self._number


def _bm25(documents: Sequence[Sequence[str]], number: dict[str, int]) -> csc_matrix:
    """What a word adds to a text's score, float32[texts, words]: the scores that bm25s computes when it indexes."""
    from scipy.sparse import csc_matrix

    if not number:  # bm25s takes no empty vocabulary
        return csc_matrix((len(documents), 0), dtype=np.float32)
    import bm25s

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it announces each index, whatever the program logs
    index: Any = bm25s.BM25(method="lucene", k1=1.5, b=0.75, backend="numpy")
    ids = [[number[word] for word in document] for document in documents]
    index.index((ids, number), create_empty_token=False, show_progress=False)
    made = index.scores
    return csc_matrix((made["data"], made["indices"], made["indptr"]), shape=(len(documents), len(number)))
