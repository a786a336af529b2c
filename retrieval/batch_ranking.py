"""Many queries at once, ranked by the rule of `ranking.rank_images`: one entry a patient, where its best image
stands; the own patient is left out; equal scores are ordered by image id.

`CaseSearch` answers one query and asks the archive for as many images as it needs. An evaluation needs all
patients in order for thousands of queries: here that is one matrix product, one grouped minimum and one sort a
block. A test holds the two to the same answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from retrieval.fusion import mean_query

Vectors = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BLOCK_SCORES: Final = 4_000_000
"""Scores in one block: 16 MB as float32, and some five times that with what is made of them."""
_LAST: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_LOW: Final = np.uint64(0xFFFF_FFFF)


@dataclass(frozen=True, eq=False)
class Ranked:
    """A block of b queries in a pool of q patients."""

    queries: Ints
    """int[b], rows of the queries that were given."""
    leads: Ints
    """int[b, q - 1], best first: each other patient's leading image, as a row of the references."""


def rank_patients(
    queries: Vectors, own: Ints, references: Vectors, patients: Ints, *, block_scores: int = BLOCK_SCORES
) -> Iterator[Ranked]:
    """Rank every patient but its own for each query, block by block.

    Args:
        queries: float32[n, d], unit rows. own: int[n], the query's patient, which must be among the references.
        references: float32[m, d], unit rows, in the order of their image ids. patients: int[m], whose they are.

    Time O(n m d) for the products and O(n (m + q log q)) for the order, memory O(m) a query of a block.
    """
    # Images of one patient side by side, so that a patient's best is a minimum over a run of columns.
    columns = np.argsort(patients, kind="stable")
    pool, starts = np.unique(patients[columns], return_index=True)
    own_place = np.searchsorted(pool, own)
    gallery = np.ascontiguousarray(references[columns].T)
    rows = max(1, block_scores // len(columns))
    for start in range(0, len(queries), rows):
        block = np.arange(start, min(start + rows, len(queries)))
        keys = _keys(queries[block] @ gallery, columns)
        best = np.minimum.reduceat(keys, starts, axis=1)
        best[np.arange(len(block)), own_place[block]] = _LAST
        best.sort(axis=1)
        yield Ranked(queries=block, leads=(best[:, :-1] & _LOW).astype(np.int64))


def mean_queries(vectors: Vectors, case_of: Ints, cases: int) -> Vectors:
    """What each case asks by, float32[cases, d]: the normalised mean of its images' vectors float32[m, d].

    Raises EncodingError where a case's vectors cancel each other out.
    """
    order = np.argsort(case_of, kind="stable")
    runs = np.split(vectors[order], np.searchsorted(case_of[order], np.arange(1, cases)))
    return np.concatenate([mean_query(rows) for rows in runs])


def _keys(scores: Vectors, columns: Ints) -> npt.NDArray[np.uint64]:
    """One number for score and image that sorts as they do: the higher score first, then the lower image.

    The bits of a float32 order as integers do once negative numbers are turned over (IEEE 754); those of the
    score stand above those of the image's row. One plain sort of integers is several times faster than sorting
    by two keys.
    """
    bits = (scores + np.float32(0)).view(np.uint32)  # + 0: minus zero and zero are one score
    ascending = np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(0x8000_0000))
    return ((~ascending).astype(np.uint64) << np.uint64(32)) | columns.astype(np.uint64)
