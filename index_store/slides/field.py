"""A field of a slide: a square that is worth cutting out; and how fields are chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

EMPTY: Final = "empty"
NO_NUCLEI: Final = "no nuclei (blood, mucus)"
OUT_OF_FOCUS: Final = "out of focus"
INK: Final = "ink or smudge"
BUBBLE: Final = "bubble"
FOLD: Final = "fold"
THICK: Final = "too thick"
DAMAGED: Final = "damaged"
REASONS: Final = (DAMAGED, EMPTY, INK, FOLD, THICK, BUBBLE, OUT_OF_FOCUS, NO_NUCLEI)
"""Why a place is left out; where several apply, the first one counts."""

DARK, CELLS, VARIED, MIXED, RANDOM = "dark", "cells", "varied", "mixed", "random"
RULES: Final = (DARK, MIXED, CELLS, VARIED, RANDOM)
"""By which candidates are ordered: where nuclei are dark and take up much of what is stained first; two of these for
each one that is different; the most cells first; the most different from those chosen first; by chance."""


@dataclass(frozen=True)
class FieldChoice:
    """How many fields are cut out of a slide, of what size, and by which rule.

    The defaults are the best of `python -m benchmarks.slides`.
    """

    most: int = 64
    """Fields of a slide."""
    width_um: float = 128.0
    """Edge of a field: the shipped encoder was trained on fields 96 µm wide, and microscopes' cameras show more."""
    finest_um: float = 0.5
    """µm a pixel at which a field is read, or finer where the slide has no level in between."""
    rule: str = DARK
    """One of `RULES`."""
    fewest_cells: float = 2.0
    """Nuclei below which a place has none worth a look."""
    usual_cells: float = 0.3
    """So many of what the slide's places have in the middle (median) a place must have, too."""
    least_stained: float = 0.02
    """Share of a place that is stained, below which it is empty."""
    most_thick: float = 0.25
    """Share of a place that lies under more than one layer of cells, above which it is too thick."""
    most_bubble: float = 0.04
    """Share of a place within bubbles or holes, above which it is left out."""
    most_ink: float = 0.10
    most_fold: float = 0.04
    sharpness: float = 0.6
    """A field less sharp than this share of the slide's sharper ones is out of focus."""
    seed: int = 0
    """Of what is left to chance."""


@dataclass(frozen=True)
class Field:
    """One field: where it lies on which slide, and what was seen there."""

    slide: str
    """The slide's fingerprint."""
    x: int
    """Of its upper left corner, in pixels of level 0."""
    y: int
    width: int
    """Of its edge, in pixels of level 0; it is a square."""
    level: int
    """At which it is read."""
    plane: int
    """The sharpest one."""
    pixels: int
    """Of its edge, at that level."""
    mpp: float
    """µm a pixel at that level."""
    cells: float
    """Nuclei counted at low power."""
    sharpness: float
    """At the reading level: fine over coarse contrast at the edges of what is stained."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Shares of the field, from 0 to 1: "stained", "dark", "thick", "bubble"."""


@dataclass(frozen=True)
class ChosenFields:
    """The fields of a slide, the best first, and what became of its other places."""

    fields: tuple[Field, ...]
    places: int
    """Places of a field's size that the slide has, side by side."""
    left_out: Mapping[str, int]
    """Of those, by `REASONS`; and candidates that were found out of focus or damaged when they were read closely."""
    candidates: int
    """Places of a field's size, side by side, that may be chosen."""
    read_megapixels: float
    seconds: float
    notes: tuple[str, ...] = ()
