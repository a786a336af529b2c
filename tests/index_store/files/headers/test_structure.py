"""What headers say of a picture: pictures made byte by byte, whose size, cost and damage are known."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from index_store.files.headers import structure, tiff_directories
from index_store.files.headers.refusal import PictureRefused
from index_store.files.headers.structure import Structure, check_cost, read_structure
from tests.index_store.files.hostile_pictures import png_chunk

EXIF_LIMIT = 16 * 1024**2
BLOCKS = "too many blocks of a GIF"
FRAMES = ("of its frames, the first was read",)
PART = "its first frame covers only a part of it"


def refused(data: bytes, kind: str) -> str:
    with pytest.raises(PictureRefused) as refusal:
        read_structure(data, kind)
    return refusal.value.what


def exif(cost: int, order: str = "<") -> bytes:
    """EXIF data with one tag, of so many bytes."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IHHHII", 8, 1, 0x9000, 7, cost, 8)


def test_the_limits_are_those_that_were_measured() -> None:
    limits = (structure.MAX_MEMORY, structure.MAX_SCANNED, structure.MAX_CHUNKS, structure.MAX_BLOCKS)
    assert limits == (400_000_000, 2_000_000_000, 200_000, 10_000)
    assert (tiff_directories.MAX_CHUNKS, tiff_directories.MAX_PAGES, tiff_directories.MAX_TAGS) == (100_000, 1000, 1000)


@pytest.mark.parametrize(
    ("width", "height", "memory", "words"),
    [
        (8, 8, 1, ""),
        (7, 8, 1, "has 7 × 8 pixels, which show nothing"),
        (8, 7, 1, "has 8 × 7 pixels, which show nothing"),
        (2_000, 1_000, 1, ""),
        (2_000, 1_001, 1, "has 2000 × 1001 pixels; the limit is 2 megapixels"),
        (100_000, 8, 1, ""),
        (8, 100_001, 1, "has 8 × 100001 pixels, and would take 0 MB"),
        (900, 900, 400_000_000, ""),
        (900, 900, 400_000_001, "would take 400 MB to decode in this form; the limit is 400 MB"),
    ],
)
def test_what_a_picture_may_cost(width: int, height: int, memory: int, words: str) -> None:
    found = Structure("PNG", width, height, memory)
    if not words:
        check_cost(found, 2_000_000)
        return
    with pytest.raises(PictureRefused) as refusal:
        check_cost(found, 2_000_000)
    assert words in refusal.value.what


# PNG


def png(*chunks: bytes, depth: int = 8, colour: int = 2, end: bytes = png_chunk(b"IEND", b"")) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 20, 10, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + end


def broken(chunk: bytes) -> bytes:
    """The chunk with another checksum."""
    return chunk[:-1] + bytes([chunk[-1] ^ 1])


@pytest.mark.parametrize(
    ("depth", "colour", "each"),
    [(8, 2, 4), (16, 2, 8), (8, 0, 5), (16, 0, 5), (1, 3, 5), (8, 3, 5), (8, 4, 9), (8, 6, 9), (16, 6, 9), (16, 4, 9)],
)
def test_memory_of_a_png(depth: int, colour: int, each: int) -> None:
    found = read_structure(png(depth=depth, colour=colour), "PNG")
    assert (found.format, found.width, found.height, found.memory) == ("PNG", 20, 10, 200 * each)
    assert read_structure(png(png_chunk(b"tRNS", b"\0"), depth=depth, colour=colour), "PNG").memory == 1800


def test_parts_of_a_png() -> None:
    frames, data = "of its 2 frames, the first was read", png_chunk(b"IDAT", b"abc")
    for chunks, notes in (
        ((data,), ()),
        ((png_chunk(b"acTL", struct.pack(">II", 1, 0)),), ()),
        ((png_chunk(b"acTL", struct.pack(">II", 2, 0)),), (frames,)),
        ((png_chunk(b"acTL", struct.pack(">I3x", 2)),), ()),
    ):
        found = read_structure(png(*chunks), "PNG")
        assert (found.notes, found.damage) == (notes, ""), chunks
    second = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 99, 99, 8, 2, 0, 0, 0))
    assert read_structure(png(second), "PNG").width == 20, "the first counts"
    sign, end = b"\x89PNG\r\n\x1a\n", png_chunk(b"IEND", b"")
    short = struct.pack(">IIBB", 20, 10, 8, 6)
    assert read_structure(sign + png_chunk(b"IHDR", short) + end, "PNG").memory == 1800
    assert "no size" in refused(sign + png_chunk(b"IHDR", short[:9]) + end, "PNG")
    for size in ((0, 10), (10, 0)):
        assert "no size" in refused(sign + png_chunk(b"IHDR", struct.pack(">IIBB", *size, 8, 2)) + end, "PNG")


def test_damage_of_a_png() -> None:
    data, end = png_chunk(b"IDAT", b"abc"), png_chunk(b"IEND", b"")
    cut, damaged = "is cut short (a PNG without an end)", "is damaged (a part of a PNG does not fit its checksum)"
    for chunks, last, damage in (
        ([data], end, ""),
        ([data], end[:-4], ""),
        ([data], end[:-5], cut),
        ([data], b"", cut),
        ([broken(data)], end, damaged),
        ([broken(data), data], b"", damaged),
        ([broken(png_chunk(b"iDAT", b"abc"))], end, ""),  # what need not be understood may be wrong
        ([data], broken(end) + broken(data), ""),  # nothing behind the end counts
        ([data[:-2]], b"", damaged),
    ):
        assert read_structure(png(*chunks, end=last), "PNG").damage == damage, (chunks, last)


def test_how_many_parts_a_png_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "MAX_CHUNKS", 4)
    data = png_chunk(b"tEXt", b"a")
    assert read_structure(png(*[data] * 3), "PNG").damage == ""
    assert "too many parts of a PNG" in refused(png(*[data] * 4), "PNG")


@pytest.mark.parametrize("order", ["<", ">"])
def test_how_large_exif_data_may_be(order: str) -> None:
    for cost, fits in ((EXIF_LIMIT, True), (EXIF_LIMIT + 1, False)):
        held = exif(cost, order)
        as_webp = [webp(("VP8X", bytes(10)), ("abcd", b"odd"), ("EXIF", mark + held)) for mark in (b"", b"Exif\0\0")]
        for data, kind in ((png(png_chunk(b"eXIf", held)), "PNG"), *((each, "WEBP") for each in as_webp)):
            if fits:
                assert read_structure(data, kind).damage == ""
            else:
                assert refused(data, kind) == "has EXIF data that are too large to be read"
    for length, fits in ((EXIF_LIMIT, True), (EXIF_LIMIT + 1, False)):
        data = png(png_chunk(b"eXIf", bytes(length)))
        assert (read_structure(data, "PNG").damage == "") if fits else ("EXIF" in refused(data, "PNG"))


# GIF


def table(flags: int) -> bytes:
    """A table of colours, of the size that the flags tell: bytes that look like frames."""
    return b"\0\x2c" * (3 * 2 ** (flags & 7)) if flags & 0x80 else b""


def gif(
    before: bytes = b"",
    *,
    screen: tuple[int, int] = (20, 10),
    frame: tuple[int, int, int, int] = (0, 0, 20, 10),
    flags: Sequence[int] = (0x80, 0),
    after: bytes = b"\x3b",
) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, flags[0], 0, 0) + table(flags[0])
    shown = b"\x2c" + struct.pack("<4HB", *frame, flags[1]) + table(flags[1])
    return head + before + shown + b"\x02" + b"\x02\x2c\x2c" + b"\x01\x2c" + b"\0" + after


@pytest.mark.parametrize(
    "flags", [(0, 0), (0x80, 0), (0, 0x80), (0xF1, 0xF7), (0xF7, 0x80), (0x72, 0x03), (0x81, 0xC1)]
)
def test_a_gif_is_walked_past_its_tables(flags: tuple[int, int]) -> None:
    for after, notes in ((b"\x3b", ()), (b"\x2c", FRAMES), (b"", ())):
        found = read_structure(gif(flags=flags, after=after), "GIF")
        assert (found.width, found.height, found.memory, found.notes) == (20, 10, 1800, notes)
    comment = b"\x21\xfe" + b"\x03\x2c\x2c\x2c" + b"\x01\x2c" + b"\0"
    for before in (comment, b"\x05", comment + b"\x07" + comment):
        assert read_structure(gif(before, flags=flags), "GIF").width == 20


@pytest.mark.parametrize(
    ("screen", "frame", "size", "notes"),
    [
        ((20, 10), (0, 0, 20, 10), (20, 10), ()),
        ((12, 11), (5, 3, 10, 10), (15, 13), (PART,)),
        ((12, 11), (1, 1, 10, 10), (12, 11), (PART,)),
        ((100, 100), (0, 0, 99, 100), (100, 100), ()),
        ((100, 100), (0, 0, 98, 100), (100, 100), (PART,)),
    ],
)
def test_the_first_frame_of_a_gif(
    screen: tuple[int, int], frame: tuple[int, int, int, int], size: tuple[int, int], notes: tuple[str, ...]
) -> None:
    found = read_structure(gif(screen=screen, frame=frame), "GIF")
    assert ((found.width, found.height), found.notes) == (size, notes)


def test_how_many_blocks_may_precede_the_frame_of_a_gif(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "MAX_BLOCKS", 5)
    for before, fits in (
        (b"\x21\xfe" + b"\1a" * 4 + b"\0", True),
        (b"\x21\xfe" + b"\1a" * 5 + b"\0", False),
        (b"\x21\xfe\1a\0" * 2 + b"\x05", True),
        (b"\x21\xfe\1a\0" * 3, False),
        (b"\x05" * 5, True),
        (b"\x05" * 6, False),
    ):
        assert (read_structure(gif(before), "GIF").width == 20) if fits else (BLOCKS in refused(gif(before), "GIF"))
    whole = gif(after=b"")
    for length in (12, 30, len(whole) - 8):
        assert refused(whole[:length], "GIF") == "is damaged or cut short (a GIF)"


# BMP


def bmp(*, bits: int = 24, height: int = 10, compression: int = 0, length: int = 0) -> bytes:
    head = struct.pack("<IiiHHI", 40, 20, height, 1, bits, compression)
    return (b"BM" + bytes(12) + head).ljust(length, b"\0")


def test_a_bmp() -> None:
    for bits, each in ((32, 9), (24, 4), (8, 5), (16, 5)):
        for height in (10, -10):
            found = read_structure(bmp(bits=bits, height=height), "BMP")
            assert (found.width, found.height, found.memory) == (20, 10, 200 * each)
        old = b"BM" + bytes(12) + struct.pack("<I4H", 12, 20, 10, 1, bits)
        assert read_structure(old.ljust(4 * 1024**2 + 1, b"\1"), "BMP").memory == 200 * each
    assert refused(bmp()[:33], "BMP") == "is damaged or cut short (a BMP)"
    most = 4 * 1024**2
    for compression, length, fits in ((1, most, True), (2, most, True), (0, most + 1, True), (3, most + 1, True)):
        assert (read_structure(bmp(compression=compression, length=length), "BMP").width == 20) is fits
    for compression in (1, 2):
        words = "is a BMP of run lengths of more than 4 MB"
        assert refused(bmp(compression=compression, length=most + 1), "BMP") == words


# PPM


@pytest.mark.parametrize(
    ("head", "each", "maximum", "offset"),
    [
        (b"P6 20 10 255\n", 5, 255, 13),
        (b"P6 20 10 256\n", 8, 256, 13),
        (b"P6 20 10 1\n", 5, 1, 11),
        (b"P6 20 10 65535\n", 8, 65535, 15),
        (b"P5 20 10 65535\n", 5, 65535, 15),
        (b"P4 20 10\n#", 5, 1, 9),
        (b"P1 20 10\n", 5, 1, 9),
        (b"P3 20 10 255\n", 5, 255, 13),
        (b"P4 #a\n20 10\n", 5, 1, 12),
        (b"P5 20 10 255\n#", 5, 255, 13),
        (b"P6\n".ljust(4086, b"#") + b"\n20 10 255\n", 5, 255, 4097),
    ],
)
def test_a_ppm(head: bytes, each: int, maximum: int, offset: int) -> None:
    found = read_structure(head, "PPM")
    assert (found.width, found.height) == (20, 10)
    assert (found.memory, found.maximum, found.offset) == (200 * each, maximum, offset)


def test_a_ppm_that_is_refused() -> None:
    for data, words in (
        (b"P6 20 10 0\n", "without its highest value"),
        (b"P6 20 10 65536\n", "without its highest value"),
        (b"P6 20 10\n", "without its highest value"),
        (b"P6 20\n", "has no PPM header in its first 4096 bytes"),
        (b"P6\n".ljust(4092, b"#") + b"\n20 1 255\n", "has no PPM header in its first 4096 bytes"),
        (b"P1 20 10\n#", "written in words"),
        (b"P3 20 10 255\n1 #", "written in words"),
        (b"P3 20 10 255\n".ljust(4 * 1024**2 + 1), "written in words"),
    ):
        assert words in refused(data, "PPM"), data[:20]
    assert read_structure(b"P3 20 10 255\n".ljust(4 * 1024**2), "PPM").maximum == 255


# WebP


def webp(*chunks: tuple[str, bytes]) -> bytes:
    body = b"".join(
        struct.pack("<4sI", name.encode(), len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    )
    return struct.pack("<4sI4s", b"RIFF", len(body) + 4, b"WEBP") + body


def test_a_webp() -> None:
    extended = bytes([0xFD, 0, 0, 0]) + (70_001).to_bytes(3, "little") + (299).to_bytes(3, "little")
    lossless = b"\x2f" + struct.pack("<I", 16_383 | 9_999 << 14 | 3 << 28)
    lossy = bytes(6) + struct.pack("<HH", 0x4000 | 16_383, 0xC000 | 77)
    for name, body, size in (
        ("VP8X", extended, (70_002, 300)),
        ("VP8L", lossless, (16_384, 10_000)),
        ("VP8 ", lossy, (16_383, 77)),
    ):
        found = read_structure(webp((name, body)), "WEBP")
        assert (found.width, found.height, found.memory) == (*size, size[0] * size[1] * 20)
        assert found.notes == ()
    assert read_structure(webp(("VP8X", b"\2" + extended[1:])), "WEBP").notes == FRAMES
    assert refused(webp(("VP8L", lossless))[:24], "WEBP") == "is damaged or cut short (a WebP)"
    assert refused(webp(("VP8X", b""))[:20], "WEBP") == "is damaged or cut short (a WebP)"


def test_how_many_parts_of_a_webp_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "MAX_BLOCKS", 3)
    large = ("EXIF", exif(EXIF_LIMIT + 1))
    first, other = ("VP8X", bytes(10)), ("abcd", b"even")
    assert "EXIF" in refused(webp(first, other, large), "WEBP")
    assert read_structure(webp(first, other, other, large), "WEBP").width == 1
