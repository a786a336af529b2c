"""Aspect buckets: rectangles of about one area that images are cut to, each to the one that is nearest to its own
shape, and batches of images of one rectangle.

As SDXL was trained (Podell et al. 2023, arXiv:2307.01952, section 2.3). A shape is (width, height) in pixels.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int]
Ints = NDArray[np.int64]
MOST_ASPECT = 2.0
"""Longest side by shortest of a bucket."""
_STEPS = 16
"""A bucket's sides are multiples of a sixteenth of the square's, as SDXL's are of 64."""


def bucket_shapes(size: int, size_step: int) -> tuple[Shape, ...]:
    """The square of `size` and the rectangles of at most its area, whose sides are multiples of `size_step`."""
    step = max(size_step, size // _STEPS // size_step * size_step)
    wide = [(width, size * size // width // step * step) for width in range(size, 2 * size + 1, step)]
    wide = [(width, height) for width, height in wide if height and width <= MOST_ASPECT * height]
    return tuple(dict.fromkeys([(size, size), *wide, *((height, width) for width, height in wide)]))


def nearest_shapes(sizes: Sequence[Shape], shapes: Sequence[Shape], *, batch: int) -> list[Shape]:
    """Of `shapes`, the one whose aspect is nearest to that of each size.

    Shapes that are nearest to fewer than `batch` sizes are not used, but the first one: no batch would be full.
    """

    def nearest(size: Shape, among: Sequence[Shape]) -> Shape:
        aspect = math.log(size[0] / size[1])
        return min(among, key=lambda shape: abs(math.log(shape[0] / shape[1]) - aspect))

    counts = Counter(sizes)
    often: Counter[Shape] = Counter()
    for size, count in counts.items():
        often[nearest(size, shapes)] += count
    used = [shape for shape in shapes if often[shape] >= batch or shape == shapes[0]]
    chosen = {size: nearest(size, used) for size in counts}
    return [chosen[size] for size in sizes]


class BucketBatches:
    """Endless shuffled rounds of batches of items of one group each: `groups` int[n] of the items.

    In a round every item comes once, and the last batch of a group is filled up with others of it.
    """

    def __init__(self, groups: Ints, *, batch: int, seed: int) -> None:
        self._groups, self._batch, self._seed = groups, batch, seed
        self.in_a_round = int(sum(-(-count // batch) for count in np.bincount(groups)))
        """How many batches."""
        self._round = functools.lru_cache(maxsize=4)(self._shuffled)

    def items(self, first: int, count: int) -> Ints:
        """The items of `count` batches from the batch `first` on: int[count * batch]."""
        numbers = range(first, first + count)
        return np.concatenate([self._round(k // self.in_a_round)[k % self.in_a_round] for k in numbers])

    def _shuffled(self, number: int) -> Ints:
        """The batches of a round: int[batches, batch]."""
        random = np.random.default_rng([self._seed, 2, number])
        order = random.permutation(len(self._groups))
        of_groups = [order[self._groups[order] == group] for group in np.unique(self._groups)]
        batches = [np.resize(some, (-(-len(some) // self._batch), self._batch)) for some in of_groups]
        shuffled: Ints = random.permutation(np.concatenate(batches))
        return shuffled
