"""How many micrometres a pixel of a slide is, where what the file says can be believed."""

from __future__ import annotations

from typing import Final

FINEST: Final = 0.05
"""µm a pixel: a 100× oil objective on a fine camera gives 0.06."""
COARSEST: Final = 10.0
"""µm a pixel: a 1× objective. Resolutions meant for printing (72 to 600 dpi) are 42 to 353."""
UNEVEN: Final = 0.02
"""Pixels are square: width and height differ by less than this share."""


def believed_mpp(x: float | None, y: float | None) -> tuple[float | None, str]:
    """The scale in µm a pixel, or None; and a note where the file gives one that is not used."""
    if x is None or y is None:
        return None, "" if x is None and y is None else "The scale is given for one direction only, and not used."
    if not (FINEST <= x <= COARSEST and FINEST <= y <= COARSEST):
        return None, f"The scale in the file, {x:.4g} × {y:.4g} µm a pixel, is implausible and not used."
    if abs(x - y) > UNEVEN * max(x, y):
        return None, f"The pixels are not square ({x:.4g} × {y:.4g} µm): the scale is not used."
    return (x + y) / 2, ""


def number(text: object) -> float | None:
    """A positive finite number, or None."""
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None
