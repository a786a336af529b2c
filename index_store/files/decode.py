"""Decode pictures of unknown origin: always to plain 8-bit RGB, or an `ImageProblem`.

Only the formats in `kinds.FORMATS` are read, each by its own decoder of Pillow. What decoding costs is taken from
the headers first (`structure.py`); what a header cannot tell (JPEG 2000) is decoded in a process of its own under a
limit of memory and time.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from index_store.errors import ImageProblem
from index_store.files import decode_process
from index_store.files.bit_depth import bands, colour_of, grey_of, scale_of
from index_store.files.headers.kinds import FORMATS, format_of, is_dicom, kind_of
from index_store.files.headers.refusal import CUT_OUT, EXPORT, EXPORT_AGAIN, PictureRefused
from index_store.files.headers.structure import MAX_MEMORY, Structure, check_cost, read_structure
from index_store.files.headers.tiff_directories import COLOR_MAP, PHOTOMETRIC, PLANAR, TiffPage, starting_at
from index_store.files.jpeg_reader import WatchedJpeg
from index_store.files.plain_colours import gamma_notes, look_notes, profile_notes, to_rgb
from index_store.files.process_limits import FREE
from index_store.files.resolution import tagged_mpp
from index_store.files.source_file import MAX_BYTES, content_hash, read_source, source_name
from index_store.scale import TAG

MAX_PIXELS = 100_000_000
"""100 megapixels: 400 MB decoded. A 13 KB PNG can hold more."""

_DEEP = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I", "F"})
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Decoded:
    """A picture, and notes on how it was read."""

    image: Image.Image
    """RGB, uint8[height, width, 3], upright, without metadata."""
    notes: tuple[str, ...] = ()
    """Such as "of its 5 pages, the first was read". Empty for nearly all pictures."""
    mpp: float | None = None
    """µm a pixel, where the file says so plausibly."""
    mpp_source: str = ""
    """How the file says it, a key of `scale.RANK`."""
    damage: str = ""
    """What shows that the file is damaged, though there is a picture; empty for nothing."""


def decode_picture(
    source: Path | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES, expected: str = ""
) -> Decoded:
    """Decode to RGB, with the orientation applied and no metadata left.

    Transparency is laid on white (a slide's background). Values of more than 8 bits are scaled from their full range
    (`bit_depth.py`). Of several pages the one that the file says is the picture is read, else the first. Colour
    profiles are not applied. Wherever the picture may be another than its owner sees elsewhere, a note says so.

    Args:
        expected: the SHA-256 that the bytes must have; empty for any. Of a picture that is known by it, damage that a
            decoder passes over is no reason to refuse it.

    Raises:
        ImageProblem: no picture, damaged, cut short, beyond the limits, not what was expected, or one that could only
            be read wrongly.
    """
    name = source_name(source)
    data = read_source(source, max_bytes=max_bytes)
    if expected and content_hash(data) != expected:
        raise ImageProblem(
            f"{name} was altered since it was added (its checksum differs). Put the original back, or remove its case "
            "and add it again."
        )
    try:
        format_name = format_of(data)
        if format_name is None and is_dicom(data) and decode_process.AVAILABLE:
            return Decoded(*decode_process.decode(data, max_pixels=max_pixels))
        if format_name is None:
            kind = kind_of(data)
            what = f"is {kind}, and not in a format that is read" if kind else "is not an image of a known format"
            raise PictureRefused(f"{what} ({', '.join(FORMATS)})", EXPORT)
        found = read_structure(data, format_name)
        check_cost(found, max_pixels)
        if format_name == "JPEG2000" and decode_process.AVAILABLE:
            return Decoded(*decode_process.decode(data, max_pixels=max_pixels, size=(found.width, found.height)))
        decoded = decode_within(data, found)
        if decoded.damage and not expected:  # what was stored before this was looked at is shown as it is
            raise PictureRefused(decoded.damage, EXPORT_AGAIN)
        return decoded
    except PictureRefused as refusal:
        raise ImageProblem(f"{name} {refusal.what}. {refusal.advice}") from refusal
    except MemoryError as error:
        raise ImageProblem(f"{name} could not be decoded: this machine is out of memory. {FREE}") from error
    except Exception as error:  # decoders raise nearly anything on damaged bytes: all of it means "unreadable"
        raise ImageProblem(f"{name} is damaged or cut short ({error}). {EXPORT_AGAIN}") from error


def decode_image(
    source: Path | bytes | BinaryIO, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES, expected: str = ""
) -> Image.Image:
    """The picture alone of `decode_picture`: RGB, uint8[height, width, 3], upright, without metadata."""
    return decode_picture(source, max_pixels=max_pixels, max_bytes=max_bytes, expected=expected).image


def decode_within(data: bytes, found: Structure) -> Decoded:
    """Decode in this process a picture whose cost was checked.

    Raises:
        PictureRefused: it could only be read wrongly. Anything else: it is damaged.
    """
    if found.format == "PPM" and found.maximum > 1 and found.maximum != 255 and data[1:2] in b"56":
        return Decoded(*_wide_ppm(data, found))
    notes, mpp, damage = list(found.notes), None, found.damage
    if found.planes:
        image = _merged(data, found)
    else:
        image = _open(data, found)
        raw_mode, mpp = _raw_mode(image), tagged_mpp(image, found.tiff)
        image.load()
        if isinstance(image, WatchedJpeg):
            damage = damage or image.damage
        if raw_mode.endswith((";16L", ";16B", ";16N")) and not image.mode.startswith("I"):
            image, more = _deep_colour(image, raw_mode, lambda: _open(data, found), found)
            notes += more
    if image.mode in _DEEP:
        inverted = found.tiff is not None and found.tiff.number(PHOTOMETRIC, 1) == 0
        info = image.info
        image, more = grey_of(image, bits=found.bits if found.format == "TIFF" else 0, inverted=inverted)
        image.info = {"icc_profile": info.get("icc_profile")}
        notes += more
    elif found.format == "JPEG2000" and found.bits > 8 and _highest(image) < 64:
        raise PictureRefused(f"holds dark colours in {found.bits} bits: which value is white cannot be told", EXPORT)
    elif image.mode == "P" and found.tiff is not None and max(found.tiff.numbers.get(COLOR_MAP, (256,))) < 256:
        notes.append("its palette is of 8 bits held in 16, and was read as such")
        _eight_bit_palette(image)
    notes += [*profile_notes(image.info.get("icc_profile")), *gamma_notes(image.info.get("gamma"))]
    orientation = image.getexif().get(_ORIENTATION)
    plain, more = to_rgb(image)
    if orientation in _UPRIGHT:
        if 8 * found.width * found.height > MAX_MEMORY:
            raise PictureRefused("is too large to be turned upright", CUT_OUT)
        plain = plain.transpose(_UPRIGHT[orientation])
    return Decoded(plain, tuple(dict.fromkeys((*notes, *more))), mpp, TAG if mpp else "", damage)


def _open(data: bytes, found: Structure, page: TiffPage | None = None) -> Image.Image:
    """The picture opened, not yet decoded, at its page."""
    page = page or found.tiff
    file = io.BytesIO(data if page is None else starting_at(data, page.position))
    if found.format == "JPEG":  # not by `Image.open`, which makes another format of a phone's picture with a second one
        image: Image.Image = WatchedJpeg(data, found.coded) if found.coded else JpegImageFile(file)
    else:
        # Pillow only warns between 89 and 179 megapixels; our own limit decides. (`catch_warnings` is not thread-safe;
        # the worst result is that this one warning stays ignored.)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            try:
                image = Image.open(file, formats=(found.format,))
            except Image.UnidentifiedImageError as error:
                if found.tiff is None:
                    raise PictureRefused("is damaged or cut short (its header)", EXPORT_AGAIN) from error
                layout = f"{found.tiff.samples} channels of {found.tiff.bits} bits"
                raise PictureRefused(f"is a TIFF of a layout that is not read ({layout})", EXPORT) from error
    size = image.size
    if sorted(size) != sorted((found.width, found.height)):
        raise PictureRefused(
            f"is damaged: its headers give two sizes, {size[0]} × {size[1]} and {found.width} × {found.height}",
            EXPORT_AGAIN,
        )
    if found.tiff is not None and _plane_by_plane(found) and found.tiff.bits == 16 and image.tile[0][0] == "raw":  # type: ignore[attr-defined]
        _read_sixteen_bits(image)
    return image


def _plane_by_plane(found: Structure) -> bool:
    return found.tiff is not None and found.tiff.samples > 1 and found.tiff.number(PLANAR, 1) == 2


def _read_sixteen_bits(image: Image.Image) -> None:
    """Correct how planes of 16 bits are unpacked: Pillow forgets the width where they are not compressed."""
    if image.mode not in ("RGB", "RGBA"):
        raise PictureRefused("is a TIFF of 16-bit values stored plane by plane", EXPORT)
    order = "B" if image.tag_v2.prefix == b"MM" else "L"  # type: ignore[attr-defined]
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=(f"{tile.args[0]};16{order}", *tile.args[1:]))
        for tile in image.tile  # type: ignore[attr-defined]
        if tile.args[0] in image.mode
    ]


def _raw_mode(image: Image.Image) -> str:
    """How the decoder is to unpack a picture's values, such as `RGB;16B`."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _deep_colour(
    image: Image.Image, raw_mode: str, opened: Callable[[], Image.Image], found: Structure
) -> tuple[Image.Image, tuple[str, ...]]:
    """A picture of 16-bit colours, of which Pillow keeps the high bytes.

    Where those are dark, it is decoded once more with the bytes taken in the other order, which gives the low ones.
    """
    if _plane_by_plane(found) or image.mode == "CMYK" or not raw_mode.startswith(("RGB;", "RGBA;", "RGBX;")):
        if _highest(image) < 16:
            scale_of(0, 256, form=16)  # refused
        return image, ()
    if _highest(image) >= 64:
        return image, ()
    other = opened()
    order = {"L": "B", "B": "L"}.get(raw_mode[-1]) or ("B" if np.little_endian else "L")
    other.tile = [  # type: ignore[attr-defined]
        tile._replace(
            args=(raw_mode[:-1] + order, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode[:-1] + order
        )
        for tile in other.tile  # type: ignore[attr-defined]
    ]
    other.load()
    return colour_of(image, other, bits=found.bits)


def _highest(image: Image.Image) -> int:
    ranges = image.getextrema()
    pairs = ranges if isinstance(ranges[0], tuple) else (ranges,)
    colours = pairs[:-1] if image.mode in ("RGBA", "LA") else pairs
    return int(max(high for _, high in colours))


def _merged(data: bytes, found: Structure) -> Image.Image:
    """Red, green and blue of three grey pages."""
    planes = []
    for page in found.planes:
        plane = _open(data, found, page)
        plane.load()
        if plane.mode in _DEEP:
            plane, _ = grey_of(plane, bits=found.bits, inverted=False)
        planes.append(plane.convert("L"))
    return Image.merge("RGB", planes)


def _eight_bit_palette(image: Image.Image) -> None:
    """Set a TIFF's palette anew whose writer gave values of 8 bits where the format has 16."""
    entries = image.tag_v2[COLOR_MAP]  # type: ignore[attr-defined]
    third = len(entries) // 3
    image.putpalette([entries[channel * third + at] for at in range(third) for channel in range(3)])


def _wide_ppm(data: bytes, found: Structure) -> tuple[Image.Image, tuple[str, ...]]:
    """A binary PPM whose highest value is not 255: Pillow scales it in Python, at seconds a megapixel."""
    channels = 3 if data[1:2] == b"6" else 1
    kind = np.dtype(">u2" if found.maximum > 255 else "u1")
    row = found.width * channels
    if len(data) - found.offset < row * found.height * kind.itemsize:
        raise PictureRefused("is damaged or cut short (a PPM)", EXPORT_AGAIN)
    values = np.frombuffer(data, kind, row * found.height, found.offset).reshape(found.height, found.width, channels)
    scale = scale_of(0, int(values.max()), bits=0) if found.maximum == 65535 else None
    top, notes = (scale.top, scale.notes) if scale else (found.maximum, ())
    plain = Image.new("RGB", (found.width, found.height), None)
    for box in bands(found.width, found.height):
        part = np.minimum(np.round(values[box[1] : box[3]] * (255.0 / top)), 255).astype(np.uint8)
        plain.paste(Image.fromarray(np.repeat(part, 3 // channels, axis=2)), box[:2])
    return plain, (*notes, *look_notes(plain))
