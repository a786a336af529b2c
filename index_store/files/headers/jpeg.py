"""What decoding a JPEG or JPEG 2000 costs, by its headers."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from index_store.files.headers.jpeg_scans import CodedData, Frame, walk
from index_store.files.headers.refusal import EXPORT, EXPORT_AGAIN, PictureRefused

MAX_SEGMENTS = 2_000
"""Of a JPEG before its picture: each costs Pillow a step in Python. A colour profile takes up to 255, extended XMP some
hundred."""
MAX_JUNK = 64 * 1024
"""Bytes between the segments that belong to none."""
MAX_BOXES = 1_000
JPEG2000_BYTES_PER_TILE_PIXEL = 16
"""OpenJPEG holds a tile as 32-bit numbers and once more as bytes: measured 20 bytes a pixel for colour, the picture's
own four included."""

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_NAMES = {0xC3: "a lossless JPEG", 0xF7: "a JPEG-LS picture"} | dict.fromkeys(
    (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xCB), "a JPEG of a kind that is not read (hierarchical or lossless)"
)


@dataclass
class JpegHeader:
    """What precedes a JPEG's picture."""

    width: int = 0
    height: int = 0
    components: int = 0
    progressive: bool = False
    coefficients: int = 0
    """Numbers that a decoder holds where a picture comes in several scans: 2 bytes each."""
    arithmetic: bool = False
    """Coded in a way of which a decoder cannot stop in between."""
    factors: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of each component, by its number: samples across and down, in proportion."""
    interval: int = 0
    """Units between two restarts."""
    adobe: bool = False
    """Whether it says how its colours are meant."""
    exif: bytearray = field(default_factory=bytearray)
    pictures: int = 1
    scans: int = 0
    start: int = 0
    """Where its first scan begins."""


def read_jpeg(data: bytes) -> JpegHeader:
    """Walk the segments up to the first scan.

    Raises:
        PictureRefused: damaged, of a kind that is not read, or with more segments than a picture has.
    """
    header = JpegHeader()
    position, segments, junk = 2, 0, 0
    while True:
        following = data.find(b"\xff", position)
        if following < 0 or following + 4 > len(data):
            raise PictureRefused("is damaged or cut short (no picture in a JPEG)", EXPORT_AGAIN)
        junk += following - position
        marker = data[following + 1]
        if marker in (0xFF, 0x00):
            position, junk = following + 1, junk + 1
        elif marker in _ALONE:
            position = following + 2
        else:
            (length,) = struct.unpack_from(">H", data, following + 2)
            body = data[following + 4 : following + 2 + length]
            position = following + 2 + max(length, 2)
            if marker == 0xDA:
                break
            _take(header, marker, body)
        segments += 1
        if segments > MAX_SEGMENTS + junk or junk > MAX_JUNK:
            raise PictureRefused("is damaged (too many segments before its picture)", EXPORT_AGAIN)
    if not header.width or not header.height:
        raise PictureRefused("is damaged or cut short (a JPEG without its size)", EXPORT_AGAIN)
    # Within coded data 0xFF is always followed by 0x00 or a restart marker: these two bytes start a scan.
    header.scans = data.count(b"\xff\xda", following)
    header.start = following
    if header.components == 4 and not header.adobe:
        raise PictureRefused("is a JPEG of four colours that does not say which (it has no Adobe marker)", EXPORT)
    return header


def coded_data(data: bytes, header: JpegHeader) -> CodedData:
    """Where the coded data end that follow the headers, and what is missing from them."""
    frame = Frame(header.width, header.height, header.factors, header.progressive, header.interval)
    return walk(data, header.start, frame)


def _take(header: JpegHeader, marker: int, body: bytes) -> None:
    if marker in _NAMES:
        raise PictureRefused(f"is {_NAMES[marker]}", EXPORT)
    if marker in _FRAMES:
        if len(body) < 6 or len(body) < 6 + 3 * body[5]:
            raise PictureRefused("is damaged (its JPEG frame)", EXPORT_AGAIN)
        precision, header.height, header.width, header.components = struct.unpack_from(">BHHB", body)
        if precision != 8:
            raise PictureRefused(f"is a {precision}-bit JPEG", EXPORT)
        header.progressive = marker in (0xC2, 0xCA)
        header.arithmetic = marker in (0xC9, 0xCA)
        header.factors = {
            body[at - 1]: (body[at] >> 4 or 1, body[at] & 15 or 1) for at in range(7, 7 + 3 * header.components, 3)
        }
        factors = header.factors.values()
        highest = max((h for h, _ in factors), default=1) * max((v for _, v in factors), default=1)
        shares = sum(h * v for h, v in factors) / highest
        header.coefficients = int(header.width * header.height * shares)
    elif marker == 0xDD and len(body) == 2:
        (header.interval,) = struct.unpack(">H", body)
    elif marker == 0xEE and body.startswith(b"Adobe"):
        header.adobe = True
    elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
        header.exif += body[6:]
    elif marker == 0xE2 and body.startswith(b"MPF\0"):
        header.pictures = max(header.pictures, _mpf_pictures(body[4:]))


def _mpf_pictures(data: bytes) -> int:
    """How many pictures a phone's multi-picture file says it holds (CIPA DC-007: tag 0xB001)."""
    try:
        order = "<" if data[:2] == b"II" else ">"
        (position,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, position)
        for number in range(min(count, 16)):
            tag, _, _, value = struct.unpack_from(order + "HHII", data, position + 2 + 12 * number)
            if tag == 0xB001:
                return int(value)
    except struct.error:
        pass
    return 2


@dataclass(frozen=True)
class Jpeg2000Header:
    """The size of a JPEG 2000 picture and of its tiles."""

    width: int
    height: int
    tile_pixels: int
    components: int
    bits: int


def read_jpeg2000(data: bytes) -> Jpeg2000Header:
    """The header of the codestream (ITU-T T.800, A.5.1), which OpenJPEG goes by.

    Raises:
        PictureRefused: damaged, or with more channels than a picture has.
    """
    start = 0 if data.startswith(b"\xff\x4f") else _codestream(data)
    try:
        soc, siz = struct.unpack_from(">HH", data, start)
        if (soc, siz) != (0xFF4F, 0xFF51):
            raise PictureRefused("is damaged (no codestream in a JPEG 2000 file)", EXPORT_AGAIN)
        x, y, left, top, tile_width, tile_height = struct.unpack_from(">6I", data, start + 8)
        (components,) = struct.unpack_from(">H", data, start + 40)
        depths = [(data[start + 42 + 3 * number] & 0x7F) + 1 for number in range(min(components, 4))]
    except (struct.error, IndexError) as error:
        raise PictureRefused("is damaged or cut short (its JPEG 2000 header)", EXPORT_AGAIN) from error
    if components > 4 or not depths or x <= left or y <= top:
        raise PictureRefused(f"is a JPEG 2000 picture of {components} channels, or of no size", EXPORT)
    width, height = x - left, y - top
    return Jpeg2000Header(width, height, min(tile_width, width) * min(tile_height, height), components, max(depths))


def _codestream(data: bytes) -> int:
    """Where the box with the codestream begins."""
    position = 0
    for _ in range(MAX_BOXES):
        if position + 16 > len(data):
            break
        length, name = struct.unpack_from(">I4s", data, position)
        body = position + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, position + 8)
            body += 8
        if name == b"jp2c":
            return body
        if length < 8:
            break
        position += length
    raise PictureRefused("is damaged (no codestream in a JPEG 2000 file)", EXPORT_AGAIN)
