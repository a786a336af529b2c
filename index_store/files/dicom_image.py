"""A single-frame DICOM image (VL Microscopic, VL Photographic) as an ordinary picture, with its scale.

Of the file, the attributes in `ALLOWED` are read and no others: none of them names a person, a place or a time. It is
decoded in a process under limits (`decode_process`).

`ImagerPixelSpacing` is not read: it is the size of a pixel of the camera, and not of what lies on the glass.
"""

from __future__ import annotations

import io
from typing import Any, Final

from PIL import Image

from index_store.files.decode import MAX_PIXELS, Decoded
from index_store.files.headers.refusal import CUT_OUT, EXPORT, EXPORT_AGAIN, PictureRefused
from index_store.files.headers.structure import Structure, check_cost
from index_store.scale import DICOM, is_plausible, is_square

CLASSES: Final = frozenset(f"1.2.840.10008.5.1.4.1.1.77.1.{number}" for number in (2, 3, 4))
"""VL Microscopic, VL Slide-Coordinates Microscopic, VL Photographic."""
WHOLE_SLIDE: Final = "1.2.840.10008.5.1.4.1.1.77.1.6"
PIXELS: Final = (
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "NumberOfFrames", "PixelData"),
)
"""What describes the pixels, and the pixels."""
ALLOWED: Final = ("SOPClassUID", "BurnedInAnnotation", "PixelSpacing", *PIXELS)
_SAVE = "Save it as PNG or TIFF."


def decode_dicom(data: bytes) -> Decoded:
    """The picture: RGB, uint8[height, width, 3], and its scale.

    Raises:
        PictureRefused: another kind of DICOM file, several frames, burned-in words, deep pixels, or beyond the limits.
            Anything else: it is damaged.
    """
    from pydicom import dcmread
    from pydicom.pixels import pixel_array

    header = dcmread(io.BytesIO(data), force=True, specific_tags=list(ALLOWED))
    _check(header)
    width, height = int(header.Columns), int(header.Rows)
    check_cost(Structure("DICOM", width, height, 9 * width * height), MAX_PIXELS)
    pixels = pixel_array(header)  # in RGB, whatever colours are stored
    if pixels.dtype.itemsize != 1 or pixels.shape[:2] != (height, width):
        raise PictureRefused("is damaged: its headers do not fit its pixels", EXPORT_AGAIN)
    if header.PhotometricInterpretation == "MONOCHROME1":  # the lowest value is white
        pixels = 255 - pixels
    mpp = _mpp(header)
    return Decoded(Image.fromarray(pixels).convert("RGB"), (), mpp, DICOM if mpp else "")


def _check(header: Any) -> None:
    kind = str(header.get("SOPClassUID", ""))
    if kind == WHOLE_SLIDE:
        raise PictureRefused("is a whole slide (DICOM)", CUT_OUT)
    if kind not in CLASSES:
        raise PictureRefused("is a DICOM file, and no photograph or microscopic image", EXPORT)
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise PictureRefused("is a DICOM file of several frames", f"Choose one. {_SAVE}")
    if str(header.get("BurnedInAnnotation", "")).upper() == "YES":
        raise PictureRefused("is a DICOM image with words burned into it, which may name a person", EXPORT)
    colours = str(header.get("PhotometricInterpretation", ""))
    if not colours.startswith(("RGB", "YBR", "MONOCHROME")):
        raise PictureRefused(f"is a DICOM image whose colours are not read ({colours[:20] or 'none are given'})", _SAVE)
    if int(header.get("BitsAllocated", 8)) != 8:
        raise PictureRefused("is a DICOM image of more than 8 bits", _SAVE)


def _mpp(header: Any) -> float | None:
    spacing = header.get("PixelSpacing") or ()
    if len(spacing) != 2:
        return None
    y, x = (1000.0 * float(millimetres) for millimetres in spacing)
    return (x + y) / 2 if is_plausible(x) and is_plausible(y) and is_square(x, y) else None
