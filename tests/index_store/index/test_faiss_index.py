from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store import VectorError
from index_store.index.faiss_index import FaissIndex
from index_store.vectors import Selection, checked_vectors
from tests.index_store.archive_builders import unit


def some_vectors(count: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def an_index(ids: np.ndarray, vectors: np.ndarray) -> FaissIndex:
    index = FaissIndex(vectors.shape[1])
    index.add(ids, vectors)
    return index


def brute_force(ids: np.ndarray, vectors: np.ndarray, query: np.ndarray, k: int) -> list[tuple[int, float]]:
    scores = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return [(int(ids[i]), float(scores[i])) for i in np.lexsort((ids, -scores))[:k]]


@settings(max_examples=60)
@given(st.data())
def test_equals_brute_force_under_every_selection(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 60), label="count")
    pool = some_vectors(data.draw(st.integers(1, 20), label="different vectors"))
    # Few different vectors under many ids: most scores are tied.
    vectors = pool[np.random.default_rng(count).integers(0, len(pool), count)]
    ids = np.sort(np.random.default_rng(1).choice(500, count, replace=False)).astype(np.int64)
    named = np.array(data.draw(st.lists(st.integers(0, 500), unique=True)), dtype=np.int64)
    excluding = data.draw(st.booleans(), label="excluding")
    k = data.draw(st.integers(1, 30), label="k")
    queries = some_vectors(data.draw(st.integers(1, 25), label="queries"), seed=7)
    index = an_index(ids, vectors)
    for selection in (None, Selection(named, excluding)):
        allowed = np.ones(count, bool) if selection is None else np.isin(ids, named) != excluding
        expected = [brute_force(ids[allowed], vectors[allowed], query, k) for query in queries]
        assert index.search(queries, k, selection=selection) == expected


def test_ties_at_the_edge_are_ordered_by_id() -> None:
    same = np.repeat(some_vectors(1), 300, axis=0)
    ids = np.arange(300, dtype=np.int64)[::-1].copy()
    (found,) = an_index(ids, same).search(same[:1], 5)
    assert [image_id for image_id, _ in found] == [0, 1, 2, 3, 4]


def test_a_query_ranks_the_same_alone_and_in_a_batch() -> None:
    vectors, queries = some_vectors(500, 64), some_vectors(40, 64, seed=1)
    index = an_index(np.arange(500, dtype=np.int64), vectors)
    together = index.search(queries, 10)
    assert together == [index.search(query[None], 10)[0] for query in queries]


def test_remove_and_add_again() -> None:
    vectors = some_vectors(10)
    index = an_index(np.arange(10, dtype=np.int64), vectors)
    index.remove(np.array([3, 4, 99], dtype=np.int64))
    assert index.count == 8
    assert 3 not in {image_id for image_id, _ in index.search(vectors[3:4], 10)[0]}
    index.add(np.array([3], dtype=np.int64), vectors[3:4])
    assert index.search(vectors[3:4], 1)[0][0][0] == 3


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.ones(8, np.float32), "shape"),
        (some_vectors(2, 7), "shape"),
        (np.ones((2, 8), np.int64), "float"),
        (some_vectors(2) * 1.01, "length 1.01"),
        (np.zeros((2, 8), np.float32), "length 0"),
        (np.where(np.eye(2, 8) > 0, np.nan, some_vectors(2)), "length nan"),
        (np.where(np.eye(2, 8) > 0, np.inf, some_vectors(2)), "length inf"),
        (some_vectors(3), "3 vectors for 2 images"),
    ],
)
def test_bad_vectors_are_refused(vectors: np.ndarray, message: str) -> None:
    with pytest.raises(VectorError, match=message):
        checked_vectors(vectors, dim=8, count=2)


def test_half_precision_encoders_are_close_enough() -> None:
    vectors = some_vectors(20, 512).astype(np.float16)
    assert checked_vectors(vectors, dim=512).dtype == np.float32
