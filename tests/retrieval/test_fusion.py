"""Fusion: the mean of unit rows, and reciprocal ranks by hand."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval import EncodingError
from retrieval.fusion import mean_query, reciprocal_rank_fusion


def test_the_mean_is_a_unit_row_that_orders_as_the_mean_similarity() -> None:
    rng = np.random.default_rng(0)
    queries, references = rng.normal(size=(4, 8)), rng.normal(size=(50, 8))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    query = mean_query(queries.astype(np.float32))
    assert query.shape == (1, 8)
    assert query.dtype == np.float32
    assert np.linalg.norm(query) == pytest.approx(1, abs=1e-6)
    assert (np.argsort(references @ query[0]) == np.argsort((references @ queries.T).mean(axis=1))).all()


def test_queries_that_cancel_out_have_no_mean() -> None:
    row = np.eye(1, 8, dtype=np.float32)
    with pytest.raises(EncodingError, match="opposite directions"):
        mean_query(np.concatenate([row, -row]))


def test_reciprocal_ranks_add_up() -> None:
    scores = reciprocal_rank_fusion([["a", "b", "c"], ["b", "d"]])
    assert scores == pytest.approx({"a": 1 / 61, "b": 1 / 62 + 1 / 61, "c": 1 / 63, "d": 1 / 62})


def test_a_key_counts_once_in_a_ranking_and_closes_no_gap() -> None:
    assert reciprocal_rank_fusion([["a", "a", "b"]], k=0) == pytest.approx({"a": 1, "b": 1 / 2})


def test_no_ranking_has_no_keys() -> None:
    assert reciprocal_rank_fusion([]) == {}
