"""Several queries for one question become one answer.

A report is drawn several times; the drawings either make one query together (`mean_query`) or each ranks the
archive and the rankings are joined (`reciprocal_rank_fusion`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from retrieval.errors import EncodingError

Key = TypeVar("Key", bound=Hashable)

RRF_CONSTANT: Final = 60
"""Cormack, Clarke and Büttcher, SIGIR 2009: the constant found there, and the field's default since."""


def mean_query(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Unit rows float32[n, d] -> their normalised mean, float32[1, d].

    Its inner product with a reference orders as the mean cosine similarity of the n queries does.
    Raises EncodingError where the rows cancel each other out, so that no direction is left.
    """
    mean = vectors.mean(axis=0, dtype=np.float64, keepdims=True)
    length = float(np.linalg.norm(mean))
    if not length > 1e-6:
        raise EncodingError("The query's vectors point in opposite directions: their mean has none. Search by one.")
    return (mean / length).astype(np.float32)


def reciprocal_rank_fusion(rankings: Sequence[Sequence[Key]], *, k: int = RRF_CONSTANT) -> dict[Key, float]:
    """Score of every key that stands in a ranking: the sum over rankings of 1 / (k + rank), rank counted from
    1.

    A key is counted once in a ranking, where it stands first. Keys come in order of first appearance,
    unsorted.
    """
    scores: dict[Key, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(dict.fromkeys(ranking), start=1):
            scores[key] = scores.get(key, 0.0) + 1.0 / (k + rank)
    return scores
