"""What chance decides in a training step, made from the seed and the step's number alone.

Nothing is carried over from step to step. So a training that goes on from a checkpoint draws what it would have drawn,
and several processes, each of which takes its part of the same draw, learn what one would.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Draw:
    """One step's n images: all arrays are of length n."""

    items: Ints
    """Which of the training's items; all come once before any comes twice."""
    views: Ints
    told: NDArray[np.bool_]
    """Whether the text is given; False where it is dropped."""
    timesteps: Ints
    noise_seeds: Ints

    def part(self, start: int, stop: int) -> Draw:
        """Some of them."""
        some = slice(start, stop)
        return Draw(self.items[some], self.views[some], self.told[some], self.timesteps[some], self.noise_seeds[some])


def sample_step(
    step: int, *, items: int, count: int, seed: int, views: int = 1, text_dropout: float = 0.0, timesteps: int = 1
) -> Draw:
    """What step `step` (from 0) learns from: `count` of `items` items."""
    rng = np.random.default_rng([seed, 1, step])
    return Draw(
        items=items_of_step(step, items=items, count=count, seed=seed),
        views=rng.integers(views, size=count),
        told=rng.random(count) >= text_dropout,
        timesteps=rng.integers(timesteps, size=count),
        noise_seeds=rng.integers(2**62, size=count),
    )


def items_of_step(step: int, *, items: int, count: int, seed: int) -> Ints:
    """int[count]: the next in an endless row of shuffled rounds, each of which has every item once."""
    places = np.arange(step * count, (step + 1) * count)
    return np.array([_round(seed, int(place // items), items)[place % items] for place in places], dtype=np.int64)


@functools.lru_cache(maxsize=4)
def _round(seed: int, number: int, items: int) -> Ints:
    return np.random.default_rng([seed, 0, number]).permutation(items)
