"""The directories of a TIFF file: what each page holds, read without decoding any.

Tags: TIFF 6.0, and BigTIFF. Only those that decide how a page is to be read are kept.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from index_store.files.headers.refusal import EXPORT_AGAIN, PictureRefused

MAX_PAGES = 1_000
MAX_TAGS = 1_000
MAX_TAG_BYTES = 16 * 1024**2
"""Of one directory. All of a directory is read into memory by decoders, and each of its tags may point to the whole
file."""
MAX_CHUNKS = 100_000
"""Strips or tiles of a page."""
_TEXT_BYTES = 1024**2
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, MAX_VALUE, PLANAR = 273, 274, 277, 278, 281, 284
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, COLOR_MAP, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 323, 324, 320, 338, 339
SUBFILE, OLD_SUBFILE, DESCRIPTION, MAKE, PAGE_NAME, SOFTWARE, SUB_DIRECTORIES, DNG_VERSION = (
    *(254, 255, 270, 271, 285, 305, 330, 50706),
)
_TEXTS = frozenset({DESCRIPTION, MAKE, PAGE_NAME, SOFTWARE})
_NUMBERS = frozenset(
    {WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, ROWS_PER_STRIP, MAX_VALUE, PLANAR, TILE_WIDTH, TILE_HEIGHT}
    | {EXTRA_SAMPLES, SAMPLE_FORMAT, SUBFILE, OLD_SUBFILE, COLOR_MAP, ORIENTATION, SUB_DIRECTORIES}
)
_POINTERS = frozenset({34665, 34853, 40965})
"""Tags that point to a further directory, which decoders read with the first (EXIF, GPS, interoperability)."""


@dataclass(frozen=True)
class TiffPage:
    """One directory."""

    numbers: dict[int, tuple[int, ...]]
    texts: dict[int, str]
    tags: frozenset[int]
    chunks: int
    """Strips or tiles."""
    position: int
    """Where the directory stands in the file."""
    inner: tuple[TiffPage, ...] = ()
    """Pages that it points to (SubIFDs): the whole picture of a thumbnail, or smaller copies of this one."""

    def number(self, tag: int, default: int = 0) -> int:
        """The first value of a tag."""
        values = self.numbers.get(tag)
        return values[0] if values else default

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.number(WIDTH), self.number(HEIGHT)

    @property
    def samples(self) -> int:
        """Values of a pixel."""
        return self.number(SAMPLES, 1)

    @property
    def bits(self) -> int:
        """Bits of the widest value."""
        return max(self.numbers.get(BITS) or (1,))

    @property
    def grey(self) -> bool:
        """Whether it holds one channel of grey values."""
        return self.samples == 1 and self.number(PHOTOMETRIC) in (0, 1) and self.bits > 1

    @property
    def reduced(self) -> bool:
        """Whether it says that it is a smaller copy of another page."""
        return bool(self.number(SUBFILE) & 1) or self.number(OLD_SUBFILE) == 2

    @property
    def description(self) -> str:
        """What its writer says about it."""
        return self.texts.get(DESCRIPTION, "")

    @property
    def chunk_pixels(self) -> int:
        """Pixels of a strip or tile, as a decoder holds them."""
        width, height = self.size
        if self.number(TILE_WIDTH):
            return self.number(TILE_WIDTH) * self.number(TILE_HEIGHT)
        return width * min(height, self.number(ROWS_PER_STRIP, height))


def read_directories(data: bytes | mmap.mmap) -> tuple[str, list[TiffPage]]:
    """Byte order (`<` or `>`) and pages of a TIFF file.

    Raises:
        PictureRefused: its directories are damaged, go round in a circle, or are beyond the limits.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\x00", b"\x00+")
    try:
        (position,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        pages: list[TiffPage] = []
        seen: set[int] = set()
        while position:
            if position in seen or len(pages) == MAX_PAGES:
                break
            seen.add(position)
            try:
                page, position = _directory(data, position, order, big)
            except struct.error:
                if not pages:
                    raise
                break  # the first pages can be read all the same
            remaining = MAX_PAGES - sum(1 + len(each.inner) for each in pages)
            pages.append(replace(page, inner=tuple(_inner(data, page, order, big, remaining))))
    except struct.error as error:
        raise PictureRefused("is damaged or cut short (its TIFF directory)", EXPORT_AGAIN) from error
    if not pages:
        raise PictureRefused("is damaged (a TIFF without a page)", EXPORT_AGAIN)
    return order, pages


def _inner(data: bytes | mmap.mmap, page: TiffPage, order: str, big: bool, most: int) -> Iterator[TiffPage]:
    for position in page.numbers.get(SUB_DIRECTORIES, ())[: max(0, most)]:
        try:
            yield _directory(data, position, order, big)[0]
        except (struct.error, PictureRefused):  # the page itself can be read all the same
            continue


def starting_at(data: bytes, position: int) -> bytes:
    """The same file with another first directory: decoders read that one."""
    order = "<" if data[:2] == b"II" else ">"
    at, form = (8, order + "Q") if data[2:4] in (b"+\x00", b"\x00+") else (4, order + "I")
    pointer = struct.pack(form, position)
    end = at + len(pointer)
    return data if data[at:end] == pointer else data[:at] + pointer + data[end:]


def tag_bytes(data: bytes) -> int:
    """Bytes that reading the first directory of EXIF data takes; 0 where there is none that can be read."""
    try:
        order = "<" if data[:2] == b"II" else ">"
        (position,) = struct.unpack_from(order + "I", data, 4)
        return _cost(data, _entries(data, position, order, big=False)[0], order, big=False)
    except (struct.error, PictureRefused):
        return 0


def _entries(
    data: bytes | mmap.mmap, position: int, order: str, big: bool
) -> tuple[list[tuple[int, int, int, int]], int]:
    """Tag, type, count and position of the value of each entry; and where the directory ends."""
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, position)
    start, step = position + (8 if big else 2), 20 if big else 12
    if count > 65_535:
        raise PictureRefused("is damaged (its TIFF directory)", EXPORT_AGAIN)
    inline = 8 if big else 4
    entries = []
    for number in range(count):
        at = start + number * step
        tag, kind, values = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, at)
        value = at + (12 if big else 8)
        if values * _SIZES.get(kind, 1) > inline:
            (value,) = struct.unpack_from(order + ("Q" if big else "I"), data, value)
        entries.append((tag, kind, values, value))
    return entries, start + count * step


def _cost(
    data: bytes | mmap.mmap, entries: list[tuple[int, int, int, int]], order: str, big: bool, *, depth: int = 2
) -> int:
    """Bytes that the values of a directory take in memory, those of the directories that it points to included."""
    cost = sum(values * _SIZES.get(kind, 1) for _, kind, values, _ in entries)
    if depth:
        for tag, _, _, value in entries:
            if tag in _POINTERS:
                try:
                    (position,) = struct.unpack_from(order + ("Q" if big else "I"), data, value)
                    cost += _cost(data, _entries(data, position, order, big)[0], order, big, depth=depth - 1)
                except struct.error:
                    continue
    return cost


def _directory(data: bytes | mmap.mmap, position: int, order: str, big: bool) -> tuple[TiffPage, int]:
    entries, end = _entries(data, position, order, big)
    if len(entries) > MAX_TAGS or _cost(data, entries, order, big) > MAX_TAG_BYTES:
        raise PictureRefused("has a TIFF directory that is too large to be read", EXPORT_AGAIN)
    numbers: dict[int, tuple[int, ...]] = {}
    texts: dict[int, str] = {}
    chunks = 0
    for tag, kind, values, value in entries:
        if tag in (STRIP_OFFSETS, TILE_OFFSETS):
            chunks = max(chunks, values)
        elif tag in _NUMBERS and kind in _CODES and values:
            numbers[tag] = struct.unpack_from(f"{order}{min(values, 768)}{_CODES[kind]}", data, value)
        elif tag in _TEXTS:
            text = data[value : value + min(values, _TEXT_BYTES)].split(b"\0")[0].decode("utf-8", "replace")
            texts[tag] = f"{texts[tag]}\n{text}" if tag in texts else text  # some writers give a tag twice
    (following,) = struct.unpack_from(order + ("Q" if big else "I"), data, end)
    return TiffPage(numbers, texts, frozenset(tag for tag, *_ in entries), chunks, position), following
