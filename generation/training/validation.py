"""A denoiser's error on patients that it was not trained on, at the same noise and timesteps each time.

A training loss varies with the sampled timesteps, so that it says little from step to step. Here every image has its
own noise and its own four timesteps, spread over the schedule and always the same; the error is not weighted, and no
text is dropped. So two of these figures of one training differ only by what was learned in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from generation.cluster_interval import FEWEST_CLUSTERS, cluster_interval
from generation.training.data.pairs import TrainingPair

TIMESTEPS = 4
_GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are spread evenly however many there are


@dataclass(frozen=True)
class Change:
    """The mean error at two times, and their difference with its 95 % interval over patients (`cluster_interval`)."""

    before: float
    after: float
    difference: float
    low: float
    high: float
    patients: int
    patients_named: bool = True
    """Whether each image's patient was named. If not, images that count as independent may be of one patient."""

    @property
    def words(self) -> str:
        """The change in one sentence, and how sure it is."""
        change = f"from {self.before:.4f} to {self.after:.4f}, by {self.difference:+.4f}"
        if not self.patients_named:
            return f"The validation loss went {change}. Patients are not named, so that nothing says how sure this is."
        if self.patients < FEWEST_CLUSTERS:
            patients = f"{self.patients} patient{'s' if self.patients > 1 else ''}"
            needed = f"{FEWEST_CLUSTERS} are needed to say how sure this is"
            return f"The validation loss went {change}. It is of {patients}: {needed}."
        verdict = "fell" if self.high < 0 else "rose" if self.low > 0 else "did not change surely"
        return (
            f"The validation loss {verdict}: {change} [{self.low:+.4f}, {self.high:+.4f}] (95 % interval over "
            f"{self.patients} held-out patients)."
        )


def validation_timesteps(image: int, steps: int) -> list[int]:
    """The timesteps of the i-th image, for a schedule of `steps` timesteps."""
    offset = (image * _GOLDEN) % 1
    return [min(steps - 1, int(steps * (k + offset) / TIMESTEPS)) for k in range(TIMESTEPS)]


def choose_spread(pairs: Sequence[TrainingPair], count: int) -> list[TrainingPair]:
    """At most `count` pairs, always the same, in which titles (site and category) and patients alternate."""
    groups: dict[tuple[str, str], list[TrainingPair]] = {}
    for pair in sorted(pairs, key=lambda pair: pair.content):
        groups.setdefault((pair.title, pair.patient), []).append(pair)
    # Titles alternate, and within each its patients.
    patients_of: dict[str, list[list[TrainingPair]]] = {}
    for (title, _), members in sorted(groups.items()):
        patients_of.setdefault(title, []).append(members)
    queues = [_in_turns(members) for members in patients_of.values()]
    return _in_turns(queues)[:count]


def _in_turns(queues: Sequence[Sequence[TrainingPair]]) -> list[TrainingPair]:
    longest = max((len(queue) for queue in queues), default=0)
    return [queue[i] for i in range(longest) for queue in queues if i < len(queue)]


def change(
    before: Sequence[float], after: Sequence[float], patients: Sequence[str], *, patients_named: bool = True
) -> Change:
    """Compare the errors of the same images at two times, over patients, since their images are dependent."""
    number = {patient: i for i, patient in enumerate(sorted(set(patients)))}
    whose = np.array([number[patient] for patient in patients])
    difference: NDArray[np.float64] = np.array(after) - np.array(before)
    sums = np.bincount(whose, difference, len(number)).astype(np.float64)
    low, high = cluster_interval(sums, np.bincount(whose, minlength=len(number)).astype(np.float64))
    return Change(
        before=float(np.mean(before)),
        after=float(np.mean(after)),
        difference=float(difference.mean()),
        low=float(low),
        high=float(high),
        patients=len(number),
        patients_named=patients_named,
    )
