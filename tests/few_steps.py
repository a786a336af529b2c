"""Sampling and training in a few steps, for tests that look at what happens, and not at how well it looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from generation import PRESETS
from retrieval import train_network

FEW = 3
_SAMPLING = {name: preset.steps for name, preset in PRESETS.items()}
_NETWORK = train_network.__kwdefaults__["steps"]


@contextmanager
def few_steps() -> Iterator[None]:
    """Every preset samples, and the small network learns, in three steps: the starter then takes 0.1 seconds an image
    instead of 0.4, and a training of the network a third of a second instead of 15."""
    with _steps(dict.fromkeys(PRESETS, FEW), FEW):
        yield


@contextmanager
def own_steps() -> Iterator[None]:
    """Within `few_steps`, as many steps as the product takes."""
    with _steps(_SAMPLING, _NETWORK):
        yield


@contextmanager
def _steps(sampling: dict[str, int], network: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, preset in PRESETS.items():
            patch.setitem(vars(preset), "steps", sampling[name])
        patch.setitem(train_network.__kwdefaults__, "steps", network)
        yield
