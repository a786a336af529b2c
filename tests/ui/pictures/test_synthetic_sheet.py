"""What the sheets of a synthetic set show, and under which words."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from retrieval import CopyPair
from tests.ui.text.test_archive_texts import COPIES, SET
from ui.pictures import synthetic_sheet
from ui.pictures.contact_sheet import COLUMNS, Section


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Section]:
    """The sections of the sheet that is made in the test."""
    sections: list[Section] = []

    def keep(title: str, parts: Sequence[Section]) -> Image.Image:
        sections.extend(parts)
        return Image.new("RGB", (4, 4))

    monkeypatch.setattr(synthetic_sheet, "contact_sheet", keep)
    return sections


def test_each_class_shows_its_first_images(shown: list[Section], tmp_path: Path) -> None:
    lines = ["image,seed"]
    classes = [f"class-{number:02}" for number in range(synthetic_sheet.CLASSES + 1)]
    for name in reversed(classes):
        (tmp_path / "train" / name).mkdir(parents=True)
        for seed in range(COLUMNS + 1 if name == "class-05" else 1):
            Image.new("RGB", (8, 8)).save(tmp_path / "train" / name / f"{seed}.png")
            lines.append(f"train/{name}/{seed}.png,{seed}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    summary = dataclasses.replace(SET, classes=dict.fromkeys(classes, 7))
    assert synthetic_sheet.set_sheet(tmp_path, summary) == tmp_path / "contact-sheet.png"
    assert [section.title for section in shown] == classes[1:], "the first CLASSES of the table, in the order of names"
    assert {section.text for section in shown} == {"7 images"}
    tiles = {section.title: section.tiles for section in shown}
    assert [tile.title for tile in tiles["class-05"]] == [f"seed {seed}" for seed in range(COLUMNS)]
    assert {tile.mark for section in shown for tile in section.tiles} == {"SYNTHETIC"}


def test_pairs_stand_with_near_copies_first(shown: list[Section], tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (8, 8), "red").save(picture)

    def at(pair: CopyPair) -> CopyPair:
        return dataclasses.replace(pair, image_path=picture, reference_path=tmp_path / "gone.png")

    report = dataclasses.replace(
        COPIES, near_copies=tuple(map(at, COPIES.near_copies)), nearest=tuple(map(at, COPIES.nearest))
    )
    synthetic_sheet.pairs_sheet(report, tmp_path / "pairs.png")
    assert len(shown) == synthetic_sheet.PAIRS
    assert shown[0].title == "Copy: similarity 0.890, 3 bits, 50% of the picture, mirrored, correlation 0.97"
    assert shown[1].title == "Alarmingly alike: similarity 0.900, 95 bits"
    assert shown[2].title == "Not flagged: similarity 0.880, 92 bits"
    assert shown[0].text == "1.png  ~  r1.png"
    generated, reference = shown[0].tiles
    assert (generated.title, generated.mark, reference.title, reference.mark) == (
        *("generated", "SYNTHETIC"),
        *("reference", "REFERENCE"),
    )
    assert generated.image.getpixel((0, 0)) == (255, 0, 0)
    assert reference.image.size == (64, 64), "a file that is gone leaves a grey tile"
