"""How many micrometres a pixel of a slide is, where what the file says can be believed."""

from __future__ import annotations

from index_store.scale import is_plausible, is_square


def believed_mpp(x: float | None, y: float | None) -> tuple[float | None, str]:
    """The scale in µm a pixel, or None; and a note where the file gives one that is not used."""
    if x is None or y is None:
        return None, "" if x is None and y is None else "The scale is given for one direction only, and not used."
    if not (is_plausible(x) and is_plausible(y)):
        return None, f"The scale in the file, {x:.4g} × {y:.4g} µm a pixel, is implausible and not used."
    if not is_square(x, y):
        return None, f"The pixels are not square ({x:.4g} × {y:.4g} µm): the scale is not used."
    return (x + y) / 2, ""


def number(text: object) -> float | None:
    """A positive finite number, or None."""
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None
