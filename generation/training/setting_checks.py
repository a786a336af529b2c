"""Checks of a training's settings. All raise `SettingsError`, which names the setting."""

from __future__ import annotations

import math
from collections.abc import Sequence

from generation.errors import SettingsError


def require_positive(settings: object, *names: str) -> None:
    for name in names:
        if not 0 < getattr(settings, name) < math.inf:
            raise SettingsError(f"The {_words(name)} is {getattr(settings, name)}: a number above 0 is needed.")


def require_not_negative(settings: object, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(settings, name) < math.inf:
            raise SettingsError(f"The {_words(name)} is {getattr(settings, name)}: a number from 0 is needed.")


def require_share(settings: object, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(settings, name) < 1:
            raise SettingsError(f"The {_words(name)} is {getattr(settings, name)}: from 0 to below 1 is needed.")


def require_one_of(settings: object, name: str, choices: Sequence[str]) -> None:
    if getattr(settings, name) not in choices:
        raise SettingsError(f"The {_words(name)} is {getattr(settings, name)!r}: choose one of {', '.join(choices)}.")


def require_hold_out(settings: object, name: str = "hold_out") -> None:
    if getattr(settings, name) < 2:
        raise SettingsError(f"One patient in {getattr(settings, name)} cannot be held out: give 2 or more.")


def _words(name: str) -> str:
    return name.replace("_", " ")
