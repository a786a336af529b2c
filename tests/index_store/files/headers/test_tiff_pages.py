"""Which page of a TIFF is read, what it costs, and what is refused, by directories made byte by byte."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest

from index_store.files.headers import structure, tiff_directories
from index_store.files.headers.refusal import PictureRefused
from index_store.files.headers.structure import read_structure
from index_store.files.headers.tiff_directories import TiffPage, read_directories, starting_at, tag_bytes
from index_store.files.headers.tiff_pages import (
    PageChoice,
    check_page,
    choose_page,
    extra_channels,
    maker,
    stated_bits,
    with_inner,
)
from tests.index_store.files.hostile_pictures import tiff, tiff_page

READ = (1, 2, 3, 4, 5, 6, 7, 8, 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000)
FORMS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
"""Of numbers, by their types in TIFF 6.0 and BigTIFF."""
Tags = dict[int, tuple[str, object]]
LIMIT = 16 * 1024**2
ASIDE = ("it calls itself a label, an overview or a reduced copy",)


def page(
    width: int = 60, height: int = 40, *, bits: int = 8, samples: int = 3, description: str = "", name: str = "",
    chunks: int = 1, **numbers: int | tuple[int, ...],
) -> TiffPage:  # fmt: skip
    """A directory; further tags as `t259=8`."""
    found = {256: (width,), 257: (height,), 258: (bits,) * samples, 277: (samples,), 262: (2 if samples == 3 else 1,)}
    found |= {int(key[1:]): value if isinstance(value, tuple) else (value,) for key, value in numbers.items()}
    return TiffPage(found, {270: description, 285: name}, frozenset(found), chunks, 8)


def refused(data: bytes) -> str:
    with pytest.raises(PictureRefused) as refusal:
        read_structure(data, "TIFF")
    return refusal.value.what


# What decoding costs


@pytest.mark.parametrize(
    ("samples", "kind", "tags", "each", "packed"),
    [
        (3, np.uint8, {}, 4, 8),
        (1, np.uint8, {}, 5, 9),
        (1, np.uint16, {}, 8, 12),
        (3, np.uint16, {}, 8, 14),
        (3, np.uint16, {284: ("H", 2)}, 8, 12),
        (1, np.int32, {}, 8, 12),
        (2, np.uint8, {262: ("H", 1), 338: ("H", 2)}, 9, 13),
        (4, np.uint8, {}, 9, 13),
        (5, np.uint8, {}, 9, 14),
        (4, np.uint16, {}, 9, 17),
        (3, np.uint8, {262: ("H", 5)}, 9, 13),
        (3, np.uint8, {262: ("H", 6)}, 9, 13),
        (3, np.uint8, {262: ("H", 8)}, 9, 13),
        (3, np.uint8, {262: ("H", 9)}, 5, 9),
        (1, np.uint8, {262: ("H", 3)}, 5, 9),
        (3, np.uint8, {274: ("H", 1)}, 4, 8),
        (3, np.uint8, {274: ("H", 0)}, 4, 8),
        (3, np.uint8, {274: ("H", 2)}, 8, 8),
        (1, np.uint8, {274: ("H", 8)}, 8, 9),
        (3, np.uint8, {278: ("I", 10)}, 4, 5),
        (3, np.uint8, {278: ("I", 99)}, 4, 8),
        (3, np.uint8, {322: ("H", 80), 323: ("H", 45)}, 4, 10),
    ],
)
def test_memory_of_a_tiff(samples: int, kind: type[np.generic], tags: Tags, each: int, packed: int) -> None:
    """4 bytes a pixel, a copy where the form is another, and a strip or tile where it is compressed."""
    values = np.zeros((40, 60, samples) if samples > 1 else (40, 60), kind)
    for compression, wanted in ((1, each), (8, packed)):
        found = read_structure(tiff(tiff_page(values, compression=compression, tags=tags)), "TIFF")
        assert (found.format, found.width, found.height) == ("TIFF", 60, 40)
        assert found.memory == 2400 * wanted


def test_notes_and_planes_of_a_tiff() -> None:
    five, six = (np.zeros((40, 60, n), np.uint8) for n in (5, 6))
    for values, extra, notes in (
        (five, (0, 1), ("1 of its channels beside colour was left out",)),
        (five, (0, 0), ("2 of its channels beside colour were left out",)),
        (six, (1, 2, 1), ()),
    ):
        assert read_structure(tiff(tiff_page(values, tags={338: ("H", extra)})), "TIFF").notes == notes
    grey = np.zeros((40, 60), np.uint8)
    named = [tiff_page(grey, compression=8, tags={285: ("s", name)}) for name in ("green", "blue", "red")]
    found = read_structure(tiff(*named), "TIFF")
    assert (found.memory, len(found.planes), found.tiff) == (8 * 2400, 3, found.planes[0])
    assert [each.texts[285] for each in found.planes] == ["red", "green", "blue"]
    assert "JPEG 2000" in refused(tiff(*named[:2], named[2] | {259: ("H", 33005)}))
    deep = tiff_page(grey.astype(np.uint16), tags={281: ("H", 4095)})
    assert read_structure(tiff(deep), "TIFF").bits == 12


def test_how_many_scans_of_jpegs_within_a_tiff_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "MAX_SCANNED", 2 * 2400)
    for compression in (6, 7, 8):
        for scans in (2, 3):
            tags: Tags = {273: ("data", b"\xff\xda" * scans), 259: ("H", compression)}
            data = tiff(tiff_page(np.zeros((40, 60, 3), np.uint8), tags=tags))
            if compression < 8 and scans > 2:
                assert "too many scans" in refused(data)
            else:
                assert read_structure(data, "TIFF").width == 60


# Directories


def directory(*entries: tuple[int, int, int, bytes], order: str = "<", big: bool = False, following: int = 0) -> bytes:
    """Tags, types, counts and values (or pointers) as they stand in a directory."""
    form, room = ("HHQ", 8) if big else ("HHI", 4)
    body = b"".join(
        struct.pack(order + form, tag, kind, count) + value.ljust(room, b"\0") for tag, kind, count, value in entries
    )
    return struct.pack(order + ("Q" if big else "H"), len(entries)) + body + pointer(following, order, big)


def pointer(position: int, order: str = "<", big: bool = False) -> bytes:
    return struct.pack(order + ("Q" if big else "I"), position)


def head(first: int, order: str = "<", big: bool = False) -> bytes:
    sign = b"II" if order == "<" else b"MM"
    version = struct.pack(order + "H", 43 if big else 42) + (struct.pack(order + "HH", 8, 0) if big else b"")
    return sign + version + pointer(first, order, big)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_the_values_of_a_directory(order: str, big: bool) -> None:
    """In the entry where there is room, elsewhere in the file where not."""
    start, room = (16, 8) if big else (8, 4)
    values = {
        258: struct.pack(order + "6H", 1, 2, 3, 4, 5, 6),
        256: struct.pack(order + "H", 60),
        257: struct.pack(order + "I", 40),
        270: b"a note that is long\0and more",
        271: b"me\0",
        273: struct.pack(order + "5I", 1, 2, 3, 4, 5),
    }
    kinds = {258: (3, 6), 256: (3, 1), 257: (4, 1), 270: (2, 28), 271: (2, 3), 273: (4, 5)}
    far, behind = b"", len(directory(*[(0, 3, 1, b"")] * 8, order=order, big=big)) + start
    entries = []
    for tag, raw in values.items():
        short = len(raw) <= room
        entries.append((tag, *kinds[tag], raw if short else pointer(behind + len(far), order, big)))
        far += b"" if short else raw
    entries += [(277, 3, 0, b""), (262, 2, 1, b"\1")]  # no value; a number that is a text
    one = directory(*entries, order=order, big=big, following=behind + len(far))
    two = directory(
        (256, 3, 1, struct.pack(order + "H", 7)), order=order, big=big, following=start
    )  # back to the first
    found, pages = read_directories(head(start, order, big) + one + far + two)
    assert (found, len(pages)) == (order, 2)
    first, second = pages
    assert first.numbers == {258: (1, 2, 3, 4, 5, 6), 256: (60,), 257: (40,)}
    assert first.texts == {270: "a note that is long", 271: "me"}
    assert first.tags == {256, 257, 258, 262, 270, 271, 273, 277}
    assert (first.chunks, first.position, first.size, first.bits, first.samples) == (5, start, (60, 40), 6, 1)
    assert (second.numbers, second.position) == ({256: (7,)}, behind + len(far))


def test_numbers_of_every_type() -> None:
    for kind, form in FORMS.items():
        values = (1, 2 ** (8 * struct.calcsize(form) - 1) if form.isupper() else -3)
        data = head(8) + directory((258, kind, 2, pointer(26))) + struct.pack("<2" + form, *values)
        if struct.calcsize(form) < 4:
            data = head(8) + directory((258, kind, 2, data[26:]))
        (read,) = read_directories(data)[1]
        assert (read.numbers, read.number(258)) == ({258: values}, 1)


def test_pages_until_the_directories_end() -> None:
    one = directory((256, 3, 1, b"\7\0"), following=26)
    assert len(one) == 18
    for data, pages in (
        (head(8) + one + directory((256, 3, 1, b"\7\0")), 2),
        (head(8) + one, 1),  # what follows is gone
        (head(8) + one + b"\xff\xff", 1),
    ):
        assert len(read_directories(data)[1]) == pages
    for data, words in (
        (head(8), "cut short"),
        (head(0), "without a page"),
        (head(8)[:7], "cut short"),
        (head(8) + one[:-2], "cut short"),
        (head(8) + struct.pack("<H", 1001) + bytes(12 * 1001 + 4), "too large to be read"),
    ):
        with pytest.raises(PictureRefused, match=words):
            read_directories(data)
    assert len(read_directories(head(8) + struct.pack("<H", 1000) + bytes(12 * 1000 + 4))[1]) == 1
    with pytest.raises(PictureRefused, match="is damaged"):
        read_directories(head(16, big=True) + struct.pack("<Q", 65_536) + bytes(20))
    twice = directory((270, 2, 2, b"a\0"), (270, 2, 2, b"b\0"))
    assert read_directories(head(8) + twice)[1][0].description == "a\nb"


def test_how_many_pages_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_directories, "MAX_PAGES", 4)
    size = 18
    chain = b"".join(directory((256, 3, 1, b"\7\0"), following=8 + size * (n + 1)) for n in range(6))
    assert len(read_directories(head(8) + chain)[1]) == 4
    places = [8 + 18 + 20 + size * n for n in range(5)]
    inner = b"".join(directory((256, 3, 1, bytes((n, 0)))) for n in range(5))
    outer = directory((330, 4, 5, pointer(26)))
    (read,) = read_directories(head(8) + outer + struct.pack("<5I", *places) + inner)[1]
    assert [each.number(256) for each in read.inner] == [0, 1, 2, 3], "with the page itself one more"
    broken = struct.pack("<5I", places[0], 10_000, places[2], places[3], places[4])
    (read,) = read_directories(head(8) + outer + broken + inner)[1]
    assert [each.number(256) for each in read.inner] == [0, 2, 3]


def test_how_many_bytes_a_directory_may_take() -> None:
    def with_tag(count: int, kind: int = 7, tag: int = 40_000) -> bytes:
        return head(8) + directory((tag, kind, count, pointer(0)))

    other = {2: 1, 5: 8, 7: 1, 10: 8, 11: 4, 12: 8}
    for kind, each in (other | {kind: struct.calcsize(form) for kind, form in FORMS.items()}).items():
        assert tag_bytes(with_tag(1000, kind)) == 1000 * each
    for kind, each in ((7, 1), (3, 2), (4, 4), (12, 8), (99, 1)):
        assert len(read_directories(with_tag(LIMIT // each, kind))[1]) == 1
        with pytest.raises(PictureRefused, match="too large to be read"):
            read_directories(with_tag(LIMIT // each + 1, kind))
        assert tag_bytes(with_tag(1000, kind)) == 1000 * each
    # A tag that points to a further directory: its tags count, too, and those of one below it, and no deeper.
    chain = head(8)
    for depth in range(4):
        at = 8 + 30 * (depth + 1)
        chain += directory((34665, 4, 1, pointer(at)), (40_000, 7, 10 ** (depth + 1), pointer(0)))
    assert tag_bytes(chain + directory()) == (4 + 10) + (4 + 100) + (4 + 1000)
    assert tag_bytes(head(8) + directory((34665, 4, 1, pointer(9_999)), (40_000, 7, 50, pointer(0)))) == 54
    assert tag_bytes(b"II*\0") == tag_bytes(b"") == tag_bytes(head(8)) == 0
    assert tag_bytes(b"MM\0*" + head(8, ">")[4:] + directory((40_000, 7, 9, b"\0\0\0\0"), order=">")) == 9


@pytest.mark.parametrize("order", ["<", ">"])
def test_another_directory_first(order: str) -> None:
    for big, at, length in ((False, 4, 4), (True, 8, 8)):
        data = head(16, order, big) + b"rest"
        assert starting_at(data, 16) is data
        other = starting_at(data, 5)
        assert other == data[:at] + pointer(5, order, big) + data[at + length :]


def test_what_a_page_says_of_itself() -> None:
    for numbers, grey in (
        ((1, 1, 8), True),
        ((0, 1, 8), True),
        ((2, 1, 8), False),
        ((1, 2, 8), False),
        ((1, 1, 1), False),
    ):
        kind, samples, bits = numbers
        assert page(samples=samples, bits=bits, t262=kind).grey is grey
    reduced = [page(t254=1), page(t254=3), page(t255=2)]
    assert all(each.reduced for each in reduced)
    assert not any(each.reduced for each in (page(), page(t254=2), page(t255=1), page(t255=3)))
    assert page(t258=(8, 16, 8)).bits == 16
    bare = TiffPage({}, {}, frozenset(), 0, 8)
    assert (bare.bits, bare.samples, bare.size, bare.number(259, 7)) == (1, 1, (0, 0), 7)


# Which page


def test_which_pages_a_page_points_to_are_looked_at() -> None:
    small, same, reduced = page(30, 40), page(40, 60), page(90, 90, t254=1)
    outer = replace(page(), inner=(small, same, reduced))
    assert with_inner([outer, small]) == [outer, same, small]


@pytest.mark.parametrize(
    ("pages", "chosen"),
    [
        ([page()], PageChoice(0)),
        ([page(), page()], PageChoice(0, (), ("of its 2 pages, the first was read",))),
        ([page(), page(40, 27)], PageChoice(0)),  # two thirds: a smaller copy
        ([page(), page(41, 27)], PageChoice(0, (), ("of its 2 pages, the first was read",))),
        ([page(), page(30, 22)], PageChoice(0)),  # 10 % off, where 2 + 200 / 22 % may be
        ([page(600, 400), page(300, 206)], PageChoice(0)),
        ([page(600, 400), page(300, 207)], PageChoice(0, (), ("of its 2 pages, the first was read",))),
        ([page(600, 400), page(300, 194)], PageChoice(0, (), ("of its 2 pages, the first was read",))),
        ([page(600, 400), page(300, 195)], PageChoice(0)),
        ([page(), page(30, 0)], PageChoice(0, (), ("of its 2 pages, the first was read",))),
        (
            [page(t254=4), page()],
            PageChoice(1, (), ("of its 2 pages, the second was read: those before say that they are others",)),
        ),
        (
            [page(t254=1), page(name="Label"), page(t262=4), page(), page()],
            PageChoice(3, (), ("of its 5 pages, the fourth was read",)),
        ),
        (
            [page(t254=1)] * 4 + [page()],
            PageChoice(4, (), ("of its 5 pages, the fifth was read: those before say that they are others",)),
        ),
        (
            [page(t254=1)] * 5 + [page()],
            PageChoice(5, (), ("of its 6 pages, the 6th was read: those before say that they are others",)),
        ),
        ([page(t254=2), page(t254=1)], PageChoice(0)),
        ([page(t254=1)], PageChoice(0, (), ASIDE)),
        ([page(description="macro ".ljust(299, "x"))], PageChoice(0, (), ASIDE)),
        ([page(description="macro ".ljust(300, "x"))], PageChoice(0)),
        ([page(description="macroscopic")], PageChoice(0)),
        (
            [page(), page(120, 80)],
            PageChoice(
                0, (), ("of its 2 pages, the first was read", "another page is larger than the one that was read")
            ),
        ),
        ([page(), page(120, 79)], PageChoice(0, (), ("of its 2 pages, the first was read",))),
        ([page(samples=1)] * 2, PageChoice(0, (), ("of its 2 pages, the first was read",))),
        ([page(samples=1)] * 5, PageChoice(0, (), ("of its 5 pages, the first was read",))),
        (
            [page(description="slices=2\n"), page()],
            PageChoice(0, (), ("of its 2 focal planes, the first was read",)),
        ),
        (
            [page(description="slices=2\n"), page(), page(t254=1)],
            PageChoice(0, (), ("of its 3 pages, the first was read",)),
        ),
        ([page(description="slices=1\n"), page()], PageChoice(0, (), ("of its 2 pages, the first was read",))),
        ([page(description="ImageJ=1\nimages=3\n")], PageChoice(0, (), ("of its 3 pages, the first was read",))),
        ([page(description="ImageJ=1\nimages=1\n")], PageChoice(0)),
        ([page(description="ImageJ=1\n")], PageChoice(0)),
        ([page(description="images=3\n")], PageChoice(0)),
        ([page(description='{"shape": [2, 40, 60, 3]}')], PageChoice(0, (), ("of its 2 pages, the first was read",))),
        ([page(description='{"shape": [40, 60, 3]}')], PageChoice(0)),
        ([page(description='{"shape": [40, 150, 3]}')], PageChoice(0)),  # no whole number of pages
        *(([page(description=f'{{"shape": {none}}}')], PageChoice(0)) for none in ("[9", '"x"', '["x"]', "[-2]")),
    ],
)  # fmt: skip
def test_which_page_is_read(pages: list[TiffPage], chosen: PageChoice) -> None:
    assert choose_page(pages) == chosen


def test_grey_pages_that_are_colours() -> None:
    def three(*names: str, description: str = "") -> list[TiffPage]:
        return [page(samples=1, name=name, description=description) for name in names]

    told = ("its three grey pages were read as red, green and blue",)
    assert choose_page(three("Green", " blue", "RED")) == PageChoice(2, (2, 0, 1), told)
    assert choose_page(three("b", "r", "g")) == PageChoice(1, (1, 2, 0), told)
    first = [page(samples=1, description=f"{name}\nmore") for name in ("red", "green", "blue")]
    assert choose_page(first).planes == (0, 1, 2)
    channels = '<Channel ID="1" Name="Red"/><Channel Name="Green"/><Channel Name="Blue"/>'
    assert choose_page(three("", "", "", description=channels)).planes == (0, 1, 2)
    assert choose_page([page(t254=1), *three("r", "g", "b")]).planes == (1, 2, 3)
    for pages, number in (
        (three("red", "green", "white"), 3),
        (three("r", "g", "b", "a"), 4),
        (three("", "", "", description=channels.replace("Red", "Blue")), 3),
        (three("", description="channels=2\n"), 2),
        (three("", description='<Pixels SizeC="2"/>'), 2),
        (three("", "", "", description="channels=2\n"), 3),
    ):
        with pytest.raises(PictureRefused, match=f"holds {number} grey pages"):
            choose_page(pages)
    assert choose_page(three("", description="channels=1\n")) == PageChoice(0)
    others = [*three("r", "g"), page(61, samples=1, name="b")]
    assert choose_page(others) == PageChoice(0, (), ("of its 3 pages, the first was read",))


def test_copies_behind_a_thumbnail() -> None:
    thumbnail = replace(page(30, 20), inner=(page(),))
    assert choose_page([thumbnail, page()]).page == 1
    assert choose_page([replace(page(30, 30), inner=(page(),)), page()]).page == 0, "of other proportions"


# What is refused


@pytest.mark.parametrize(
    ("read", "words"),
    [
        *((page(t259=number), "") for number in READ),
        (page(t259=33004), "is a TIFF compressed with JPEG 2000"),
        (page(t259=0), "is a TIFF compressed with a method that is not read (no. 0)"),
        (page(samples=1, bits=32, t339=2), ""),
        (page(samples=1, bits=16, t339=3), ""),
        (page(samples=1, bits=32, t339=3), ""),
        (page(samples=1, bits=16, t339=2), "is a TIFF of 16-bit signed grey values"),
        (page(samples=1, bits=64, t339=3), "is a TIFF of 64-bit floating-point grey values"),
        (page(bits=32, t339=3), "is a TIFF of 32-bit floating-point colours"),
        (page(samples=1, bits=32, t339=5), "is a TIFF of 32-bit complex grey values"),
        (page(t339=4), ""),
        *((page(samples=1, bits=bits), "") for bits in (1, 2, 4, 8, 12, 16, 32)),
        *((page(bits=bits), "") for bits in (1, 2, 4, 8, 16)),
        *((page(bits=bits), f"is a TIFF with {bits} bits a value") for bits in (3, 12, 32, 64)),
        (page(t259=7), ""),
        (page(bits=16, t259=6), "is a TIFF compressed with 16-bit JPEG"),
        (page(samples=2), "is a TIFF with 2 grey channels"),
        (page(samples=2, t262=0), "is a TIFF with 2 grey channels"),
        (page(samples=2, t338=1), ""),
        (page(samples=3, t262=1, t338=1), "is a TIFF with 3 grey channels"),
        (page(chunks=100_000), ""),
        (page(chunks=100_001), "is a TIFF of more than 100000 strips or tiles"),
    ],
)
def test_pages_that_are_not_read_rightly(read: TiffPage, words: str) -> None:
    if not words:
        check_page(read, "")
        check_page(read, "a whole slide (SVS)")
        return
    with pytest.raises(PictureRefused) as refusal:
        check_page(read, "")
    assert refusal.value.what == words
    with pytest.raises(PictureRefused, match=r"a camera's raw file \(DNG\)"):
        check_page(page(), "a camera's raw file (DNG)")


def test_who_made_it() -> None:
    for read, name in (
        (page(), ""),
        (page(description="Aperio"), "a whole slide (SVS)"),
        (page(description="x" * 3_994 + "Aperio"), "a whole slide (SVS)"),
        (page(description="x" * 3_995 + "Aperio"), ""),
        (page(description="<OME"), "an OME-TIFF"),
        (page(t65420=1), "a whole slide (NDPI)"),
        (page(t65421=1), "a whole slide (NDPI)"),
        (page(t65422=1), ""),
        (page(t50706=1), "a camera's raw file (DNG)"),
        (page(t262=34892), "a camera's raw file"),
    ):
        assert maker([read]) == name
    assert maker([page(), page(t262=32803)]) == "a camera's raw file"
    for tag in (271, 305):
        assert maker([replace(page(), texts={tag: "Leica"})]) == "a whole slide (SCN)"


def test_how_many_bits_are_said_to_be_used() -> None:
    for read, bits in (
        (page(bits=12, samples=1), 12),
        *((page(bits=16, description=f'SignificantBits="{n}"'), n) for n in (8, 10, 16)),
        *((page(bits=16, description=f'SignificantBits="{n}"'), 0) for n in (7, 17)),
        (page(bits=16, t281=4095), 12),
        (page(bits=16, t281=255), 8),
        (page(bits=16, t281=127), 0),
        (page(bits=16, t281=4094), 0),
        (page(bits=16, t281=4096), 0),
        (page(bits=8, t281=255), 0),
        (page(bits=16), 0),
    ):
        assert stated_bits(read) == bits


def test_channels_beside_colour() -> None:
    assert extra_channels(page(samples=4, t338=0)) == 1
    assert extra_channels(page(samples=6, t338=(0, 1, 0))) == 2
    assert extra_channels(page(samples=2, t338=0)) == 1
    assert extra_channels(page(samples=1, t338=0)) == 0
    assert extra_channels(page()) == 0
