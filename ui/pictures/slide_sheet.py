"""What would be cut out of a slide: the places on its overview, and the fields themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw

from retrieval import RESEARCH_USE
from ui.pictures.contact_sheet import Section, Tile, contact_sheet, save_sheet

if TYPE_CHECKING:
    from index_store import ChosenFields, Field, Slide

BOX: Final = "#d7263d"
EDGE: Final = 1200
"""Pixels of the overview's longer side."""
MOST: Final = 100
"""Fields on the sheet."""


def slide_pictures(slide: Slide, chosen: ChosenFields, name: str, folder: Path) -> tuple[Path, Path]:
    """Write FOLDER/overview.png and FOLDER/contact-sheet.png. `name` is shown; the file's own name is not."""
    return (
        save_sheet(_overview(slide, chosen.fields), folder / "overview.png"),
        save_sheet(_sheet(slide, chosen.fields, name), folder / "contact-sheet.png"),
    )


def _overview(slide: Slide, fields: Sequence[Field]) -> Image.Image:
    from index_store import overview

    small = overview(slide, EDGE)
    scale = small.width / slide.info.width
    draw = ImageDraw.Draw(small)
    for number, field in enumerate(fields, start=1):
        left, top, edge = field.x * scale, field.y * scale, field.width * scale
        draw.rectangle((left, top, left + edge, top + edge), outline=BOX, width=2)
        draw.text((left + 3, top + 1), str(number), BOX)
    page = Image.new("RGB", (small.width, small.height + 24), "white")
    page.paste(small, (0, 24))
    ImageDraw.Draw(page).text((6, 6), RESEARCH_USE, "black")
    return page


def _sheet(slide: Slide, fields: Sequence[Field], name: str) -> Image.Image:
    tiles = tuple(_tile(slide, number, field) for number, field in enumerate(fields[:MOST], start=1))
    more = f" The first {MOST} are shown." if len(fields) > MOST else ""
    text = f"Numbers are those of the overview, the best first. x, y in pixels of the finest level.{more}"
    return contact_sheet(f"Fields of {name}", [Section(f"{len(fields)} fields would be cut out", text, tiles)])


def _tile(slide: Slide, number: int, field: Field) -> Tile:
    from index_store import SlideProblem, read_field

    try:
        picture = Image.fromarray(read_field(slide, field))
    except SlideProblem:  # it was readable when it was chosen
        picture = Image.new("RGB", (16, 16), "#808080")
    plane = f" · plane {field.plane + 1}" if len(slide.info.planes) > 1 else ""
    seen = f"{field.cells:.0f} nuclei, sharpness {field.sharpness:.2f}{plane}"
    return Tile(picture, f"{number}: {field.x}, {field.y}", seen)
