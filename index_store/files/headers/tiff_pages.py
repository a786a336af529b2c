"""Which page of a TIFF file is the picture, and whether it can be read right.

A file of several pages may hold a slide's label before the field, focal planes, smaller copies, or a colour picture
plane by plane. What the file says decides; where it says nothing, the first page is read, with a note, and grey pages
that may be one colour picture are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from index_store.files.headers.refusal import EXPORT, PictureRefused
from index_store.files.headers.tiff_directories import (
    BITS,
    COMPRESSION,
    DNG_VERSION,
    EXTRA_SAMPLES,
    MAKE,
    MAX_CHUNKS,
    MAX_VALUE,
    PAGE_NAME,
    PHOTOMETRIC,
    SAMPLE_FORMAT,
    SOFTWARE,
    SUBFILE,
    TiffPage,
)

COMPRESSIONS = {
    32767: "Sony raw",
    32769: "packed raw",
    32770: "Samsung raw",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34661: "JBIG",
    34663: "SGI run lengths",
    34713: "Nikon raw",
    34715: "JBIG2",
    22610: "JPEG XR",
    34934: "JPEG XR",
    34933: "PNG",
    34887: "LERC",
    34892: "lossy JPEG (DNG)",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
    65000: "Kodak raw",
    65535: "Pentax raw",
}
"""Compressions that are not read, by their number."""
_READ = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000})
_ASIDE = re.compile(r"\b(label|macro|thumbnail|overview|barcode|preview|map image)\b", re.I)
_COLOURS = (("red", "green", "blue"), ("r", "g", "b"))
_RAW = (32803, 34892)
"""Kinds of values that a camera's sensor gives."""
_FORMATS = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}


@dataclass(frozen=True)
class PageChoice:
    """The page that is read."""

    page: int
    planes: tuple[int, ...] = ()
    """The pages of red, green and blue, where the file names them."""
    notes: tuple[str, ...] = ()


def maker(pages: Sequence[TiffPage]) -> str:
    """Which scanner's whole slide, or camera's raw file, this is; empty where it is an ordinary TIFF."""
    first = pages[0]
    words = f"{first.description[:4000]} {first.texts.get(SOFTWARE, '')} {first.texts.get(MAKE, '')}"
    if DNG_VERSION in first.tags:
        return "a camera's raw file (DNG)"
    if any(page.number(PHOTOMETRIC, 1) in _RAW for page in pages):
        return "a camera's raw file"
    for mark, name in (
        ("Aperio", "SVS"),
        ("Leica", "SCN"),
        ("iScan", "BIF"),
        ("Philips", "Philips TIFF"),
        ("<OME", "OME-TIFF"),
        ("Hamamatsu", "NDPI"),
    ):
        if mark in words:
            return f"a whole slide ({name})" if name != "OME-TIFF" else "an OME-TIFF"
    return "a whole slide (NDPI)" if {65420, 65421} & first.tags else ""


def with_inner(pages: Sequence[TiffPage]) -> list[TiffPage]:
    """The pages, each followed by those that it points to and that are at least as large: what a thumbnail stands for.

    Smaller ones are copies of the page. (An exporter that flags the thumbnail as such, and one that does not, are read
    alike.)
    """
    found = []
    for page in pages:
        found.append(page)
        found += [each for each in page.inner if math.prod(each.size) >= math.prod(page.size) and not each.reduced]
    return found


def choose_page(pages: Sequence[TiffPage]) -> PageChoice:
    """The page that shows the picture.

    Raises:
        PictureRefused: which pages belong together cannot be told.
    """
    content = [
        number
        for number, page in enumerate(pages)
        if not page.reduced and not _set_aside(page) and not any(_smaller_copy(page, each) for each in page.inner)
    ]
    notes: list[str] = []
    if not content:  # a description may name a label without being one: nothing else is there to be read
        content = list(range(len(pages)))
        notes.append("it calls itself a label, an overview or a reduced copy")
    first = content[0]
    full = [number for number in content if not _smaller_copy(pages[number], pages[first])]
    stated = _stated_pictures(pages[first])
    grey = [number for number in full if pages[number].grey and pages[number].size == pages[first].size]
    if pages[first].grey and first in grey:
        planes = _named_planes(pages, grey)
        if planes:
            return PageChoice(planes[0], planes, ("its three grey pages were read as red, green and blue",))
        channels = _stated_channels(pages[first])
        if channels > 1 or len(grey) in (3, 4):
            raise PictureRefused(
                f"holds {max(channels, len(grey))} grey pages, which may be one colour picture stored plane by plane",
                "Export it as one colour picture, or the page you want as PNG.",
            )
    total = max(len(pages), stated)
    if len(full) > 1 or stated > len(pages):
        what = "focal planes" if _focal(pages[first]) and len(full) == len(pages) else "pages"
        notes.append(f"of its {total} {what}, the {_ordinal(first + 1)} was read")
        if any(math.prod(pages[number].size) >= 4 * math.prod(pages[first].size) for number in full):
            notes.append("another page is larger than the one that was read")
    elif first:
        notes.append(f"of its {total} pages, the {_ordinal(first + 1)} was read: those before say that they are others")
    return PageChoice(first, (), tuple(notes))


def check_page(page: TiffPage, kind: str) -> None:
    """Raise `PictureRefused`, with the name of its kind, where a page is not read (or not rightly)."""
    name = kind or "a TIFF"
    compression = page.number(COMPRESSION, 1)
    if compression not in _READ:
        what = COMPRESSIONS.get(compression, f"a method that is not read (no. {compression})")
        raise PictureRefused(f"is {name} compressed with {what}", EXPORT)
    if "raw file" in kind:
        raise PictureRefused(f"is {kind}", EXPORT)
    sample_format = page.number(SAMPLE_FORMAT, 1)
    grey = page.samples == 1
    if sample_format in _FORMATS and (not grey or (sample_format, page.bits) not in ((2, 32), (3, 16), (3, 32))):
        colours = "grey values" if grey else "colours"
        raise PictureRefused(f"is {name} of {page.bits}-bit {_FORMATS[sample_format]} {colours}", EXPORT)
    if page.bits not in (1, 2, 4, 8, 12, 16, 32) or (page.bits in (12, 32) and not grey):
        raise PictureRefused(f"is {name} with {page.bits} bits a value", EXPORT)
    if compression in (6, 7) and page.bits != 8:
        raise PictureRefused(f"is {name} compressed with {page.bits}-bit JPEG", EXPORT)
    if page.number(PHOTOMETRIC, 1) in (0, 1) and page.samples > 1 + len(page.numbers.get(EXTRA_SAMPLES, ())):
        raise PictureRefused(f"is {name} with {page.samples} grey channels", EXPORT)
    if page.chunks > MAX_CHUNKS:
        raise PictureRefused(f"is {name} of more than {MAX_CHUNKS} strips or tiles", EXPORT)


def stated_bits(page: TiffPage) -> int:
    """How many bits of a 16-bit (or wider) value are used, where the file says so; else 0."""
    if page.bits == 12:
        return 12
    stated = re.search(r'SignificantBits="(\d+)"', page.description)
    if stated and 8 <= int(stated[1]) <= 16:
        return int(stated[1])
    highest = page.number(MAX_VALUE)
    return highest.bit_length() if page.bits > 8 and highest >= 255 and not highest & (highest + 1) else 0


def extra_channels(page: TiffPage) -> int:
    """Channels beside colour that are neither shown nor transparency."""
    extra = page.numbers.get(EXTRA_SAMPLES, ())
    return sum(kind == 0 for kind in extra) if len(page.numbers.get(BITS, ())) > 1 else 0


def _set_aside(page: TiffPage) -> bool:
    """Whether a page says that it is a label, an overview or a mask."""
    if page.number(SUBFILE) & 4 or page.number(PHOTOMETRIC, 1) == 4:
        return True
    texts = (page.texts.get(PAGE_NAME, ""), page.description)
    # Scanners' descriptions of a field are long, and name the label among other things; a label's own is short.
    return any(len(text) < 300 and _ASIDE.search(text) for text in texts)


def _smaller_copy(page: TiffPage, whole: TiffPage) -> bool:
    """Whether it has the whole's proportions and at most two thirds of its width: a level of a pyramid."""
    (width, height), (full_width, full_height) = page.size, whole.size
    if not width or not height or 3 * width > 2 * full_width:
        return False
    return abs(width * full_height / (full_width * height) - 1) < 0.02 + 2 / min(width, height)


def _named_planes(pages: Sequence[TiffPage], grey: Sequence[int]) -> tuple[int, ...]:
    """The pages of red, green and blue, where the pages or the first one's description say which they are."""
    if len(grey) != 3:
        return ()
    for tag in (PAGE_NAME, None):
        named = [
            (pages[n].texts.get(tag, "") if tag else pages[n].description.partition("\n")[0]).strip().lower()
            for n in grey
        ]
        for colours in _COLOURS:
            if sorted(named) == sorted(colours):
                return tuple(grey[named.index(colour)] for colour in colours)
    channels = [name.lower() for name in re.findall(r'<Channel\b[^>]*\bName="([^"]*)"', pages[grey[0]].description)]
    for colours in _COLOURS:
        if channels == list(colours):
            return tuple(grey)
    return ()


def _stated_channels(page: TiffPage) -> int:
    """Channels of a picture by OME's or ImageJ's description; 0 where it does not say."""
    stated = re.search(r'\bSizeC="(\d{1,6})"', page.description) or re.search(
        r"^channels=(\d{1,6})\s*$", page.description, re.M
    )
    return int(stated[1]) if stated else 0


def _stated_pictures(page: TiffPage) -> int:
    """Pictures in the file by ImageJ's or tifffile's description, which may have fewer directories; 0 where unsaid."""
    if page.description.startswith("ImageJ="):
        stated = re.search(r"^images=(\d{1,9})\s*$", page.description, re.M)
        return int(stated[1]) if stated else 0
    shape = re.search(r'^\{"shape": ?\[(\d{1,9}(?:, ?\d{1,9})*)\]', page.description, re.M)
    if shape:
        values = math.prod(map(int, shape[1].split(",")))
        each = math.prod(page.size) * page.samples
        return values // each if each and values % each == 0 else 0
    return 0


def _focal(page: TiffPage) -> bool:
    text = page.description
    return bool(re.search(r'"axes": "Z|\bSizeZ="(?!1")|^slices=(?!1\s)', text, re.M))


def _ordinal(number: int) -> str:
    words = ("first", "second", "third", "fourth", "fifth")
    return words[number - 1] if number <= len(words) else f"{number}th"
