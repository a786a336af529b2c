"""Drawn pairs for the tests of training: phantoms, some a patient."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

from generation.phantom import Phantom, phantom_cases
from generation.training.data.pairs import TrainingPair


def phantom_pairs(count: int, *, per_patient: int = 2, size: int = 64, seed: int = 5) -> list[TrainingPair]:
    """Pairs of phantoms, `per_patient` of each patient."""
    return [
        TrainingPair(
            content=hashlib.sha256(f"{seed} {number}".encode()).hexdigest(),
            patient=f"patient {number // per_patient}",
            report=phantom.report,
            load=partial(phantom.render, size),
            attributes={
                "site": phantom.profile.site,
                "system": phantom.profile.system,
                "category": phantom.profile.category,
                "phantom": "yes",
            },
        )
        for number, phantom in enumerate(phantoms(count, seed))
    ]


def phantoms(count: int, seed: int) -> list[Phantom]:
    """The phantoms behind `phantom_pairs`."""
    return phantom_cases(count, seed=seed)


class Interrupt:
    """A display of progress that ends the run when `at` steps of the training (or of `label`) are done, by `how`."""

    def __init__(self, at: int, how: Callable[[], None], *, label: str = "Training") -> None:
        self._at, self._how, self._asked = at, how, label

    def __call__(self, label: str, *, unit: str) -> Interrupt:
        self._label = label
        return self

    def __enter__(self) -> Callable[..., None]:
        label = self._label

        def draw(done: int, total: int, note: str = "") -> None:
            if label == self._asked and done == self._at:
                self._how()

        return draw

    def __exit__(self, *error: object) -> None:
        return None


def stop() -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt
