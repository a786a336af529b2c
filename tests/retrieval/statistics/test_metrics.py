"""The metrics against scikit-learn on random rankings, with ties and with queries that nothing answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, label_ranking_average_precision_score, ndcg_score

from retrieval.statistics.cluster_bootstrap import MacroBootstrap
from retrieval.statistics.metrics import (
    average_precision,
    majority_vote,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
)

K = (1, 3, 5, 10)
seeds = st.integers(0, 2**32 - 1)


def drawn(seed: int, *, grades: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Grades int[n, m] of some queries in the order of tied random scores, and scores that put them in that order.

    A tie is ordered by position, as a search orders it by image id; scikit-learn is given the outcome.
    """
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 9), rng.integers(1, 40)
    grade = rng.integers(0, grades, (n, m)) * (rng.random((n, m)) < rng.random())
    order = np.argsort(-rng.integers(0, 5, (n, m)), axis=1, kind="stable")
    return np.take_along_axis(grade, order, axis=1), np.broadcast_to(-np.arange(m, dtype=float), (n, m))


def agree(ours: np.ndarray, theirs: list[float], answerable: np.ndarray) -> None:
    np.testing.assert_allclose(ours[answerable], np.array(theirs), rtol=0, atol=1e-9)
    assert np.isnan(ours[~answerable]).all()


@settings(max_examples=20)
@given(seeds)
def test_average_precision_is_scikit_learns(seed: int) -> None:
    grade, scores = drawn(seed)
    relevant = grade > 0
    some = relevant.any(axis=1)
    theirs = [average_precision_score(r, s) for r, s in zip(relevant[some], scores[some], strict=True)]
    agree(average_precision(relevant), theirs, some)


@settings(max_examples=20)
@given(seeds, st.sampled_from(K))
def test_ndcg_is_scikit_learns_with_graded_relevance(seed: int, k: int) -> None:
    grade, scores = drawn(seed, grades=4)
    some = grade.any(axis=1) & (grade.shape[1] > 1)  # theirs wants two entries at least
    if grade.shape[1] > 1:
        theirs = [ndcg_score([g], [s], k=k) for g, s in zip(grade[some], scores[some], strict=True)]
        agree(ndcg(grade.astype(float), k), theirs, some)


@settings(max_examples=20)
@given(seeds)
def test_reciprocal_rank_is_scikit_learns(seed: int) -> None:
    """With one relevant entry a row, their label-ranking average precision is 1 / rank: keep the first alone."""
    grade, scores = drawn(seed)
    relevant = grade > 0
    some = relevant.any(axis=1)
    first = relevant & (np.cumsum(relevant, axis=1) == 1)
    theirs = [label_ranking_average_precision_score([f], [s]) for f, s in zip(first[some], scores[some], strict=True)]
    agree(reciprocal_rank(relevant), theirs, some)


@settings(max_examples=20)
@given(seeds, st.sampled_from(K))
def test_precision_and_recall_are_scikit_learns(seed: int, k: int) -> None:
    from sklearn.metrics import precision_score, recall_score

    relevant = drawn(seed)[0] > 0
    n, m = relevant.shape
    found = np.broadcast_to(np.arange(m) < k, (n, m))
    some = relevant.any(axis=1)
    theirs = [recall_score(r, f) for r, f in zip(relevant[some], found[some], strict=True)]
    agree(recall(relevant, k), theirs, some)
    # Theirs divides by what was returned, ours by k: an empty place is a miss.
    theirs = [precision_score(r, f, zero_division=0) * min(k, m) / k for r, f in zip(relevant, found, strict=True)]
    agree(precision(relevant, k), theirs, np.ones(n, dtype=bool))


@settings(max_examples=20)
@given(seeds, st.sampled_from((1, 3, 5)))
def test_macro_f1_of_the_majority_vote_is_scikit_learns(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    n, m, classes = rng.integers(1, 30), rng.integers(1, 8), rng.integers(1, 5)
    truth, labels = rng.integers(0, classes, n), rng.integers(0, classes + 1, (n, m))
    voted = majority_vote(labels, k)
    for row, winner in zip(labels[:, :k].tolist(), voted.tolist(), strict=True):
        most = max(map(row.count, row))
        assert winner == next(label for label in row if row.count(label) == most)
    expected = f1_score(truth, voted, labels=np.unique(truth), average="macro", zero_division=0)
    bootstrap = MacroBootstrap(np.arange(n), truth, classes + 1)
    assert bootstrap.f1({"": voted}, [np.unique(truth)])[""][0].mean == pytest.approx(expected, abs=1e-9)


def test_what_the_row_does_not_hold_still_counts_where_the_total_is_given() -> None:
    relevant, total = np.array([[True, False, True], [False, False, False]]), np.array([4, 1])
    assert recall(relevant, 3, total=total).tolist() == [0.5, 0]
    assert average_precision(relevant, total=total).tolist() == pytest.approx([(1 + 2 / 3) / 4, 0])
    assert reciprocal_rank(relevant, total=total).tolist() == [1, 0]
    assert ndcg(relevant.astype(float), 1, ideal=np.array([[1.0, 2.0], [1.0, 0.0]])).tolist() == [0.5, 0]


def test_no_results_at_all_are_misses() -> None:
    nothing, total = np.zeros((2, 0), dtype=bool), np.array([3, 0])
    assert precision(nothing, 5).tolist() == [0, 0]
    np.testing.assert_equal(reciprocal_rank(nothing, total=total), [0, np.nan])
    np.testing.assert_equal(average_precision(nothing, total=total), [0, np.nan])


def test_where_nothing_was_ranked_nothing_is_voted_for() -> None:
    assert majority_vote(np.empty((2, 0), dtype=np.int64), 3).tolist() == [-1, -1]
    assert majority_vote(np.empty((0, 0), dtype=np.int64), 3).tolist() == []
