"""A contact sheet: the query, the generated images and the nearest cases in one picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from retrieval import RESEARCH_USE
from ui.pictures.sizes import fitted

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont
    from PIL.ImageFont import ImageFont as BitmapFont

COLUMNS: Final = 5
TILE: Final = 224
GAP: Final = 20
MARGIN: Final = 32
WIDTH: Final = 2 * MARGIN + COLUMNS * TILE + (COLUMNS - 1) * GAP
LINE: Final = 18
# Pillow's own font lacks accented letters (May-Grünwald-Giemsa): the usual fonts of Linux, macOS and Windows first.
FONTS: Final = ("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "Helvetica.ttc", "arial.ttf")
TEXT_LINES: Final = 7  # of a tile's text; what is longer ends in an ellipsis

INK: Final = "#1c2733"
SOFT: Final = "#52606d"
WARNING: Final = "#9b1c1c"
PAPER: Final = "#ffffff"


@dataclass(frozen=True)
class Tile:
    """One picture with the text under it. `mark` (PHANTOM, SYNTHETIC) is written across its upper edge."""

    image: Image.Image
    title: str
    text: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, a text of its own, and a row or more of tiles."""

    title: str
    text: str
    tiles: tuple[Tile, ...]


def contact_sheet(title: str, sections: Sequence[Section]) -> Image.Image:
    """The sections one under the other on white, with the research-use line at top and bottom."""
    sheet = Image.new("RGB", (WIDTH, 2 * MARGIN + 90 + sum(_height(section) for section in sections)), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, INK, _font(26))
    draw.text((MARGIN, MARGIN + 36), RESEARCH_USE, WARNING, _font(15))
    top = MARGIN + 72
    for section in sections:
        _draw_section(sheet, draw, section, top)
        top += _height(section)
    draw.text((MARGIN, top), RESEARCH_USE, WARNING, _font(15))
    return sheet


def save_sheet(sheet: Image.Image, path: Path) -> Path:
    """Write the sheet as a PNG, with the research-use notice in its metadata, too."""
    from generation import write_atomic

    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", f"{RESEARCH_USE} Contains synthetic images and rendered phantoms where so labelled.")
    file = io.BytesIO()
    sheet.save(file, "PNG", pnginfo=info, optimize=True)
    return write_atomic(path, file.getvalue())


def _height(section: Section) -> int:
    rows = -(-len(section.tiles) // COLUMNS)
    return 34 + LINE * len(_lines(section.text, WIDTH - 2 * MARGIN, 15)) + 10 + rows * _tile_height(section) + GAP


def _tile_height(section: Section) -> int:
    most = max((len(_tile_text(tile)) for tile in section.tiles), default=0)
    return TILE + 30 + LINE * most + GAP


def _draw_section(sheet: Image.Image, draw: ImageDraw.ImageDraw, section: Section, top: int) -> None:
    draw.line((MARGIN, top, WIDTH - MARGIN, top), "#cbd2d9")
    draw.text((MARGIN, top + 10), section.title, INK, _font(19))
    top += 40
    for line in _lines(section.text, WIDTH - 2 * MARGIN, 15):
        draw.text((MARGIN, top), line, SOFT, _font(15))
        top += LINE
    top += 10
    for number, tile in enumerate(section.tiles):
        row, column = divmod(number, COLUMNS)
        left = MARGIN + column * (TILE + GAP)
        _draw_tile(sheet, draw, tile, left, top + row * _tile_height(section))


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int) -> None:
    picture = fitted(tile.image.convert("RGB"), TILE)
    sheet.paste(picture, (left + (TILE - picture.width) // 2, top + (TILE - picture.height) // 2))
    if tile.mark:
        width = round(draw.textlength(tile.mark, _font(13))) + 14
        draw.rectangle((left, top, left + width, top + 21), fill=INK)
        draw.text((left + 7, top + 3), tile.mark, PAPER, _font(13))
    draw.text((left, top + TILE + 8), "".join(_lines(tile.title, TILE, 15)[:1]), INK, _font(15))
    for number, line in enumerate(_tile_text(tile)):
        draw.text((left, top + TILE + 30 + number * LINE), line, SOFT, _font(13))


def _tile_text(tile: Tile) -> tuple[str, ...]:
    lines = _lines(tile.text, TILE, 13)
    if len(lines) > TEXT_LINES:
        return (*lines[: TEXT_LINES - 1], lines[TEXT_LINES - 1].rpartition(" ")[0].rstrip(" .,;") + " …")
    return lines


@lru_cache(maxsize=256)  # measuring text takes most of the time, and heights are needed before the text is rendered
def _lines(text: str, width: int, size: int) -> tuple[str, ...]:
    """`text` broken at spaces into lines of at most `width` pixels; a longer word gets its own line and is cut."""
    font = _font(size)
    lines: list[str] = []
    for paragraph in text.splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width:
                lines.append(line)
                longer = word
            line = longer
            while font.getlength(line) > width:
                line = line[: len(line) * 9 // 10]
        lines.append(line)
    return tuple(lines)


@cache
def _font(size: int) -> FreeTypeFont | BitmapFont:
    for name in FONTS:
        try:
            return ImageFont.truetype(name, size)
        except OSError:  # not on this machine
            continue
    return ImageFont.load_default(size)
