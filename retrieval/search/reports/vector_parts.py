"""Vectors that grow: arrays one behind the other, so that a few more cost no copy of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Ints, Vectors
from retrieval.language.words.postings import first_to_merge


@dataclass(frozen=True, eq=False)
class VectorParts:
    """n vectors of d numbers, which do not change once others have them."""

    parts: tuple[Vectors, ...]
    """float32[m, d] each, at least one."""

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def extended(self, vectors: Vectors) -> VectorParts:
        """With float32[m, d] behind the others."""
        parts = (*self.parts, vectors)
        first = first_to_merge([len(part) for part in parts])
        return (
            VectorParts((*parts[:first], np.concatenate(parts[first:]))) if first < len(parts) else VectorParts(parts)
        )

    def copied(self, rows: Ints) -> VectorParts:
        """With copies of the parts that have one of these rows, int64[m], ascending, for `fill`; the others are
        shared."""
        return VectorParts(tuple(part.copy() if low < high else part for part, _, low, high in self._within(rows)))

    def fill(self, rows: Ints, vectors: Vectors) -> None:
        """Write float32[m, d] into the rows, int64[m], ascending, before anybody else has these parts."""
        for part, start, low, high in self._within(rows):
            part[rows[low:high] - start] = vectors[low:high]

    def of(self, rows: Ints) -> Vectors:
        """float32[m, d], those of these rows, int64[m], ascending."""
        return np.concatenate([part[rows[low:high] - start] for part, start, low, high in self._within(rows)])

    def products(self, query: Vectors) -> Vectors:
        """The product of each vector with float32[d]: float32[n]."""
        return np.concatenate([part @ query for part in self.parts])

    def _within(self, rows: Ints) -> Iterator[tuple[Vectors, int, int, int]]:
        """Each part, its first row, and from where to where in `rows`, ascending, those of the part are."""
        start = 0
        for part in self.parts:
            low, high = np.searchsorted(rows, [start, start + len(part)]).tolist()
            yield part, start, low, high
            start += len(part)
