"""What decoding a picture costs and which part of it is read, from its headers and before anything is decoded.

Pillow checks little of this by itself: within a limit of pixels alone, a 189 KB PNG took 2.5 GB, a 5 KB JPEG 2000
1.9 GB, and a 4 MB PPM of comments 24 s.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from index_store.files.headers import jpeg, tiff_pages
from index_store.files.headers.refusal import CUT_OUT, EXPORT, EXPORT_AGAIN, PictureRefused
from index_store.files.headers.tiff_directories import (
    COMPRESSION,
    MAX_TAG_BYTES,
    ORIENTATION,
    PHOTOMETRIC,
    PLANAR,
    TiffPage,
    read_directories,
    tag_bytes,
)

MAX_MEMORY = 400_000_000
"""Bytes that decoding a picture may take at its peak, the decoded picture included (Pillow holds 4 bytes a pixel): 100
megapixels of 8-bit colour, and fewer of other forms, which are held twice on the way."""
MAX_SCANNED = 2_000_000_000
"""Pixels times scans of a JPEG: each scan costs as much as a whole picture, and can be 10 bytes long."""
MIN_SIDE, MAX_SIDE = 8, 100_000
MAX_CHUNKS = 200_000
"""Of a PNG: each costs Pillow a step in Python. Encoders write some 8 KB into one."""
MAX_BLOCKS = 10_000
"""Of a GIF before its picture."""
MAX_SLOW = 4 * 1024**2
"""Bytes of a file that Pillow decodes in Python: a BMP of run lengths, a PPM of words."""
MAX_PPM_HEADER = 4096
_PPM = re.compile(rb"P([1-6])" + rb"(?:\s|#[^\r\n]*[\r\n])+(\d{1,10})" * 2 + rb"(?:(?:\s|#[^\r\n]*[\r\n])+(\d{1,5}))?")


@dataclass(frozen=True)
class Structure:
    """A picture by its headers."""

    format: str
    width: int
    height: int
    memory: int
    """Bytes that decoding takes, as an estimate from above."""
    notes: tuple[str, ...] = ()
    tiff: TiffPage | None = None
    """The page that is read."""
    planes: tuple[TiffPage, ...] = ()
    """Pages that are red, green and blue."""
    bits: int = 0
    """How many bits of a value are used, where the file says so; else 0."""
    maximum: int = 0
    """The value of white of a PPM."""
    offset: int = 0
    """Where a PPM's values begin."""
    coded: tuple[tuple[int, int], ...] = ()
    """Where the pieces of a JPEG's coded data begin and end; empty where they are not looked at."""
    damage: str = ""
    """What shows that it is damaged, though a decoder would give a picture: "is cut short (…)"."""


def read_structure(data: bytes, kind: str) -> Structure:
    """The structure of a picture in one of the formats that are read (`kinds.FORMATS`).

    Raises:
        PictureRefused: it is damaged, or cannot be decoded rightly or within the limits.
    """
    found = _READERS[kind](data)
    if not found.width or not found.height:
        raise PictureRefused("is damaged (it has no size)", EXPORT_AGAIN)
    return found


def check_cost(found: Structure, max_pixels: int) -> None:
    """Raise `PictureRefused` where a picture is too small to show anything, or beyond the limits."""
    width, height = found.width, found.height
    if min(width, height) < MIN_SIDE:
        raise PictureRefused(f"has {width} × {height} pixels, which show nothing", "Add a field or a cell.")
    if width * height > max_pixels:
        raise PictureRefused(f"has {width} × {height} pixels; the limit is {max_pixels / 1e6:.0f} megapixels", CUT_OUT)
    if max(width, height) > MAX_SIDE or found.memory > MAX_MEMORY:
        raise PictureRefused(
            f"has {width} × {height} pixels, and would take {found.memory / 1e6:.0f} MB to decode in this form; the "
            f"limit is {MAX_MEMORY / 1e6:.0f} MB",
            CUT_OUT,
        )


def _check_exif(exif: bytes) -> None:
    if len(exif) > MAX_TAG_BYTES or tag_bytes(exif) > MAX_TAG_BYTES:
        raise PictureRefused("has EXIF data that are too large to be read", EXPORT_AGAIN)


def _jpeg(data: bytes) -> Structure:
    header = jpeg.read_jpeg(data)
    _check_exif(bytes(header.exif))
    pixels = header.width * header.height
    if header.scans * pixels > MAX_SCANNED:
        raise PictureRefused("holds too many scans to be decoded", "Export it again.")
    memory = pixels * {1: 5, 3: 4}.get(header.components, 8)
    if header.progressive or header.scans > 1:
        memory += 2 * header.coefficients
    notes = (f"of its {header.pictures} pictures, the first was read",) if header.pictures > 1 else ()
    coded = jpeg.coded_data(data, header)
    damage = f"is damaged or cut short ({coded.missing} are missing from a JPEG)" if coded.missing else ""
    pieces = () if header.arithmetic else coded.pieces
    return Structure("JPEG", header.width, header.height, memory, notes, coded=pieces, damage=damage)


def _jpeg2000(data: bytes) -> Structure:
    header = jpeg.read_jpeg2000(data)
    pixels = header.width * header.height
    memory = pixels * (8 if header.components in (2, 4) else 5)
    memory += header.tile_pixels * jpeg.JPEG2000_BYTES_PER_TILE_PIXEL
    return Structure("JPEG2000", header.width, header.height, memory, bits=header.bits)


def _png(data: bytes) -> Structure:
    notes: tuple[str, ...] = ()
    width = height = depth = colour = 0
    transparent, damage = False, "is cut short (a PNG without an end)"
    position, chunks, view = 8, 0, memoryview(data)
    while position + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        body = position + 8
        if name == b"IHDR" and not chunks and length >= 10:
            width, height, depth, colour = struct.unpack_from(">IIBB", data, body)
        elif name == b"tRNS":
            transparent = True
        elif name == b"eXIf":
            _check_exif(data[body : body + length])
        elif name == b"acTL" and length >= 8 and (frames := struct.unpack_from(">I", data, body)[0]) > 1:
            notes = (f"of its {frames} frames, the first was read",)
        elif name == b"IEND":
            damage = "" if damage.startswith("is cut") else damage
            break
        if name[:1].isupper() and view[body + length :][:4] != struct.pack(
            ">I", zlib.crc32(view[position + 4 :][: length + 4])
        ):
            damage = "is damaged (a part of a PNG does not fit its checksum)"
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise PictureRefused("is damaged (too many parts of a PNG)", EXPORT_AGAIN)
        position = body + length + 4
    pixels = width * height
    each = 9 if transparent or colour in (4, 6) else 8 if colour == 2 and depth == 16 else 4 if colour == 2 else 5
    return Structure("PNG", width, height, pixels * each, notes, damage=damage)


def _tiff(data: bytes) -> Structure:
    pages = tiff_pages.with_inner(read_directories(data)[1])
    kind = tiff_pages.maker(pages)
    choice = tiff_pages.choose_page(pages)
    page = pages[choice.page]
    for number in choice.planes or (choice.page,):
        tiff_pages.check_page(pages[number], kind)
    width, height = page.size
    pixels = width * height
    notes = list(choice.notes)
    if extra := tiff_pages.extra_channels(page):
        notes.append(f"{extra} of its channels beside colour {'was' if extra == 1 else 'were'} left out")
    # In memory: the picture, its copy in plain colours, and the strip or tile that is being decoded.
    samples, size = page.samples, (page.bits + 7) // 8
    each = 9 if samples in (2, 4) or samples > 4 or page.number(PHOTOMETRIC) in (5, 6, 8) else 8 if size > 1 else 5
    if samples == 3 and size == 1 and page.number(PHOTOMETRIC) == 2:
        each = 4
    compressed = page.number(COMPRESSION, 1) != 1
    chunk = page.chunk_pixels * (4 if samples == 1 or page.number(PLANAR, 1) == 2 else max(4, samples * size))
    memory = pixels * each + (chunk if compressed else 0)
    if page.number(ORIENTATION, 1) not in (0, 1):
        memory = max(memory, 8 * pixels)
    if page.number(COMPRESSION) in (6, 7) and data.count(b"\xff\xda") * page.chunk_pixels > MAX_SCANNED:
        raise PictureRefused("holds too many scans to be decoded", "Export it again.")
    planes = tuple(pages[number] for number in choice.planes)
    if planes:
        memory = 8 * pixels
    bits = tiff_pages.stated_bits(page)
    return Structure("TIFF", width, height, memory, tuple(notes), page, planes, bits)


def _gif(data: bytes) -> Structure:
    try:
        width, height, flags = struct.unpack_from("<HHB", data, 6)
        position = 13 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
        blocks = 0
        while data[position] != 0x2C:
            if data[position] == 0x21:
                position, passed = _skip_blocks(data, position + 2, MAX_BLOCKS)
                blocks += passed
            else:
                position += 1
            blocks += 1
            if blocks > MAX_BLOCKS:
                raise PictureRefused("is damaged (too many blocks of a GIF before its picture)", EXPORT_AGAIN)
        left, top, frame_width, frame_height, flags = struct.unpack_from("<4HB", data, position + 1)
        position += 10 + (3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0)
        position, _ = _skip_blocks(data, position + 1, 2_000_000)
    except (struct.error, IndexError) as error:
        raise PictureRefused("is damaged or cut short (a GIF)", EXPORT_AGAIN) from error
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    more = data.find(b"\x00\x2c", position - 1) >= 0
    notes: list[str] = ["of its frames, the first was read"] if more else []
    if frame_width * frame_height < 0.99 * width * height:
        notes.append("its first frame covers only a part of it")
    return Structure("GIF", width, height, width * height * 9, tuple(notes))


def _skip_blocks(data: bytes, position: int, most: int) -> tuple[int, int]:
    """Where the sub-blocks that begin at `position` end, and how many they are (`most` are skipped)."""
    passed = 0
    while (length := data[position]) and passed < most:
        position += 1 + length
        passed += 1
    return position + 1, passed


def _bmp(data: bytes) -> Structure:
    try:
        (header,) = struct.unpack_from("<I", data, 14)
        if header == 12:
            width, height, _, bits = struct.unpack_from("<4H", data, 18)
            compression = 0
        else:
            width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    except struct.error as error:
        raise PictureRefused("is damaged or cut short (a BMP)", EXPORT_AGAIN) from error
    if compression in (1, 2) and len(data) > MAX_SLOW:
        raise PictureRefused(f"is a BMP of run lengths of more than {MAX_SLOW // 1024**2} MB", EXPORT)
    width, height = abs(width), abs(height)
    return Structure("BMP", width, height, width * height * (9 if bits == 32 else 4 if bits == 24 else 5))


def _ppm(data: bytes) -> Structure:
    found = _PPM.match(data[:MAX_PPM_HEADER])
    if found is None:
        raise PictureRefused(f"has no PPM header in its first {MAX_PPM_HEADER} bytes", EXPORT)
    kind, width, height = int(found[1]), int(found[2]), int(found[3])
    maximum = 1 if kind in (1, 4) else int(found[4] or 0)
    if not 0 < maximum < 65536:
        raise PictureRefused("is damaged (a PPM without its highest value)", EXPORT_AGAIN)
    end = found.end(3) if kind in (1, 4) else found.end(4)
    if kind < 4 and (len(data) > MAX_SLOW or b"#" in data[end:]):
        raise PictureRefused("is a PPM written in words that is too long or has comments in it", EXPORT)
    wide = kind == 6 and maximum > 255
    return Structure("PPM", width, height, width * height * (8 if wide else 5), maximum=maximum, offset=end + 1)


def _webp(data: bytes) -> Structure:
    chunk = data[12:16]
    notes: tuple[str, ...] = ()
    try:
        if chunk == b"VP8X":
            flags, width, height = data[20], *(int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
            if flags & 2:
                notes = ("of its frames, the first was read",)
        elif chunk == b"VP8L":
            (packed,) = struct.unpack_from("<I", data, 21)
            width, height = (packed & 0x3FFF) + 1, ((packed >> 14) & 0x3FFF) + 1
        else:
            width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 26))
        position = 12
        for _ in range(MAX_BLOCKS):
            if position + 8 > len(data):
                break
            name, length = struct.unpack_from("<4sI", data, position)
            if name == b"EXIF":
                _check_exif(data[position + 8 : position + 8 + length].removeprefix(b"Exif\0\0"))
            position += 8 + length + (length & 1)
    except (struct.error, IndexError) as error:
        raise PictureRefused("is damaged or cut short (a WebP)", EXPORT_AGAIN) from error
    return Structure("WEBP", width, height, width * height * 20, notes)


_READERS = {
    "JPEG": _jpeg,
    "JPEG2000": _jpeg2000,
    "PNG": _png,
    "TIFF": _tiff,
    "GIF": _gif,
    "BMP": _bmp,
    "PPM": _ppm,
    "WEBP": _webp,
}
