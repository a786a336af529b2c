"""What a JPEG's and a JPEG 2000's headers say, and what is missing from coded data: made byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from index_store.files.headers import jpeg, jpeg_scans, structure
from index_store.files.headers.jpeg import MAX_JUNK, MAX_SEGMENTS, read_jpeg, read_jpeg2000
from index_store.files.headers.jpeg_scans import CodedData, Frame, walk
from index_store.files.headers.refusal import PictureRefused
from index_store.files.headers.structure import read_structure

Factors = Sequence[tuple[int, int]]
GREY: Factors = ((1, 1),)
HALVED: Factors = ((2, 2), (1, 1), (1, 1))
SEQUENTIAL, PROGRESSIVE = 0xC0, 0xC2


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def frame(factors: Factors, *, marker: int = SEQUENTIAL, size: tuple[int, int] = (40, 24), bits: int = 8) -> bytes:
    """The segment that tells the size and, of each component, its number and factors."""
    parts = b"".join(bytes((n + 1, h << 4 | v, 0)) for n, (h, v) in enumerate(factors))
    return segment(marker, struct.pack(">BHHB", bits, size[1], size[0], len(factors)) + parts)


def scan(components: Sequence[int], data: bytes = b"abc", first: int = 0, last: int = 63, bits: int = 0) -> bytes:
    named = b"".join(bytes((number, 0)) for number in components)
    return segment(0xDA, bytes([len(components)]) + named + bytes((first, last, bits))) + data


def picture(*before: bytes, scans: bytes | None = None, factors: Factors = HALVED, marker: int = SEQUENTIAL) -> bytes:
    shown = scan(range(1, len(factors) + 1)) if scans is None else scans
    return b"\xff\xd8" + b"".join(before) + frame(factors, marker=marker) + shown + b"\xff\xd9"


def refused(data: bytes) -> str:
    with pytest.raises(PictureRefused) as refusal:
        read_jpeg(data)
    return refusal.value.what


ADOBE = segment(0xEE, b"Adobe" + bytes(7))


@pytest.mark.parametrize(
    ("factors", "each", "share"),
    [
        (GREY, 5, 1.0),
        (((1, 1), (1, 1)), 8, 2.0),
        (HALVED, 4, 1.5),
        (((2, 1), (1, 2), (1, 1)), 4, 1.25),
        (((2, 1), (1, 1), (1, 1)), 4, 2.0),
        (((0, 0), (1, 1), (1, 0)), 4, 3.0),
        (((1, 1),) * 4, 8, 4.0),
    ],
)
def test_memory_of_a_jpeg(factors: Factors, each: int, share: float) -> None:
    """By the components; where it comes in scans, two bytes more for each coefficient."""
    for marker, progressive, arithmetic in (
        (0xC0, False, False),
        (0xC1, False, False),
        (0xC2, True, False),
        (0xC9, False, True),
        (0xCA, True, True),
    ):
        data = picture(ADOBE, factors=factors, marker=marker)
        found, header = read_structure(data, "JPEG"), read_jpeg(data)
        assert (found.width, found.height, header.components) == (40, 24, len(factors))
        assert (header.progressive, header.arithmetic) == (progressive, arithmetic)
        assert header.coefficients == 960 * share
        assert found.memory == 960 * each + (2 * 960 * share if progressive else 0)
        assert bool(found.coded) is not arithmetic
    twice = picture(ADOBE, factors=factors, scans=scan([1]) * 2)
    assert read_structure(twice, "JPEG").memory == 960 * each + 2 * 960 * share
    assert header.factors == {n + 1: (h or 1, v or 1) for n, (h, v) in enumerate(factors)}


def test_how_many_scans_may_be_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "MAX_SCANNED", 960 * 2)
    assert read_structure(picture(scans=scan([1]) * 2), "JPEG").width == 40
    with pytest.raises(PictureRefused, match="too many scans"):
        read_structure(picture(scans=scan([1]) * 3), "JPEG")


def test_segments_of_a_jpeg() -> None:
    exif = segment(0xE1, b"Exif\0\0ab") + segment(0xE1, b"http") + segment(0xE1, b"Exif\0\0cd")
    data = picture(exif, segment(0xDD, b"\1\2"), segment(0xDD, b"\1\2\3"), segment(0xE2, b"ICC"))
    header = read_jpeg(data)
    assert (bytes(header.exif), header.interval, header.adobe, header.pictures) == (b"abcd", 258, False, 1)
    assert (header.scans, header.start) == (1, data.index(b"\xff\xda"))
    assert read_jpeg(picture(ADOBE)).adobe
    assert not read_jpeg(picture(segment(0xEE, b"Ducky"))).adobe
    assert read_jpeg(picture(b"\xff\x01", b"\xff\xd0", b"\xff\xd8")).width == 40, "these stand alone"
    assert "no Adobe marker" in refused(picture(factors=((1, 1),) * 4))
    assert "no picture" in refused(picture()[:23])
    cut = b"\xff\xd8" + frame(GREY) + b"\xff\xda"
    assert "no picture" in refused(cut + b"\0")
    assert read_jpeg(cut + b"\0\2").width == 40
    for size in ((0, 24), (40, 0)):
        assert "without its size" in refused(b"\xff\xd8" + frame(GREY, size=size) + scan([1]))
    assert "without its size" in refused(b"\xff\xd8" + scan([1]))


def test_frames_that_are_refused() -> None:
    for marker in (0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF, 0xCB):
        assert refused(picture(marker=marker)) == "is a JPEG of a kind that is not read (hierarchical or lossless)"
    assert refused(picture(marker=0xC3)) == "is a lossless JPEG"
    assert refused(picture(marker=0xF7)) == "is a JPEG-LS picture"
    for marker in (0xC4, 0xC8, 0xCC, 0xD0):  # tables and the like: no frame
        assert "without its size" in refused(picture(marker=marker).replace(b"\xff\xd0\0\x11", b""))
    assert refused(b"\xff\xd8" + frame(GREY, bits=12) + scan([1])) == "is a 12-bit JPEG"
    head = struct.pack(">BHHB", 8, 24, 40, 1)
    assert read_jpeg(b"\xff\xd8" + frame(()) + scan([1])).coefficients == 0
    two = head[:5] + b"\2" + b"\1\x11\0\2\x11"
    for body, fits in (
        (head[:5], False),
        (head + b"\1\x11", False),
        (head + b"\1\x11\0", True),
        (two, False),
        (two + b"\0", True),
    ):
        data = b"\xff\xd8" + segment(0xC0, body) + scan([1])
        assert (read_jpeg(data).width == 40) if fits else (refused(data) == "is damaged (its JPEG frame)")


def test_how_much_may_precede_the_picture_of_a_jpeg() -> None:
    assert (MAX_SEGMENTS, MAX_JUNK, jpeg.MAX_BOXES) == (2_000, 65_536, 1_000)
    comment = segment(0xFE, b"")
    for before, fits in (
        (comment * 1_999, True),
        (comment * 2_000, False),
        (b"\xff" * 40 + comment * 1_999, True),
        (b"\xff" * 40 + comment * 2_000, False),
        (b"a" * 65_536, True),
        (b"a" * 65_537, False),
        (b"\xff" * 65_536, True),
        (b"\xff" * 65_537, False),
        (b"\xff\0" * 32_768, True),
        (b"\xff\0" * 32_768 + b"a", False),
        (b"\xff\xfe\0\0" * 10, True),  # a length that is none
    ):
        data = picture(before)
        assert (read_jpeg(data).width == 40) if fits else ("too many segments" in refused(data)), before[:4]


@pytest.mark.parametrize("order", ["<", ">"])
def test_how_many_pictures_a_phones_file_holds(order: str) -> None:
    def held(*tags: int) -> bytes:
        entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, 3) for tag in tags)
        return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags)) + entries

    for tags, pictures in (((0xB001,), 3), ((0xB000, 0xB001), 3), ((0xB000,) * 15 + (0xB001,), 3)):
        data = picture(segment(0xE2, b"MPF\0" + held(*tags)))
        assert read_structure(data, "JPEG").notes == (f"of its {pictures} pictures, the first was read",)
    for other in (held(), held(0xB000), held(*((0xB000,) * 16 + (0xB001,))), held(0xB000)[:-4], b""):
        assert read_jpeg(picture(segment(0xE2, b"MPF\0" + other))).pictures == 2


# Coded data


@pytest.mark.parametrize(
    ("factors", "size", "components", "units"),
    [
        (GREY, (8, 8), (1,), 1),
        (GREY, (9, 8), (1,), 2),
        (GREY, (40, 24), (1,), 15),
        (HALVED, (16, 16), (1, 2, 3), 1),
        (HALVED, (17, 33), (1, 2, 3), 6),
        (HALVED, (17, 33), (1,), 15),
        (HALVED, (17, 33), (2,), 6),
        (HALVED, (33, 16), (2, 3), 3),
        (((4, 1), (1, 2)), (65, 17), (1, 2), 6),
        (((4, 1), (1, 2)), (65, 17), (1,), 18),
        (((4, 1), (1, 2)), (65, 17), (2,), 9),
    ],
)
def test_units_of_a_scan(factors: Factors, size: tuple[int, int], components: tuple[int, ...], units: int) -> None:
    """Of several components: squares of 8 × the highest factors; of one: its own blocks (ITU-T T.81, A.2)."""
    named = {n + 1: each for n, each in enumerate(factors)}
    assert Frame(*size, named, progressive=False).units(list(components)) == units


PLAIN = Frame(40, 24, {1: (1, 1)}, progressive=False)  # 15 units
RESTARTED = Frame(40, 24, {1: (1, 1)}, progressive=False, interval=4)  # restarts after 4, 8 and 12


def restarts(*kinds: int) -> bytes:
    return b"ab" + b"".join(bytes((0xFF, 0xD0 + kind)) + b"ab" for kind in kinds)


def test_where_coded_data_lie() -> None:
    start = len(scan([1], b""))
    assert walk(scan([1]) + b"\xff\xd9", 0, PLAIN) == CodedData(((start, start + 3),))
    assert walk(scan([1]), 0, PLAIN) == CodedData(((start, start + 3),)), "an end that is missing is the decoder's"
    assert walk(scan([1], b"\xff\0a") + b"\xff\xd9" + scan([1]), 0, PLAIN) == CodedData(((start, start + 3),))
    two = walk(scan([1]) + b"\xff\xfe\0\2" + scan([1]) + b"\xff\xd9", 0, PLAIN)
    assert two.pieces == ((start, start + 3), (2 * start + 7, 2 * start + 10))
    (*pieces,) = walk(scan([1], restarts(0, 1, 2)) + b"\xff\xd9", 0, RESTARTED).pieces
    assert pieces == [(start + at, start + at + 2) for at in (0, 4, 8, 12)]
    assert walk(scan([1], restarts(0, 1)) + b"\xff\xd9", 0, PLAIN).pieces == ((start, start + 10),), "not looked at"
    for broken in (scan([1])[:3], segment(0xDD, b"\1") + scan([1])):
        assert walk(broken, 0, PLAIN) == CodedData()
    assert walk(scan([7], restarts(0, 1, 2)) + b"\xff\xd9", 0, RESTARTED) == CodedData()


@pytest.mark.parametrize(
    ("kinds", "fits"),
    [
        ((0, 1, 2), True),
        ((0, 1, 2, 3), True),
        ((0, 1), False),
        ((0, 1, 2, 3, 4), False),
        ((0, 2, 1), False),
        ((1, 2, 3), False),
    ],
)
def test_restarts_are_counted_and_numbered(kinds: tuple[int, ...], fits: bool) -> None:
    data = scan([1], restarts(*kinds)) + b"\xff\xd9"
    told = segment(0xDD, b"\0\4")
    for found in (walk(data, 0, RESTARTED), walk(told + data, 0, PLAIN)):
        assert found.missing == ("" if fits else "restart markers")
    numbered = Frame(40, 24, {1: (1, 1)}, progressive=False, interval=1)
    assert walk(scan([1], restarts(*(n % 8 for n in range(14)))), 0, numbered).missing == ""
    assert walk(scan([1], restarts(*(n % 7 for n in range(14)))), 0, numbered).missing == "restart markers"


def test_a_progressive_picture_is_whole_with_the_last_bit_of_every_coefficient() -> None:
    rough = Frame(40, 24, {1: (1, 1), 2: (1, 1)}, progressive=True)
    dc, low, high = scan([1, 2], last=0, bits=1), scan([1], first=1, last=5), scan([1], first=6)
    other, last = scan([2], first=1), scan([1, 2], last=0, bits=0x10)
    for parts, missing in (
        ([dc, low, high, other, last], ""),
        ([dc, low, high, other], "scans"),
        ([dc, low, high, last], "scans"),
        ([dc, low, other, last], "scans"),
        ([dc, high, other, last], "scans"),
        ([low, high, other], "scans"),
        ([dc, low, scan([1], first=6, last=62), other, last], "scans"),
        ([dc, low, scan([1], first=7), other, last], "scans"),
    ):
        assert walk(b"".join(parts) + b"\xff\xd9", 0, rough).missing == missing
    assert walk(scan([1], last=5), 0, PLAIN).missing == "", "of another kind, this is not looked at"


def test_how_much_of_coded_data_is_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (jpeg_scans.MAX_SCANS, jpeg_scans.MAX_PIECES) == (1_000, 200_000)
    monkeypatch.setattr(jpeg_scans, "MAX_SCANS", 3)
    assert len(walk(scan([1]) * 3, 0, PLAIN).pieces) == 3
    assert walk(scan([1]) * 4, 0, PLAIN) == CodedData()
    monkeypatch.setattr(jpeg_scans, "MAX_PIECES", 2)
    assert len(walk(scan([1]) * 2, 0, PLAIN).pieces) == 2
    assert walk(scan([1]) * 3, 0, PLAIN) == CodedData()


# JPEG 2000


def codestream(
    *, corner: tuple[int, int] = (70, 50), origin: tuple[int, int] = (0, 0), tile: tuple[int, int] = (70, 50),
    depths: Sequence[int] = (8, 8, 8), channels: int = 0,
) -> bytes:  # fmt: skip
    head = struct.pack(">HHHH", 0xFF4F, 0xFF51, 0, 0) + struct.pack(">8I", *corner, *origin, *tile, 0, 0)
    return head + struct.pack(">H", channels or len(depths)) + b"".join(bytes((d - 1, 1, 1)) for d in depths)


def box(name: bytes, body: bytes = b"", *, length: int = 0, large: bool = False) -> bytes:
    if large:
        return struct.pack(">I4sQ", 1, name, 16 + len(body)) + body
    return struct.pack(">I4s", length or 8 + len(body), name) + body


@pytest.mark.parametrize(("channels", "each"), [(1, 5), (2, 8), (3, 5), (4, 8)])
def test_memory_of_a_jpeg_2000(channels: int, each: int) -> None:
    for origin, tile, inside in (((0, 0), (70, 50), 3500), ((10, 20), (90, 99), 1800), ((0, 0), (16, 99), 800)):
        data = codestream(origin=origin, tile=tile, depths=(8,) * (channels - 1) + (12,))
        found = read_structure(data, "JPEG2000")
        assert (found.width, found.height) == (70 - origin[0], 50 - origin[1])
        assert (found.memory, found.bits) == (found.width * found.height * each + 16 * inside, 12)
    assert read_jpeg2000(codestream(depths=(0x88, 3))).bits == 8, "a sign is no bit"


def test_a_jpeg_2000_in_boxes() -> None:
    inner = codestream()
    for before in (b"", box(b"free", b"abc"), box(b"free", b"abc", large=True), box(b"free") * 998):
        for large in (False, True):
            assert read_jpeg2000(before + box(b"jp2h") + box(b"jp2c", inner, large=large)).width == 70
    for data in (
        box(b"free") * 1_000 + box(b"jp2c", inner),
        box(b"free", length=7) + box(b"jp2c", inner),
        box(b"free") + box(b"jp2c"),
        box(b"jp2c", b"\xff\x4f\xff\x52" + inner[4:]),
    ):
        with pytest.raises(PictureRefused, match="no codestream in a JPEG 2000 file"):
            read_jpeg2000(data)
    for cut in (inner[:20], inner[:41], inner[:48], box(b"jp2c", inner[:8])):
        with pytest.raises(PictureRefused, match="cut short"):
            read_jpeg2000(cut)
    assert read_jpeg2000(inner[:49]).width == 70
    for wrong in (
        codestream(depths=(8,) * 5),
        codestream(depths=()),
        codestream(origin=(70, 0)),
        codestream(origin=(0, 50)),
    ):
        with pytest.raises(PictureRefused, match=r"of \d channels, or of no size"):
            read_jpeg2000(wrong)
    assert read_jpeg2000(codestream(origin=(69, 49), tile=(1, 1))).tile_pixels == 1
