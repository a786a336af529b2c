"""Every place of a field's size on a surveyed slide: what it looks like, and why it is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from index_store.slides.field import (
    BUBBLE,
    DAMAGED,
    EMPTY,
    FOLD,
    INK,
    NO_NUCLEI,
    OUT_OF_FOCUS,
    REASONS,
    THICK,
    FieldChoice,
)
from index_store.slides.survey import SQUARES, Map, Survey, windows

BLURRED: Final = 0.35
"""Of the slide's sharper places' detail for its density, below which a place is out of focus already at low power."""
FARTHEST: Final = 3.0
"""Deviations beyond which a look is no stranger: farther out are artefacts."""
_AREA: Final = SQUARES**2


@dataclass(frozen=True)
class Places:
    """Places at every small square, flat in the order of their rows: n of them."""

    shape: tuple[int, int]
    row: NDArray[np.int64]
    """int64[n], in squares."""
    column: NDArray[np.int64]
    reason: NDArray[np.int8]
    """Index into `REASONS` of the first that applies, or -1: may be chosen. int8[n]."""
    cells: Map
    """Nuclei of the place, float32[n]."""
    worth: NDArray[np.float64]
    """Nuclei, fewer where they lie on each other or between bubbles. float64[n]."""
    shares: dict[str, Map]
    """"stained", "dark", "thick", "bubble": float32[n]."""
    looks: Map
    """float32[n, 6], each column of mean 0 and deviation 1 over the places that may be chosen: how many cells, how much
    of what is stained is dark, how dense it is, how detailed, of which colour, how large the dark parts."""


def places(survey: Survey, choice: FieldChoice) -> Places:
    """Judge every place by the survey's maps."""
    cells = windows(survey.nuclei)
    share = {
        name: windows(getattr(survey, name)) / _AREA
        for name in ("read", "stained", "dark", "thick", "bubble", "fold", "ink", "density", "detail", "red")
    }
    stained = np.maximum(share["stained"], 1e-4)
    detail = share["detail"] / np.maximum(share["density"], 1e-4)
    middle = windows(survey.nuclei, 1)
    some = (cells >= choice.fewest_cells) & (middle >= 1)
    usual_cells = float(np.median(cells[some])) if some.any() else 0.0
    applies = {
        DAMAGED: share["read"] < 0.999,
        EMPTY: share["stained"] < choice.least_stained,
        INK: share["ink"] > choice.most_ink,
        FOLD: share["fold"] > choice.most_fold,
        THICK: share["thick"] > choice.most_thick,
        BUBBLE: share["bubble"] > choice.most_bubble,
    }
    applies[NO_NUCLEI] = ~some | (cells < choice.usual_cells * usual_cells)
    usual = ~np.logical_or.reduce(list(applies.values()))
    sharp = float(np.quantile(detail[usual], 0.75)) if usual.any() else 0.0
    applies[OUT_OF_FOCUS] = detail < BLURRED * sharp
    reason = np.full(cells.shape, -1, np.int8)
    for number, name in reversed(list(enumerate(REASONS))):
        reason[applies[name]] = number
    looks = np.stack(
        [
            np.log1p(cells),
            share["dark"] / stained,
            share["density"] / stained,
            detail,
            share["red"] / np.maximum(share["density"], 1e-4),
            np.log1p(share["dark"] * 100 / np.maximum(cells, 1.0)),
        ],
        axis=-1,
    ).reshape(-1, 6)
    eligible = reason.ravel() < 0
    if eligible.any():
        spread = looks[eligible].std(axis=0)
        looks = (looks - looks[eligible].mean(axis=0)) / np.where(spread > 1e-6, spread, 1.0)
    looks = np.clip(looks, -FARTHEST, FARTHEST)
    row, column = (index.ravel() for index in np.indices(cells.shape))
    kept = {name: share[name].ravel().astype(np.float32) for name in ("stained", "dark", "thick", "bubble")}
    return Places(
        (cells.shape[0], cells.shape[1]),
        row,
        column,
        reason.ravel(),
        cells.ravel(),
        (cells * np.exp(-4.0 * share["thick"] - 6.0 * share["bubble"])).ravel().astype(np.float64),
        kept,
        looks.astype(np.float32),
    )


def counted(found: Places) -> tuple[int, int, dict[str, int]]:
    """Of the places side by side: how many there are, how many may be chosen, and how many are left out why."""
    apart = (found.row % SQUARES == 0) & (found.column % SQUARES == 0)
    reasons = found.reason[apart]
    left_out = {name: int((reasons == number).sum()) for number, name in enumerate(REASONS)}
    return len(reasons), int((reasons < 0).sum()), {name: count for name, count in left_out.items() if count}
