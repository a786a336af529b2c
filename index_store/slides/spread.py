"""In which order places are chosen: by what they show, and none over another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from index_store.slides.field import (
    CELLS,
    DARK,
    MIXED,
    NO_NUCLEI,
    RANDOM,
    REASONS,
    RULES,
    VARIED,
    FieldChoice,
)
from index_store.slides.places import Places
from index_store.slides.survey import SQUARES

TURNS: Final = (DARK, DARK, VARIED)
"""Of the rule `MIXED`."""


def ordered(found: Places, choice: FieldChoice) -> Iterator[int]:
    """Indices of places that may be chosen, the best first, until none is left that does not overlap one before it.

    Raises:
        ValueError: an unknown rule.
    """
    if choice.rule not in RULES:
        raise ValueError(f"no rule {choice.rule!r}: choose one of {', '.join(RULES)}")
    yield from _ordered(found, choice, found.reason < 0)
    # A slide of few cells shows what it has: what lies between them comes last.
    yield from _ordered(found, replace(choice, rule=CELLS), found.reason == REASONS.index(NO_NUCLEI))


def _ordered(found: Places, choice: FieldChoice, free: NDArray[np.bool_]) -> Iterator[int]:
    free = free.copy()
    chance = np.random.default_rng(choice.seed).random(len(free))
    dark = found.looks[:, [1, 2]].sum(axis=1) + 1e-3 * np.log1p(found.worth)
    distance = np.full(len(free), np.inf)
    taken = 0
    while free.any():
        rule = choice.rule if choice.rule != MIXED else TURNS[taken % len(TURNS)]
        if rule == RANDOM:
            score = chance
        elif rule == DARK:
            score = dark
        elif rule == CELLS or taken == 0:
            score = found.worth
        else:
            score = distance * np.log1p(found.worth)
        best = int(np.argmax(np.where(free, score, -np.inf)))
        yield best
        taken += 1
        free &= ~_overlapping(found, best)
        if choice.rule in (VARIED, MIXED):
            distance = np.minimum(distance, np.square(found.looks - found.looks[best]).sum(axis=1))


def _overlapping(found: Places, place: int) -> NDArray[np.bool_]:
    near_rows = np.abs(found.row - found.row[place]) < SQUARES
    overlaps: NDArray[np.bool_] = near_rows & (np.abs(found.column - found.column[place]) < SQUARES)
    return overlaps
