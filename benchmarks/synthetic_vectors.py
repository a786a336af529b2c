"""Vectors that lie as an encoder's do, sampled from a stated model: for benchmarks of search that need no pictures.

    x = unit(0.6 m + 0.4 s[site] + 0.5 c[case] + 0.5 e)

`m`, `s`, `c`, `e` are unit Gaussian vectors whose variance falls as j**-0.8 over the axes of one random rotation
(participation ratio about 70 of 512, as encoders of images have it): one common direction, 32 sites, cases of 4 images
within them, and what is the image's own. Two images of a case have a cosine of about 0.75, of a site 0.5, others 0.35.
A query is another image of a case; a `text` query lies where a text tower's vectors do: near its site and case, and
moved by one constant vector (the gap between the towers), so that all its similarities are small.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from index_store.vectors import Vectors

SITES = 32
IMAGES_PER_CASE = 4
DECAY = 0.8
CHUNK = 8_192


@dataclass(frozen=True)
class SyntheticVectors:
    """`count` vectors of `dim` dimensions; the same arguments give the same vectors."""

    count: int
    dim: int = 512
    seed: int = 0

    def chunks(self) -> Iterator[Vectors]:
        """All vectors in order, in chunks of `CHUNK` rows; image i is of case i // 4."""
        for start in range(0, self.count, CHUNK):
            rows = np.arange(start, min(start + CHUNK, self.count))
            yield self._images(rows // IMAGES_PER_CASE, self._rng(1, start))

    def array(self) -> Vectors:
        """float32[count, dim]."""
        whole = np.empty((self.count, self.dim), np.float32)
        for number, chunk in enumerate(self.chunks()):
            whole[number * CHUNK : number * CHUNK + len(chunk)] = chunk
        return whole

    def queries(self, count: int, *, seed: int = 0) -> Vectors:
        """Further images of cases sampled at random: float32[count, dim]."""
        rng = self._rng(2, seed)
        return self._images(rng.integers(0, -(-self.count // IMAGES_PER_CASE), count), rng)

    def text_queries(self, count: int, *, seed: int = 0) -> Vectors:
        """Descriptions of cases sampled at random: float32[count, dim]."""
        rng = self._rng(3, seed)
        cases = rng.integers(0, -(-self.count // IMAGES_PER_CASE), count)
        gap = self._gaussian(self._rng(4), 1)
        own = self._parts(cases) - 0.6 * self._common()
        return _unit(own + 1.2 * gap + 0.5 * self._gaussian(rng, count))

    def _images(self, cases: NDArray[np.int64], rng: np.random.Generator) -> Vectors:
        return _unit(self._parts(cases) + 0.5 * self._gaussian(rng, len(cases)))

    def _parts(self, cases: NDArray[np.int64]) -> Vectors:
        own = np.empty((len(cases), self.dim), np.float32)
        for block in np.unique(cases // CHUNK):
            mine = cases // CHUNK == block
            own[mine] = self._gaussian(self._rng(5, block), CHUNK)[cases[mine] % CHUNK]
        sites = self._gaussian(self._rng(6), SITES)
        return self._common() + 0.4 * sites[cases % SITES] + 0.5 * own

    def _common(self) -> Vectors:
        return 0.6 * self._gaussian(self._rng(7), 1)

    def _gaussian(self, rng: np.random.Generator, count: int) -> Vectors:
        deviation = (np.arange(self.dim) + 1.0) ** (-DECAY / 2)
        deviation /= np.linalg.norm(deviation)
        normal = rng.standard_normal((count, self.dim), dtype=np.float32) * deviation.astype(np.float32)
        return normal @ _rotation(self.dim)

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])


@cache
def _rotation(dim: int) -> Vectors:
    """A random rotation, the same for every seed: float32[dim, dim]."""
    rotation: Vectors = np.linalg.qr(np.random.default_rng(dim).normal(size=(dim, dim)))[0].astype(np.float32)
    return rotation


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
