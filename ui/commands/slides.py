"""`coin slides`: what is on a whole slide, and which of its fields would be cut out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ui.commands.options import as_json, with_field_choice
from ui.commands.output import echo, echo_json, write_file
from ui.pictures.slide_sheet import slide_pictures
from ui.text.json_text import json_text
from ui.text.slides import slide_record, slide_text

if TYPE_CHECKING:
    from index_store import FieldChoice, Slide


@click.group()
def slides() -> None:
    """Whole slides: SVS, NDPI, MRXS, SCN, BIF, Philips and pyramidal TIFF, DICOM series, stacks of focal planes."""


@slides.command()
@click.argument("slide", type=click.Path(path_type=Path))
@with_field_choice
@click.option(
    "--mpp",
    type=click.FloatRange(0.05, 10),
    metavar="µm",
    help="µm a pixel of the finest level. [default: as the slide says]",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write overview.png, contact-sheet.png and fields.json into this folder.",
)
@as_json
def look(slide: Path, choice: FieldChoice, mpp: float | None, out: Path | None, as_json: bool) -> None:
    """Show which fields of SLIDE would be cut out, and why its other places are left out. Nothing is stored.

    SLIDE is a file, or a folder with one DICOM series. Pictures of the slide's label are never opened. Rules: "dark"
    takes places first whose nuclei are dark and fill much of what is stained, "cells" those with the most nuclei,
    "varied" those most different from each other, "mixed" two dark ones for each different one.
    """
    from index_store import Slide, choose_fields

    with Slide(slide) as opened:
        name = _shown_name(opened)
        chosen = choose_fields(opened, choice, mpp=mpp)
        written: tuple[Path, ...] = ()
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            written = (*slide_pictures(opened, chosen, name, out), out / "fields.json")
            write_file(written[-1], f"{json_text(slide_record(name, opened.info, chosen, choice))}\n")
    if as_json:
        echo_json(slide_record(name, opened.info, chosen, choice, written))
    else:
        echo(slide_text(name, opened.info, chosen, choice, written))


def _shown_name(slide: Slide) -> str:
    """The file's name, or the fingerprint's beginning where it looks like a patient's name, date or number."""
    from retrieval import has_identifier

    return f"slide-{slide.info.fingerprint[:12]}" if has_identifier(Path(slide.name).stem) else slide.name
