"""Values of more than 8 bits as 8 bits.

Scaled from the full range of the values' form, never from the values that occur, so that the same brightness stays the
same across pictures. Cameras of 10 or 12 bits write their values into 16 without saying so, and would come out all but
black: a picture by transmitted light has a bright background, so that values that reach no further than a sixteenth of
the range are of fewer bits. They are read as such where the file says so or their range leaves no doubt, and refused
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from index_store.files.headers.refusal import PictureRefused

BAND_PIXELS = 1_000_000
"""Pixels that are converted at a time."""
FULL = 65535
_DEPTHS = (8, 10, 12)
_EXPORT = "Export it with 8 bits a channel."


@dataclass(frozen=True)
class Scale:
    """Which value is white, and a note on it."""

    top: float
    notes: tuple[str, ...] = ()


def bands(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of whole rows that cover a picture from top to bottom."""
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        yield 0, top, width, min(top + rows, height)


def scale_of(low: float, high: float, *, bits: int = 0, real: bool = False, form: int = 16) -> Scale:
    """The scale of values between `low` and `high`.

    Args:
        bits: how many are used by what the file says; 0 where it does not.
        real: floating-point values, of which 1 is white.
        form: bits of a value as stored.

    Raises:
        PictureRefused: they are beyond every range, or their range leaves it open what is white.
    """
    if not np.isfinite(low) or not np.isfinite(high) or low < 0 or high > (255 if real else FULL):
        raise PictureRefused(f"cannot be read: its grey values are not within 0 to {1 if real else FULL}", _EXPORT)
    if real and high <= 1:
        return Scale(1.0, ("it is all but black: its brightest value is " + _share(high, 1),) if high < 1 / 16 else ())
    if bits and high < 2**bits:
        note = f"it says that its values are of {bits} bits, and was read so"
        return Scale(2**bits - 1, (note,) if bits < 16 else ())
    if high == 0:
        return Scale(FULL)
    if high < 4096:
        depth = next(depth for depth in _DEPTHS if high < 2**depth)
        if high >= 2 ** (depth - 1) or depth == 12:
            return Scale(2**depth - 1, (f"its values are of {depth} bits held in {form}, and were read as such",))
        raise PictureRefused(
            f"holds values up to {high:.0f} in {form} bits: it would be all but black, and which value is white "
            "cannot be told",
            _EXPORT,
        )
    if high == 2**14 - 1:
        return Scale(high, (f"its values are of 14 bits held in {form}, and were read as such",))
    return Scale(FULL, ("it is dark: its brightest value is " + _share(high, FULL),) if high < 2**14 else ())


def grey_of(image: Image.Image, *, bits: int, inverted: bool) -> tuple[Image.Image, tuple[str, ...]]:
    """A picture of 16-bit, 32-bit or floating-point grey values as one of 8 bits, and notes.

    Args:
        bits: how many are used by what the file says; 0 where it does not.
        inverted: 0 is white.
    """
    real = image.mode == "F"
    low, high = np.inf, -np.inf
    for box in bands(*image.size):
        values = np.asarray(image.crop(box))
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        if real and not np.isfinite(values).all():
            low = np.nan
            break
    scale = scale_of(low, high, bits=bits, real=real, form=32 if image.mode in ("I", "F") else 16)
    table = _table(scale.top)
    grey = Image.new("L", image.size)
    for box in bands(*image.size):
        part = np.asarray(image.crop(box))
        values = np.round(part * (255.0 / scale.top)).astype(np.uint8) if real else table[part]
        grey.paste(Image.fromarray(255 - values if inverted else values), box[:2])
    return grey, scale.notes


def colour_of(high_bytes: Image.Image, low_bytes: Image.Image, *, bits: int) -> tuple[Image.Image, tuple[str, ...]]:
    """Dark 16-bit colours, decoded once by their high and once by their low bytes, as 8 bits. Changes the former."""
    highest = 0
    for box in bands(*high_bytes.size):
        highest = max(highest, int(_joined(high_bytes, low_bytes, box)[..., :3].max()))  # transparency apart
    scale = scale_of(0, highest, bits=bits)
    if scale.top != FULL:
        table = _table(scale.top)
        for box in bands(*high_bytes.size):
            high_bytes.paste(Image.fromarray(table[_joined(high_bytes, low_bytes, box)]), box[:2])
    return high_bytes, scale.notes


def _table(top: float) -> np.ndarray:
    """uint8[65536]: each 16-bit value as one of 8 bits, where `top` is white."""
    table: np.ndarray = np.minimum(np.round(np.arange(FULL + 1) * (255.0 / top)), 255).astype(np.uint8)
    return table


def _joined(high_bytes: Image.Image, low_bytes: Image.Image, box: tuple[int, int, int, int]) -> np.ndarray:
    high = np.asarray(high_bytes.crop(box)).astype(np.uint16)
    joined: np.ndarray = (high << 8) | np.asarray(low_bytes.crop(box))
    return joined


def _share(value: float, top: float) -> str:
    return f"{100 * value / top:.0f} % of the range"
