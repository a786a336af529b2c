"""What the settings of all trainings have in common: checks, which raise `SettingsError` with the setting's name, and
learning rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from generation.errors import SettingsError

SCHEDULES = ("cosine", "linear", "restarts", "constant")


class RunSettings(Protocol):
    """The settings that `TrainingRun` reads."""

    @property
    def steps(self) -> int:
        """Steps in all."""

    @property
    def clip(self) -> float:
        """The largest norm of a gradient."""

    @property
    def validate_every(self) -> int:
        """Steps between validations."""

    @property
    def checkpoint_every(self) -> int:
        """Steps between checkpoints."""

    @property
    def schedule(self) -> str:
        """How the learning rate goes on after the warm-up."""

    @property
    def seed(self) -> int:
        """Of everything that is random."""

    def rate(self, step: int) -> float:
        """The learning rate of a step, from 0."""
        ...


def learning_rate_at(step: int, *, peak: float, steps: int, warmup: int, schedule: str, restarts: int = 1) -> float:
    """The learning rate of a step (from 0): it rises for `warmup` steps, then stays, or falls to 0 along a line, one
    cosine, or `restarts` cosines. As diffusers' schedules."""
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    done = (step - warmup) / max(steps - warmup, 1)
    if schedule == "linear":
        return peak * (1 - done)
    if schedule == "restarts":
        done = done * restarts % 1
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def decayed_rate(step: int, *, peak: float, steps: int, warmup: int = 100, floor: float = 0.0, begin: int = 0) -> float:
    """The learning rate of a step (from 0) that falls along a cosine while it is warmed up.

    The cosine falls from step `begin` to step `steps`, to `floor` * `peak`.
    """
    cosine = 0.5 * (1 + math.cos(math.pi * (step - begin) / (steps - begin)))
    return peak * min(1.0, (step + 1) / warmup) * (cosine + floor)


def require_positive(settings: object, *names: str) -> None:
    """Check that these settings are finite and above 0."""
    for name in names:
        if not 0 < getattr(settings, name) < math.inf:
            raise SettingsError(f"The {_words(name)} is {getattr(settings, name)}: a number above 0 is needed.")


def require_not_negative(settings: object, *names: str) -> None:
    """Check that these settings are finite and not below 0."""
    for name in names:
        if not 0 <= getattr(settings, name) < math.inf:
            raise SettingsError(f"The {_words(name)} is {getattr(settings, name)}: a number from 0 is needed.")


def require_share(settings: object, *names: str) -> None:
    """Check that these settings are at least 0 and below 1."""
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise SettingsError(f"The {_words(name)} is {getattr(settings, name)}: from 0 to below 1 is needed.")


def require_one_of(settings: object, name: str, choices: Sequence[str]) -> None:
    """Check that a setting is one of `choices`."""
    if getattr(settings, name) not in choices:
        raise SettingsError(f"The {_words(name)} is {getattr(settings, name)!r}: choose one of {', '.join(choices)}.")


def require_hold_out(settings: object, name: str = "hold_out") -> None:
    """Check that one patient in at least 2 is held out."""
    if getattr(settings, name) < 2:
        raise SettingsError(f"One patient in {getattr(settings, name)} cannot be held out: give 2 or more.")


def _words(name: str) -> str:
    return name.replace("_", " ")
