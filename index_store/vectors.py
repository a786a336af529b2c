"""What an archive asks of a vector index, whichever engine stands behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index_store.errors import VectorError

Vectors = NDArray[np.float32]
"""float32[n, d], rows of unit length."""
Ids = NDArray[np.int64]
"""int64[n]: the primary keys of images."""

UNIT_TOLERANCE = 1e-3
"""How far from 1 a length may be: float32 and bfloat16 encoders stay well within."""


@dataclass(frozen=True)
class Selection:
    """The images a search may answer with: those named, or (`excluding`) all but those."""

    ids: Ids
    excluding: bool = False


class VectorIndex(Protocol):
    """Unit vectors under image ids, searched by inner product.

    An index is told what to hold and never decides it: it follows the change log of the catalog
    (`index_follower.py`). Searches may run side by side; `add` and `remove` need exclusion, which the caller sees to.
    """

    @property
    def dim(self) -> int: ...

    @property
    def count(self) -> int: ...

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add vectors under ids that are not in the index yet."""

    def remove(self, ids: Ids) -> None:
        """Remove these ids; those not there are passed over."""

    def search(self, queries: Vectors, k: int, *, selection: Selection | None = None) -> list[list[tuple[int, float]]]:
        """For each query the k best of the selection as (id, score), fewer where it holds fewer.

        The selection is applied before ranking; scores are those of the vectors, equal ones are ordered by id, and the
        order does not depend on what else is in the batch. Exact where a selection names ids; without one, or where it
        only leaves some out, exact or at a recall that the index has measured and states.
        """


def checked_vectors(vectors: object, *, dim: int, count: int | None = None, of: str = "image") -> Vectors:
    """`vectors` as contiguous float32[n, dim], if they may be stored or searched.

    FAISS accepts anything: a row with a NaN is stored and never found, a wrong dimension is a bare assertion.

    Raises:
        VectorError: wrong shape, not numbers, NaN or infinite, or rows that are not of unit length.
    """
    array = np.asarray(vectors)
    if array.ndim != 2 or array.shape[1] != dim or not np.issubdtype(array.dtype, np.floating):
        raise VectorError(
            f"Expected float vectors of shape (n, {dim}), got {array.dtype} of shape {array.shape}. "
            "Encode with the encoder of this archive."
        )
    if count is not None and len(array) != count:
        raise VectorError(f"Got {len(array)} vectors for {count} {of}s. Give one vector for each {of}.")
    array = np.ascontiguousarray(array, dtype=np.float32)
    lengths = np.linalg.norm(array, axis=1)
    # Written so that a NaN, which compares false with everything, is caught as well.
    bad = np.flatnonzero(~(np.abs(lengths - 1.0) <= UNIT_TOLERANCE))
    if bad.size:
        raise VectorError(
            f"Vector {bad[0]} (of {len(array)}) has length {lengths[bad[0]]:.4g} and not 1, {bad.size} in all. "
            f"Normalise the encoder's output; a NaN means that it failed on that {of}."
        )
    return array


@dataclass(frozen=True)
class LogPosition:
    """A place in the change log. (0, 0) is before its first entry."""

    sequence: int = 0
    token: int = 0
