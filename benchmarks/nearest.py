"""The mean similarity of a query's nearest patients by brute force. (The product searches its index: `own_cases`.)"""

from __future__ import annotations

from typing import Final

import numpy as np

from retrieval import EvaluationError
from retrieval.arrays import Floats, Ints, Vectors
from retrieval.search.channels.own_cases import NEIGHBOURS

BLOCK_SCORES: Final = 4_000_000


def nearest_mean(
    queries: Vectors, references: Vectors, patients: Ints, *, own: Ints | None = None, neighbours: int = NEIGHBOURS
) -> Floats:
    """The mean similarity of each query's nearest patients, float[n]; of fewer where there are fewer.

    Args:
        queries: float32[n, d], references: float32[m, d], unit rows. patients: int[m], whose the references are; each
            ranks as its best image does.
        own: int[n], the patient that each query leaves out; None: nobody.
    """
    order = np.argsort(patients, kind="stable")
    pool, starts = np.unique(patients[order], return_index=True)
    gallery = np.ascontiguousarray(references[order].T)
    found = np.empty(len(queries))
    rows = max(1, BLOCK_SCORES // max(1, len(order)))
    for start in range(0, len(queries), rows):
        block = np.arange(start, min(start + rows, len(queries)))
        best = np.maximum.reduceat(queries[block] @ gallery, starts, axis=1)
        if own is not None:
            column = np.minimum(np.searchsorted(pool, own[block]), len(pool) - 1)
            mine = pool[column] == own[block]
            best[mine, column[mine]] = -np.inf
        nearest = -np.sort(-best, axis=1)[:, :neighbours].astype(np.float64)
        counted = np.isfinite(nearest)
        if not counted.any(axis=1).all():
            raise EvaluationError("There is no other patient to compare with.")
        found[block] = np.where(counted, nearest, 0).sum(axis=1) / counted.sum(axis=1)
    return found
