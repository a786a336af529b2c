"""The scale that a picture's own tags give: µm a pixel, where it is one that a microscope's image can have.

Most tags are printing defaults (72, 96, 300 dpi: 85 to 350 µm a pixel), or say nothing. Only a pixel of `FINEST` to
`COARSEST` µm, as wide as it is high, is taken for a scale.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from index_store.scale import MIN_MPP, is_square

if TYPE_CHECKING:
    from PIL import Image

    from index_store.files.headers.tiff_directories import TiffPage

FINEST: Final = MIN_MPP
COARSEST: Final = 5.0
"""µm a pixel. Above it lies what scanners of documents write (4,800 dpi is 5.3)."""
X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
_UNITS: Final = {2: 25_400.0, 3: 10_000.0}
"""µm in a TIFF's unit of resolution: inch, centimetre."""
_LENGTHS: Final = {"µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "": 1.0}
"""µm in a unit of OME-XML, whose default is µm."""
_OME = re.compile(r'\bPhysicalSize([XY])(Unit)?\s*=\s*"([^"]{1,40})"')
_IMAGEJ = re.compile(r"^unit=(micron|um|µm|μm|\\u00B5m)\s*$", re.M | re.I)
_APERIO = re.compile(r"\bMPP\s*=\s*(\d{1,3}(?:\.\d{1,10})?)")
_DESCRIPTION: Final = 100_000
"""Characters of a description that are looked at: OME-XML states its pixels before its planes."""


def tagged_mpp(image: Image.Image, page: TiffPage | None) -> float | None:
    """µm a pixel by the tags of a picture that is opened, not yet converted; None where they give none.

    Args:
        page: its directory, where it is a TIFF.
    """
    if page is not None:
        described = _described(page.description[:_DESCRIPTION])
        return described if described is not None else _of_tiff(image, page.description[:_DESCRIPTION])
    dots = image.info.get("dpi")  # of JPEG, PNG and BMP, which Pillow brings to one unit
    if not isinstance(dots, tuple) or len(dots) != 2:
        return None
    return _plausible(*(_per_pixel(25_400.0, value) for value in dots))


def _described(text: str) -> float | None:
    """By a TIFF's description: OME-XML, or as Aperio's software exports fields."""
    sizes = {f"{axis}{unit}": value for axis, unit, value in reversed(_OME.findall(text))}  # the first image's stay
    if "X" in sizes and "Y" in sizes:
        factors = [_LENGTHS.get(sizes.get(f"{axis}Unit", ""), math.nan) for axis in "XY"]
        return _plausible(*(_number(sizes[axis]) * factor for axis, factor in zip("XY", factors, strict=True)))
    found = _APERIO.search(text)
    return _plausible(float(found[1]), float(found[1])) if found else None


def _of_tiff(image: Image.Image, description: str) -> float | None:
    tags = getattr(image, "tag_v2", {})
    # ImageJ writes no unit into the tag, but into its description.
    micrometres = 1.0 if _IMAGEJ.search(description) else _UNITS.get(tags.get(RESOLUTION_UNIT, 2), math.nan)
    return _plausible(*(_per_pixel(micrometres, tags.get(tag)) for tag in (X_RESOLUTION, Y_RESOLUTION)))


def _per_pixel(micrometres: float, pixels: object) -> float:
    """The width of a pixel, of which so many make up a length in µm; NaN where that is no number."""
    value = _number(pixels)
    return micrometres / value if value > 0 else math.nan


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]  # a number, Pillow's rational, or text
    except (TypeError, ValueError, ZeroDivisionError):
        return math.nan


def _plausible(x: float, y: float) -> float | None:
    if FINEST <= x <= COARSEST and FINEST <= y <= COARSEST and is_square(x, y):
        return (x + y) / 2
    return None
