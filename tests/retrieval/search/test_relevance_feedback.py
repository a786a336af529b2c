"""Rocchio on unit vectors: by its definition, and where it cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval import EncodingError
from retrieval.search.relevance_feedback import LESS, MORE, rocchio

NONE = np.empty((0, 0), dtype=np.float32)


def units(seed: int, n: int, d: int = 8) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_without_marks_the_query_stays() -> None:
    query = units(0, 1)
    np.testing.assert_allclose(rocchio(query, NONE, NONE), query, atol=1e-7)


@given(st.integers(0, 1000), st.integers(0, 4), st.integers(0, 4))
def test_a_moved_query_is_of_unit_length_and_leans_as_marked(seed: int, likes: int, dislikes: int) -> None:
    query, more, less = units(seed, 1), units(seed + 1, likes), units(seed + 2, dislikes)
    moved = rocchio(query, more, less)
    assert np.linalg.norm(moved) == pytest.approx(1, abs=1e-5)
    direction = query[0].astype(float)
    if likes:
        direction = direction + MORE * more.mean(axis=0)
    if dislikes:
        direction = direction - LESS * less.mean(axis=0)
    np.testing.assert_allclose(moved[0], direction / np.linalg.norm(direction), atol=1e-5)
    if likes and not dislikes:
        liked = more.mean(axis=0) / np.linalg.norm(more.mean(axis=0))
        assert moved[0] @ liked >= query[0] @ liked - 1e-6


def test_marks_that_cancel_the_query_are_refused() -> None:
    query = units(0, 1)
    with pytest.raises(EncodingError):
        rocchio(query, -query / np.float32(MORE), NONE)
