"""Scores against `bm25s`, which texts contain a query's words against sets of words, changes against a new index."""

from __future__ import annotations

import logging

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.language.english import function_words
from retrieval.language.words.bm25 import ReportWords
from retrieval.language.words.terms import content_words, query_terms, terms_of, words_of

texts = st.lists(st.sampled_from(["NILM", "no", "cells", "cell", "The", "of", "HSIL.", "(VAIN", "3)", "Zellen"])).map(
    " ".join
)


@given(st.lists(texts, min_size=1, max_size=5), st.lists(texts, min_size=1, max_size=3))
def test_a_text_contains_a_query_where_it_holds_all_its_words_but_function_words(
    reports: list[str], queries: list[str]
) -> None:
    index = ReportWords(reports)
    wanted = [content_words(query) for query in queries]
    found = index.batch_containing(wanted)
    for query, words, row in zip(queries, wanted, found, strict=True):
        assert set(words) == set(words_of(query)) - function_words()
        held = [{word.rstrip("s") for word in words_of(report)} for report in reports]
        assert row.tolist() == [bool(words) and {word.rstrip("s") for word in words} <= each for each in held]
        assert np.array_equal(index.containing(words), row)


@pytest.mark.parametrize(
    ("query", "report", "contained"),
    [
        ("clue cell", "Clue cells.", True),
        ("Clue cells", "A clue cell.", True),
        ("mass", "Masses.", False),
        ("is", "I.", False),
        ("HSIL", "HSILs", True),
        ("abscess", "Absces", False),
    ],
)
def test_singular_and_plural_are_one_word(query: str, report: str, contained: bool) -> None:
    index = ReportWords([report])
    assert index.containing(words_of(query)).tolist() == [contained]
    assert all(index.knows(word) for word in words_of(query)) == contained


def test_a_negation_is_a_word_of_the_query() -> None:
    assert content_words("There is no evidence of the carcinoma.") == ("no", "evidence", "carcinoma")
    assert not {"no", "not", "without", "negative"} & function_words()


def scores_of_bm25s(reports: list[str], query: str) -> np.ndarray:
    """What the library that BM25's variants are compared with computes."""
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    number = {word: i for i, word in enumerate(sorted({word for report in reports for word in terms_of(report)}))}
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75, backend="numpy")
    ids = [[number[word] for word in terms_of(report)] for report in reports]
    index.index((ids, number), create_empty_token=False, show_progress=False)
    found = np.zeros(len(reports))
    for word, times in query_terms(query).items():
        if word in number:
            start, end = index.scores["indptr"][number[word] : number[word] + 2]
            np.add.at(found, index.scores["indices"][start:end], times * index.scores["data"][start:end])
    return found


@given(st.lists(texts, min_size=1, max_size=8), texts)
def test_scores_are_those_of_bm25s(reports: list[str], query: str) -> None:
    if not any(map(words_of, reports)):
        reports = [*reports, "NILM"]
    index = ReportWords(reports)
    assert index.scores(query) == pytest.approx(scores_of_bm25s(reports, query), rel=1e-5, abs=1e-6)
    assert np.array_equal(index.batch_scores(["cells", query])[1], index.scores(query))


@pytest.mark.parametrize("query", ["HSIL, foam", "rare rare foam", "foam", "rare", "absent", ""])
def test_rare_words_score_as_frequent_ones_do(query: str) -> None:
    """One of 40 texts has the one, all the other; then some texts are gone, and others stand for them."""
    reports = ["Foam."] * 38 + ["HSIL, foam, HSIL.", "A rare foam of many words."]
    index = ReportWords(reports)
    assert index.scores(query) == pytest.approx(scores_of_bm25s(reports, query), rel=1e-5, abs=1e-6)
    other = index.changed([0, 38], ["Foam, HSIL."])
    left = [*reports[1:38], reports[39], "Foam, HSIL."]
    assert other.present.tolist() == [False, *[True] * 37, False, True, True]
    assert other.scores(query)[other.present] == pytest.approx(scores_of_bm25s(left, query), rel=1e-5, abs=1e-6)
    assert not other.scores(query)[~other.present].any()
    assert np.array_equal(other.batch_scores([query])[0], other.scores(query))
    rows = np.flatnonzero(other.present).tolist()
    assert other.only(rows).scores(query) == pytest.approx(other.scores(query)[rows], rel=1e-6)


changes = st.lists(st.tuples(st.sets(st.integers(0, 30), max_size=3), st.lists(texts, max_size=3)), max_size=12)


@pytest.mark.slow
@given(st.lists(texts, max_size=6), changes, texts)
def test_a_changed_index_is_as_one_made_anew(reports: list[str], changes: list, query: str) -> None:
    index, held = ReportWords(reports), dict(enumerate(reports))
    for gone, new in changes:
        before, rows = index.scores(query).copy(), [row for row in gone if row in held]
        former, index = index, index.changed(rows, new)
        assert np.array_equal(former.scores(query), before), "an index that somebody holds does not change"
        held = {row: text for row, text in held.items() if row not in gone}
        held |= dict(enumerate(new, start=len(former)))
    anew = ReportWords([*held.values()])
    assert np.flatnonzero(index.present).tolist() == sorted(held)
    for one in (index, index.only(sorted(held))):
        scores = one.scores(query)
        assert scores[one.present] == pytest.approx(anew.scores(query), rel=1e-6)
        assert not scores[~one.present].any()
        assert np.array_equal(one.batch_scores([query])[0], scores)
        assert (
            one.containing(content_words(query))[one.present].tolist() == anew.containing(content_words(query)).tolist()
        )
        assert {word: one.knows(word) for word in ("nilm", "absent")} == {w: anew.knows(w) for w in ("nilm", "absent")}
