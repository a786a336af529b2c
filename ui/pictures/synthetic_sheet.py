"""Sheets of generated images: the images of a set, and its nearest pairs with reference images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from ui.image_labels import SYNTHETIC
from ui.pictures.contact_sheet import COLUMNS, Section, Tile, contact_sheet, save_sheet

if TYPE_CHECKING:
    from retrieval import CopyReport, SetSummary

CLASSES: Final = 24
"""Classes that are shown, each with a row of images."""
PAIRS: Final = 12


def set_sheet(folder: Path, summary: SetSummary) -> Path:
    """The first images of each class, as FOLDER/contact-sheet.png. Names classes and seeds, and quotes no report."""
    from generation import read_csv

    shown: dict[str, list[Tile]] = {}
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        for row in read_csv(file):
            tiles = shown.setdefault(Path(row["image"]).parts[1], [])
            if len(tiles) < COLUMNS and (tiles or len(shown) <= CLASSES):
                tiles.append(Tile(_picture(folder / row["image"]), f"seed {row['seed']}", "", SYNTHETIC))
    sections = [
        Section(name, f"{summary.classes.get(name, 0)} images", tuple(tiles))
        for name, tiles in sorted(shown.items())
        if tiles
    ]
    title = f"Synthetic images: {summary.images} of {summary.distinct_reports} reports"
    return save_sheet(contact_sheet(title, sections), folder / "contact-sheet.png")


def pairs_sheet(report: CopyReport, path: Path) -> Path:
    """The nearest pairs side by side, near copies first: the generated image, then the reference."""
    sections = []
    for pair in (*report.near_copies, *report.alarms, *report.nearest)[:PAIRS]:
        verdict = "Copy" if pair.near_copy else "Alarmingly alike" if pair in report.alarms else "Not flagged"
        sections.append(
            Section(
                f"{verdict}: {pair.words}",
                f"{pair.image}  ~  {pair.reference}",
                (
                    Tile(_picture(pair.image_path), "generated", "", SYNTHETIC),
                    Tile(_picture(pair.reference_path), "reference", "", "REFERENCE"),
                ),
            )
        )
    return save_sheet(contact_sheet("Generated images and the reference images nearest to them", sections), path)


def _picture(path: Path) -> Image.Image:
    from index_store import ImageProblem, decode_image

    try:
        return decode_image(path)
    except ImageProblem:  # gone since it was compared
        return Image.new("RGB", (64, 64), "#cbd2d9")
