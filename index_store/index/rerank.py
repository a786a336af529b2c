"""Exact rankings: by inner products in float64, one row at a time, equal scores in order of id.

The same image then gets the same score whatever else is searched, and equal vectors get equal scores. Everything
before that, in float32, only decides which rows can be among the best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from index_store.index.faiss_bindings import Rows
from index_store.index.vector_file import VectorRows
from index_store.vectors import Vectors

TIE = 1e-5
"""Scores closer than this may be equal: float32 sums differ by about 1e-7 between ways to add them up."""
SCORES = 1 << 24
"""Scores of several queries held at a time (64 MB)."""
RANKED = 4096
"""Rows scored in float64 at a time (at 512 dimensions 16 MB)."""

Ranking = list[tuple[int, float]]
"""(id, score), best first."""


def rank_subset(rows: VectorRows, queries: Vectors, subset: Rows, k: int) -> list[Ranking]:
    """The k best of a subset of the rows for each query, float32[n, dim]."""
    rankings: list[Ranking] = []
    step = max(1, SCORES // max(1, len(subset)))
    for start in range(0, len(queries), step):
        batch = queries[start : start + step]
        for query, scores in zip(batch, rows.products(batch, subset), strict=True):
            rankings.append(rank(rows, query, subset[contenders(scores, k)], k))
    return rankings


def rank_all(rows: VectorRows, queries: Vectors, k: int, permitted: NDArray[np.bool_]) -> list[Ranking]:
    """The k best of all permitted rows for each query, float32[n, dim]. Every row is read.

    Args:
        permitted: bool[rows].
    """
    best_rows = [np.empty(0, np.int64) for _ in queries]
    best_scores = [np.empty(0, np.float32) for _ in queries]
    for start, block in rows.blocks():
        products = queries @ block.T
        products[:, ~permitted[start : start + len(block)]] = -np.inf
        for number, scores in enumerate(products):
            so_far = best_scores[number]
            bar = so_far[k - 1] - TIE if len(so_far) >= k else -np.finfo(np.float32).max
            passing = np.flatnonzero(scores >= bar)
            if passing.size == 0:
                continue
            merged = np.concatenate([so_far, scores[passing]])
            merged_rows = np.concatenate([best_rows[number], start + passing])
            best = contenders(merged, k)
            best = best[np.argsort(-merged[best], kind="stable")]
            best_scores[number], best_rows[number] = merged[best], merged_rows[best]
    return [rank(rows, query, candidates, k) for query, candidates in zip(queries, best_rows, strict=True)]


def contenders(scores: Vectors, k: int) -> Rows:
    """Positions of the k best of `scores`, float32[n], and of all that may be as good as the k-th: int64[>= k]."""
    if len(scores) <= k:
        return np.arange(len(scores))
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= kth - TIE)


def rank(rows: VectorRows, query: Vectors, candidates: Rows, k: int) -> Ranking:
    """The k best of a few candidate rows for one query, float32[dim]."""
    query64 = query.astype(np.float64)
    parts = [candidates[start : start + RANKED] for start in range(0, len(candidates), RANKED)]
    scores = np.concatenate(
        [np.empty(0), *((rows.vectors(part).astype(np.float64) * query64).sum(axis=1) for part in parts)]
    )
    ids = rows.table.ids[candidates]
    order = np.lexsort((ids, -scores))[:k]
    return [(int(ids[i]), float(scores[i])) for i in order]
