"""A decoded picture of whatever mode as plain RGB, band by band, with notes where that is not the whole truth."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from index_store.files.bit_depth import bands
from index_store.files.headers.refusal import PictureRefused

_WITH_ALPHA = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_HIDDEN = 2
"""Opacity, of 255, below which nothing is seen."""
_NOTED = 0.01
"""Share of a picture that is transparent above which that is noted."""
_SOLID = 240
"""Opacity, of 255, from which a colour is taken to be seen as it is."""
_SAMPLE = (64, 64)
_BLACK = 16
_DARK = 40
"""A picture of which 95 % are no brighter is noted: transmitted light has a bright background."""
_EDGE = 8
"""Rows at an end that are noted where all of them are black: what a copy that broke off leaves of plain rows."""
_PRIMARIES = {
    b"rXYZ": (0.4361, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7139),
}
"""Of sRGB."""
_KNOWN_PROFILES = ("Adobe RGB", "Display P3", "ProPhoto", "Rec2020", "Rec. 2020", "DCI-P3", "Apple RGB", "eciRGB")
_CONVERTED = {
    "CMYK": "its printing colours (CMYK) were converted without their profile and are approximate",
    "LAB": "its Lab colours were converted to sRGB",
}


def to_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """The picture as RGB without metadata, and notes.

    Transparency is laid on white (a slide's background), unless it would hide everything: then the colours under it are
    shown.

    Raises:
        PictureRefused: it is wholly transparent, and there is nothing under it.
    """
    notes: list[str] = []
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        plain, notes = _opaque(image)
    elif image.mode == "RGB":
        plain = Image.Image()._new(
            image.im
        )  # the same pixels without the metadata, and without a copy of 4 bytes a pixel
    else:
        notes += [_CONVERTED[image.mode]] if image.mode in _CONVERTED else []
        plain = Image.new("RGB", image.size, None)
        for box in bands(*image.size):
            plain.paste(image.crop(box).convert("RGB"), box[:2])
    return plain, (*notes, *look_notes(plain))


def _opaque(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """The picture laid on white; or, where all of it is transparent, its colours."""
    opacity = np.zeros(256, dtype=np.int64)
    for box in bands(*image.size):
        opacity += image.crop(box).convert("RGBA").getchannel("A").histogram()
    hidden = not opacity[_HIDDEN:].any()
    plain = Image.new("RGB", image.size, None)
    for box in bands(*image.size):
        band = image.crop(box).convert("RGBA")
        if not hidden:
            ground = Image.new("RGBA", band.size, "white")
            ground.alpha_composite(band)
            band = ground
        plain.paste(band.convert("RGB"), box[:2])
    if hidden:
        if _is_even(_ranges_of(plain)):
            raise PictureRefused("is wholly transparent, and shows nothing", "Export it without transparency.")
        return plain, ["all of it is transparent: its colours were read, and its transparency was left out"]
    share = opacity[:128].sum() / opacity.sum()
    if share >= 0.5:
        return plain, [f"most of it is transparent ({_percent(share)}), and was laid on white"]
    if share >= _NOTED:
        return plain, [f"{_percent(share)} of it is transparent, and was laid on white"]
    share = opacity[:_SOLID].sum() / opacity.sum()
    return plain, [f"{_percent(share)} of it is transparent in part, and was laid on white"] if share >= _NOTED else []


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def look_notes(plain: Image.Image) -> list[str]:
    """What a picture is that shows nothing, or that looks damaged or too dark. A sample decides where it can."""
    sample = plain.resize(_SAMPLE, Image.Resampling.NEAREST)
    if not _shows_something(_ranges_of(sample)):
        ranges = _ranges_of(plain)
        if not _shows_something(ranges):
            return ["all of it is of one colour" if _is_even(ranges) else "it is all but black"]
    notes = []
    if np.percentile(np.asarray(sample).max(axis=2), 95) < _DARK:
        notes.append("nearly all of it is dark: the brightest values may be a scale bar or damaged")
    width, height = plain.size
    eighth = min(max(8, height // 8), height)
    for name, top in (("upper", 0), ("lower", height - eighth)):
        edge = height - _EDGE if top else 0
        if _is_even(_ranges_of(plain, top, top + eighth)):
            notes.append(f"its {name} part is of one colour: the file may be damaged or cut short")
        elif plain.crop((0, edge, width, edge + _EDGE)).getbbox() is None:
            notes.append(f"its {name} edge is black: the file may be damaged or cut short")
    return notes


_Ranges = tuple[tuple[int, int], ...]


def _ranges_of(plain: Image.Image, top: int = 0, bottom: int | None = None) -> _Ranges:
    """Lowest and highest value of each channel in these rows, band by band: Pillow copies what it is asked for."""
    rows = (plain.height if bottom is None else bottom) - top
    of_bands = [
        plain.crop((left, top + upper, right, top + lower)).getextrema()
        for left, upper, right, lower in bands(plain.width, rows)
    ]
    return tuple((min(low for low, _ in each), max(high for _, high in each)) for each in zip(*of_bands, strict=True))


def _is_even(ranges: _Ranges) -> bool:
    return all(low == high for low, high in ranges)


def _shows_something(ranges: _Ranges) -> bool:
    return not _is_even(ranges) and max(high for _, high in ranges) >= _BLACK


def profile_notes(profile: object) -> tuple[str, ...]:
    """A note where a picture's colours are of another space than sRGB: they are shown as if they were sRGB."""
    if not isinstance(profile, bytes) or profile[16:20] != b"RGB ":
        return ()
    words = profile[:65536].replace(b"\0", b"")
    named_srgb = b"sRGB" in words or b"IEC61966" in words or b"IEC 61966" in words
    if named_srgb and not _has_other_primaries(profile):
        return ()
    named = next((name for name in _KNOWN_PROFILES if name.encode() in words), "")
    return (f"its colour profile{f' ({named})' if named else ''} was not applied, so that colours may differ slightly",)


def _has_other_primaries(profile: bytes) -> bool:
    """Whether its red, green or blue is not that of sRGB (ICC.1, 9.2: `rXYZ` and the others, relative to D50)."""
    try:
        (count,) = struct.unpack_from(">I", profile, 128)
        for number in range(min(count, 100)):
            name, at, _ = struct.unpack_from(">4sII", profile, 132 + 12 * number)
            if name in _PRIMARIES:
                values = struct.unpack_from(">3i", profile, at + 8)
                if any(
                    abs(value / 65536 - of_srgb) > 0.02 for value, of_srgb in zip(values, _PRIMARIES[name], strict=True)
                ):
                    return True
    except struct.error:
        pass
    return False


def gamma_notes(gamma: object) -> tuple[str, ...]:
    """A note where a PNG says that its values are of another gamma than displays have (1/2.2)."""
    if not isinstance(gamma, int | float) or not gamma or 0.38 <= gamma <= 0.53:
        return ()
    return (f"it says that its gamma is {gamma:.2g}, which was not applied: its brightness may be wrong",)
