"""Vectors in parts, beside one array."""

from __future__ import annotations

import numpy as np

from retrieval.language.words.postings import MOST_PARTS, first_to_merge
from retrieval.search.reports.vector_parts import VectorParts

RNG = np.random.default_rng(0)


def test_parts_are_as_one_array() -> None:
    """However they grew, and whatever was filled in; what others have does not change."""
    whole = RNG.random((50, 3), dtype=np.float32)
    parts = VectorParts((whole,))
    for count in (*range(1, 2 * MOST_PARTS), 40, 0):
        more = RNG.random((count, 3), dtype=np.float32)
        before, parts, whole = np.concatenate(parts.parts), parts.extended(more), np.concatenate([whole, more])
        rows = np.sort(RNG.choice(len(whole), 5, replace=False))
        given = RNG.random((5, 3), dtype=np.float32)
        filled = parts.copied(rows)
        filled.fill(rows, given)
        assert len(parts) == len(whole)
        assert np.array_equal(parts.of(np.arange(len(before))), before)
        assert np.array_equal(parts.of(rows), whole[rows])
        whole = whole.copy()
        whole[rows] = given
        parts = filled
        assert np.array_equal(np.concatenate(parts.parts), whole)
        assert np.allclose(parts.products(given[0]), whole @ given[0])
        assert len(parts.parts) <= MOST_PARTS


def test_few_more_copy_neither_the_many_nor_each_other_often() -> None:
    sizes, copied = [100_000], 0
    for _ in range(1_000):
        sizes.append(100)
        if (first := first_to_merge(sizes)) < len(sizes):
            copied += sum(sizes[first:])
            sizes = [*sizes[:first], sum(sizes[first:])]
    assert sum(sizes) == 200_000
    assert copied < 20 * 100_000
