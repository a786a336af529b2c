"""Exact rankings: by inner products in float64, one row at a time, equal scores in order of id.

The same image then gets the same score whatever else is searched, and equal vectors get equal scores. Everything
before that, in float32, only says which rows can be among the best.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from index_store.index.vector_file import Rows, VectorRows
from index_store.vectors import Vectors

TIE = 1e-5
"""Scores closer than this may be equal: float32 sums differ by about 1e-7 between ways to add them up."""
SCORES = 1 << 24
"""Scores of several queries held at a time (64 MB)."""
RANKED = 4096
"""Rows scored in float64 at a time (at 512 dimensions 16 MB)."""

Ranking = list[tuple[int, float]]
"""(id, score), best first."""


def among(rows: VectorRows, queries: Vectors, chosen: Rows, k: int) -> list[Ranking]:
    """The k best of the rows `chosen` for each query."""
    rankings: list[Ranking] = []
    step = max(1, SCORES // max(1, len(chosen)))
    for start in range(0, len(queries), step):
        part = queries[start : start + step]
        for query, scores in zip(part, rows.products(part, chosen), strict=True):
            rankings.append(rank(rows, query, chosen[contenders(scores, k)], k))
    return rankings


def over_all(rows: VectorRows, queries: Vectors, k: int, permitted: NDArray[np.bool_]) -> list[Ranking]:
    """The k best for each query of all rows with `permitted`, bool[rows]; every row is read."""
    found = [np.empty(0, np.int64) for _ in queries]
    scored = [np.empty(0, np.float32) for _ in queries]
    for start, block in rows.blocks():
        products = queries @ block.T
        products[:, ~permitted[start : start + len(block)]] = -np.inf
        for number, scores in enumerate(products):
            bar = scored[number][k - 1] - TIE if len(scored[number]) >= k else -np.finfo(np.float32).max
            fresh = np.flatnonzero(scores >= bar)
            if fresh.size == 0:
                continue
            both = np.concatenate([scored[number], scores[fresh]])
            places = np.concatenate([found[number], start + fresh])
            best = contenders(both, k)
            best = best[np.argsort(-both[best], kind="stable")]
            scored[number], found[number] = both[best], places[best]
    return [rank(rows, query, places, k) for query, places in zip(queries, found, strict=True)]


def contenders(scores: Vectors, k: int) -> Rows:
    """Positions of the k best scores, and of all that could be as good as the k-th."""
    if len(scores) <= k:
        return np.arange(len(scores))
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= kth - TIE)


def rank(rows: VectorRows, query: Vectors, chosen: Rows, k: int) -> Ranking:
    """The k best of the rows `chosen`, few as they are."""
    wanted = query.astype(np.float64)
    parts = [chosen[start : start + RANKED] for start in range(0, len(chosen), RANKED)]
    scores = np.concatenate([np.empty(0), *((rows.vectors(p).astype(np.float64) * wanted).sum(axis=1) for p in parts)])
    ids = rows.ids[chosen]
    order = np.lexsort((ids, -scores))[:k]
    return [(int(ids[i]), float(scores[i])) for i in order]
