"""The random choices of a training step, which depend on the seed and the step's number alone.

No state is carried from step to step. So a training that resumes from a checkpoint makes the same choices as one that
was not interrupted, and several processes, each of which takes its part of a step, learn what one would.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class StepSample:
    """The n images of a step; all arrays are of length n."""

    items: Ints
    """Indices of training items; all come once before any comes twice."""
    views: Ints
    """Which view of each image."""
    has_text: NDArray[np.bool_]
    """False where the text is dropped."""
    timesteps: Ints
    noise_seeds: Ints

    def part(self, start: int, stop: int) -> StepSample:
        """The images from `start` up to `stop`."""
        some = slice(start, stop)
        return StepSample(
            self.items[some], self.views[some], self.has_text[some], self.timesteps[some], self.noise_seeds[some]
        )


def sample_step(
    step: int, *, items: int, count: int, seed: int, views: int = 1, text_dropout: float = 0.0, timesteps: int = 1
) -> StepSample:
    """Sample `count` of `items` items for a step (from 0)."""
    rng = np.random.default_rng([seed, 1, step])
    return StepSample(
        items=items_of_step(step, items=items, count=count, seed=seed),
        views=rng.integers(views, size=count),
        has_text=rng.random(count) >= text_dropout,
        timesteps=rng.integers(timesteps, size=count),
        noise_seeds=rng.integers(2**62, size=count),
    )


def items_of_step(step: int, *, items: int, count: int, seed: int) -> Ints:
    """The items of a step, int[count]: the next ones of endless shuffled rounds, each of which has every item once."""
    positions = np.arange(step * count, (step + 1) * count)
    return np.array([_round(seed, int(i // items), items)[i % items] for i in positions], dtype=np.int64)


@functools.lru_cache(maxsize=4)
def _round(seed: int, number: int, items: int) -> Ints:
    return np.random.default_rng([seed, 0, number]).permutation(items)
