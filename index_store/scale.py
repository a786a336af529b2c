"""The scale of an image: how many micrometres a pixel is wide (`mpp`), and how that is known.

A number outside what microscopes give is no scale: printing defaults (72, 96, 300 dpi) are 85 to 350 µm a pixel.
"""

from __future__ import annotations

import math
import re
from typing import Final

MIN_MPP: Final = 0.05
"""A 100× objective with a camera of small pixels gives 0.03 to 0.1."""
MAX_MPP: Final = 20.0
"""An overview by a 1× objective gives some 10."""
DISAGREEMENT: Final = 0.1
"""Two statements of one scale that differ by more than this share are noted: a tube lens, or a mistake."""
UNEVEN: Final = 0.02
"""Pixels are square: width and height differ by less than this share."""
BIN_FACTOR: Final = 1.5
"""Scales are counted in bins, each this much wider than the one before: 40×, 20× and 10× lie in three of them."""
OBJECTIVE_MPP: Final = 10.0
"""Nominal µm a pixel times the objective's magnification, as scanners are made: 40× is 0.25, 20× is 0.5."""

OPTION, TAG, DICOM, SLIDE, OBJECTIVE, MANIFEST = "option", "resolution tag", "DICOM", "slide", "objective", "manifest"
RANK: Final = {"": 0, OPTION: 1, TAG: 2, DICOM: 2, SLIDE: 2, OBJECTIVE: 3, MANIFEST: 3}
"""How a scale is known, and which source wins: what is stated of one image over its file, and the file over what
is stated of all images at once."""

_UNIT = re.compile(r"\s*(?:[µμu]m|microns?|micromet(?:er|re)s?)?\s*(?:/|per|a)?\s*(?:px|pixels?)?", re.I)
_NUMBER = re.compile(r"\d{1,6}(?:[.,]\d{1,9})?|[.,]\d{1,9}")
_OBJECTIVE = re.compile(
    r"[x×]?\s*(\d{1,3}(?:[.,]\d{1,2})?)\s*[x×]?(?:\s*/\s*[01][.,]\d{1,2})?(?:[\s,]*(?:oil|water|dry|air|immersion))*",
    re.I,
)
"""`40x`, `x40`, `40`, `100x/1.4 oil`."""


def is_plausible(mpp: float) -> bool:
    """Whether a microscope's image can have this many µm a pixel."""
    return math.isfinite(mpp) and MIN_MPP <= mpp <= MAX_MPP


def is_square(x: float, y: float) -> bool:
    """Whether a pixel of x × y µm is as wide as it is high."""
    return abs(x - y) <= UNEVEN * max(x, y)


def mpp_of_text(text: str) -> float | None:
    """µm a pixel as somebody writes it (`0.25`, `0,25 µm/px`); None where it is no number, or no plausible one."""
    number = _NUMBER.match(text.strip())
    if number is None or not _UNIT.fullmatch(text.strip()[number.end() :]):
        return None
    mpp = float(number[0].replace(",", "."))
    return mpp if is_plausible(mpp) else None


def mpp_of_objective(text: str) -> float | None:
    """The nominal µm a pixel of an objective (`40x` is 0.25); None where it is none."""
    found = _OBJECTIVE.fullmatch(text.strip())
    times = float(found[1].replace(",", ".")) if found else 0.0
    return OBJECTIVE_MPP / times if 1 <= times <= 150 else None


def disagree(first: float, second: float) -> bool:
    """Whether two statements of one scale differ by more than `DISAGREEMENT`."""
    return max(first, second) > (1 + DISAGREEMENT) * min(first, second)


def joined_scale(
    *stated: tuple[float | None, str],
) -> tuple[float | None, str, tuple[str, ...]]:
    """The scale by two statements of (µm a pixel, source), how it is known, and a note where the two disagree."""
    known = [(mpp, source) for mpp, source in stated if mpp is not None]
    if not known:
        return None, "", ()
    mpp, source = max(known, key=lambda scale: RANK.get(scale[1], 0))
    notes: tuple[str, ...] = ()
    if len(known) == 2 and disagree(known[0][0], known[1][0]):
        other = next(value for value in known if value[1] != source)
        notes = (f"the scale was taken from the {source}, and the {other[1]} says something else by more than 10 %",)
    return mpp, source, notes


def replaces(source: str, known: str) -> bool:
    """Whether a scale of this source takes the place of one that is stored."""
    return bool(source) and RANK.get(source, 0) >= RANK.get(known, 0)


def bin_of(mpp: float) -> int:
    """The number of the bin: 0 around 0.25 µm a pixel, 1 around 0.375."""
    return round(math.log(mpp / 0.25) / math.log(BIN_FACTOR))


def bin_name(number: int) -> str:
    """A bin's name for readers: "about 0.25 µm a pixel"."""
    return f"about {0.25 * BIN_FACTOR**number:.2g} µm a pixel"


def scale_text(mpp: float | None) -> str:
    """A scale for readers: "0.25 µm a pixel"; empty where it is not known."""
    return "" if mpp is None else f"{mpp:.3g} µm a pixel"
