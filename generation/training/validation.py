"""A denoiser's error on patients that it was not trained on, at the same noise and timesteps each time.

A training loss jumps with the timesteps that were drawn, so that it says little from step to step. Here every image has
its own noise and its own four timesteps, spread over the schedule, always the same; the error is neither weighted nor
is text left out. Two of these figures of one training differ by what was learned in between, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.training.data.pairs import TrainingPair

TIMESTEPS = 4
RESAMPLES = 2000
_GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are spread evenly however many there are


@dataclass(frozen=True)
class Change:
    """The mean error at two times, and their difference with its 95 % interval from resampled patients."""

    before: float
    after: float
    difference: float
    low: float
    high: float
    patients: int

    @property
    def words(self) -> str:
        """In one sentence."""
        told = f"from {self.before:.4f} to {self.after:.4f}, by {self.difference:+.4f}"
        if self.patients == 1:
            return f"The validation loss went {told}. It is of one patient, so that nothing says how sure this is."
        verdict = "fell" if self.high < 0 else "rose" if self.low > 0 else "did not change surely"
        return (
            f"The validation loss {verdict}: {told} [{self.low:+.4f}, {self.high:+.4f}] (95 % interval over "
            f"{self.patients} held-out patients)."
        )


def validation_timesteps(image: int, steps: int) -> list[int]:
    """The timesteps of the i-th image, of `steps` that there are."""
    offset = (image * _GOLDEN) % 1
    return [min(steps - 1, int(steps * (k + offset) / TIMESTEPS)) for k in range(TIMESTEPS)]


def choose_spread(pairs: Sequence[TrainingPair], count: int) -> list[TrainingPair]:
    """At most `count` pairs, always the same, with patients and what is known of their images taken in turns."""
    of: dict[tuple[str, str], list[TrainingPair]] = {}
    for pair in sorted(pairs, key=lambda pair: pair.content):
        of.setdefault((pair.title, pair.patient), []).append(pair)
    # Titles in turns, and within each its patients in turns.
    patients_of: dict[str, list[list[TrainingPair]]] = {}
    for (title, _), members in sorted(of.items()):
        patients_of.setdefault(title, []).append(members)
    queues = [_in_turns(members) for members in patients_of.values()]
    return _in_turns(queues)[:count]


def _in_turns(queues: Sequence[Sequence[TrainingPair]]) -> list[TrainingPair]:
    longest = max((len(queue) for queue in queues), default=0)
    return [queue[place] for place in range(longest) for queue in queues if place < len(queue)]


def change(before: Sequence[float], after: Sequence[float], patients: Sequence[str], *, seed: int = 0) -> Change:
    """Compare two errors of the same images; whole patients are drawn, since their images are no independent ones."""
    number = {patient: place for place, patient in enumerate(sorted(set(patients)))}
    whose = np.array([number[patient] for patient in patients])
    difference: NDArray[np.float64] = np.array(after) - np.array(before)
    sums = np.bincount(whose, difference, len(number))
    counts = np.bincount(whose, minlength=len(number))
    drawn = np.random.default_rng(seed).integers(len(number), size=(RESAMPLES, len(number)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Change(
        before=float(np.mean(before)),
        after=float(np.mean(after)),
        difference=float(difference.mean()),
        low=float(low),
        high=float(high),
        patients=len(number),
    )
