"""Where a contact sheet draws what: every place in pixels, with a font whose signs are half as wide as high."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

from retrieval import RESEARCH_USE
from ui.pictures import contact_sheet as module
from ui.pictures.contact_sheet import Section, Tile, contact_sheet


@dataclass(frozen=True)
class EvenFont:
    """All signs of one width."""

    size: int

    def getlength(self, text: str) -> float:
        return len(text) * self.size / 2


class Recorder:
    """What is drawn, in order."""

    def __init__(self) -> None:
        self.drawn: list[tuple[Any, ...]] = []

    def text(self, at: tuple[int, int], text: str, fill: str, font: EvenFont) -> None:
        self.drawn.append((at, text, fill, font.size))

    def line(self, ends: tuple[int, ...], fill: str) -> None:
        self.drawn.append((ends, fill))

    def rectangle(self, box: tuple[int, ...], fill: str) -> None:
        self.drawn.append((box, fill))

    def textlength(self, text: str, font: EvenFont) -> float:
        return font.getlength(text)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    recorder = Recorder()
    monkeypatch.setattr(module, "_font", EvenFont)
    monkeypatch.setattr(module.ImageDraw, "Draw", lambda sheet: recorder)
    module._lines.cache_clear()
    yield recorder
    module._lines.cache_clear()  # they were measured with another font


def test_all_is_drawn_in_its_place(recorder: Recorder) -> None:
    red, blue = (200, 30, 40), (20, 30, 200)
    plain = Tile(Image.new("RGB", (64, 32), red), "first", "one\ntwo")
    marked = Tile(Image.new("RGB", (32, 64), blue), "last", mark="PHANTOM")
    sheet = contact_sheet("Result", [Section("Nearest", "words", (plain,) * 5 + (marked,)), Section("Empty", "", ())])
    soft, ink, warning = "#52606d", "#1c2733", "#9b1c1c"
    lefts = [32, 276, 520, 764, 1008]
    first_row = 104 + 40 + 18 + 10
    second_row = first_row + 224 + 30 + 2 * 18 + 20
    empty = second_row + 310 + 20 - 6  # a section is 34 + 10 pixels higher than its rows, which begin 40 + 10 below
    tiles = [
        drawn
        for left in lefts
        for drawn in (
            ((left, first_row + 232), "first", ink, 15),
            ((left, first_row + 254), "one", soft, 13),
            ((left, first_row + 272), "two", soft, 13),
        )
    ]
    assert recorder.drawn == [
        ((32, 32), "Result", ink, 26),
        ((32, 68), RESEARCH_USE, warning, 15),
        ((32, 104, 1232, 104), "#cbd2d9"),
        ((32, 114), "Nearest", ink, 19),
        ((32, 144), "words", soft, 15),
        *tiles,
        ((32, second_row, 32 + 46 + 14, second_row + 21), ink),  # 7 signs of 6.5 pixels, and 7 on each side
        ((39, second_row + 3), "PHANTOM", "#ffffff", 13),
        ((32, second_row + 232), "last", ink, 15),
        ((32, empty, 1232, empty), "#cbd2d9"),
        ((32, empty + 10), "Empty", ink, 19),
        ((32, empty + 34 + 10 + 20), RESEARCH_USE, warning, 15),
    ]
    assert sheet.size == (1264, 2 * 32 + 90 + (empty - 104) + 64)
    top, side = first_row + 56, 32 + 56  # in the middle of a tile
    for x, y, expected in (
        (32, top, red), (32, top - 1, (255,) * 3), (255, top + 111, red), (256, top, (255,) * 3),
        (276, top, red), (275, top, (255,) * 3), (32, top + 112, (255,) * 3),
        (side, second_row, blue), (side - 1, second_row, (255,) * 3), (side + 111, second_row + 223, blue),
        (side + 112, second_row, (255,) * 3),
    ):  # fmt: skip
        assert sheet.getpixel((x, y)) == expected, (x, y)


def test_a_line_is_as_long_as_fits(recorder: Recorder) -> None:
    """Ten signs to a line of 50 pixels."""
    for text, lines in {
        "": (),
        "abcd efghi": ("abcd efghi",),
        "abcd efghij": ("abcd", "efghij"),
        "ab cd ef gh ij": ("ab cd ef", "gh ij"),
        "a\n\nb": ("a", "", "b"),
        "abcdefghijk": ("abcdefghi",),  # nine tenths of eleven
        "ab abcdefghijkl c": ("ab", "abcdefghij", "c"),
    }.items():
        assert module._lines(text, 50, 10) == lines, text


def test_the_longest_text_of_a_tile(recorder: Recorder) -> None:
    """Seven lines; of an eighth nothing, and the seventh loses its last word and the punctuation before it."""
    for last, shown in {"ab, cd": "ab …", "ab. ; cd": "ab …", "ab cd ef": "ab cd …"}.items():
        tile = Tile(Image.new("RGB", (1, 1)), "", "\n".join([*"123456", last, "8"]))
        assert module._tile_text(tile) == (*"123456", shown)


def test_the_first_font_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def truetype(name: str, size: int) -> str:
        asked.append((name, size))
        if name != there:
            raise OSError
        return name

    monkeypatch.setattr(module.ImageFont, "truetype", truetype)
    monkeypatch.setattr(module.ImageFont, "load_default", lambda size: f"own of {size}")
    for there in ("DejaVuSans.ttf", "Arial.ttf", "arial.ttf"):
        asked.clear()
        assert str(module._font.__wrapped__(12)) == there
        assert asked == [(name, 12) for name in module.FONTS[: module.FONTS.index(there) + 1]]
    there = "none"
    assert str(module._font.__wrapped__(12)) == "own of 12"
