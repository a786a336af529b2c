"""More like this, less like this: a query vector is moved by the cases that a reader marked."""

from __future__ import annotations

from typing import Final

import numpy as np

from retrieval.arrays import Vectors
from retrieval.encoder.vectors import mean_query

MORE: Final = 0.75
LESS: Final = 0.15
"""Rocchio (1971) with the weights found best for text by Buckley, Salton and Allan (SIGIR 1994) and Manning et al.,
Introduction to Information Retrieval, 9.1.1: what resembles says more than what does not."""


def rocchio(query: Vectors, more: Vectors, less: Vectors) -> Vectors:
    """A unit query float32[1, d] moved towards the mean of `more` and away from that of `less`, float32[n, d] each,
    any of them empty. Returns float32[1, d], of unit length.

    Raises EncodingError where the marks cancel the query out.
    """
    moved = query.astype(np.float64)
    if len(more):
        moved = moved + MORE * more.mean(axis=0, keepdims=True)
    if len(less):
        moved = moved - LESS * less.mean(axis=0, keepdims=True)
    return mean_query(moved.astype(np.float32))
