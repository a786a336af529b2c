"""Vectors, their positions in the change log, and what an archive needs of a vector index of any engine."""

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
"""How far from 1 the length of a vector may be: float32 and bfloat16 encoders stay well within."""


@dataclass(frozen=True)
class Selection:
    """The images that a search may return: those in `ids`, or, where `excluding`, all but those."""

    ids: Ids
    excluding: bool = False


class VectorIndex(Protocol):
    """Unit vectors under image ids, searched by inner product.

    An index is derived: the caller adds and removes what the change log of the catalog says. Searches may run side by
    side; `add` and `remove` need exclusion, which the caller provides.
    """

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector."""

    @property
    def count(self) -> int:
        """Number of vectors."""

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add vectors, float32[n, dim], under ids, int64[n], that are not in the index yet."""

    def remove(self, ids: Ids) -> None:
        """Remove these ids, int64[n]. Those that the index does not hold are ignored."""

    def search(self, queries: Vectors, k: int, *, selection: Selection | None = None) -> list[list[tuple[int, float]]]:
        """For each query, float32[n, dim], the k best of the selection as (id, score); fewer where it holds fewer.

        The selection is applied before ranking. Scores are inner products of the vectors, equal ones are ordered by id,
        and a query's ranking does not depend on the others in the batch. Exact where a selection names ids; without a
        selection, or where it only excludes some ids, exact or at the recall that the index has measured and states.

        Args:
            queries: float32[n, dim], rows of unit length.
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
    """A position in the change log: the last entry that was applied. (0, 0) is before the first one."""

    sequence: int = 0
    token: int = 0
    """A random number of that entry, by which two logs of the same length are told apart."""


@dataclass(frozen=True)
class IndexIdentity:
    """The archive and the encoder that an index belongs to. The names of the fields are stored with a saved index."""

    archive: str
    """The archive's uuid."""
    fingerprint: str
    """The encoder's."""
    dim: int
    """Number of dimensions of a vector."""
