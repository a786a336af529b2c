"""The contact sheet: everything is on it, nothing overlaps its edge, and it says what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from retrieval import RESEARCH_USE
from ui.pictures.contact_sheet import (
    COLUMNS,
    LINE,
    MARGIN,
    TEXT_LINES,
    TILE,
    WIDTH,
    Section,
    Tile,
    _tile_text,
    contact_sheet,
    save_sheet,
)
from ui.pictures.sizes import fitted, png_bytes, readable

RED = (200, 30, 40)


def tile(size: tuple[int, int] = (64, 64), mark: str = "", text: str = "") -> Tile:
    return Tile(Image.new("RGB", size, RED), "title", text, mark)


def red_pixels(sheet: Image.Image) -> int:
    return int((np.asarray(sheet) == RED).all(axis=2).sum())


def test_every_tile_is_drawn_at_full_size() -> None:
    sheet = contact_sheet("Result", [Section("Nearest", "", (tile(),) * (COLUMNS + 2))])
    assert sheet.width == WIDTH
    assert red_pixels(sheet) == (COLUMNS + 2) * TILE * TILE


def test_rows_hold_as_many_tiles_as_there_are_columns() -> None:
    pixels = np.asarray(contact_sheet("Result", [Section("Nearest", "", (tile(),) * (COLUMNS + 2))]))
    red = (pixels == RED).all(axis=2)
    widths = red.sum(axis=1)
    assert sorted({int(width) for width in widths}) == [0, 2 * TILE, COLUMNS * TILE]
    assert list(dict.fromkeys(int(width) for width in widths if width)) == [COLUMNS * TILE, 2 * TILE]


def test_a_text_is_cut_after_so_many_lines_with_an_ellipsis() -> None:
    def lines(words: int) -> tuple[str, ...]:
        return _tile_text(tile(text="\n".join(f"word {number}" for number in range(words))))

    assert len(lines(TEXT_LINES)) == TEXT_LINES
    assert not lines(TEXT_LINES)[-1].endswith("…")
    cut = lines(TEXT_LINES + 1)
    assert len(cut) == TEXT_LINES
    assert cut[:-1] == lines(TEXT_LINES)[:-1]
    assert cut[-1] == "word …"


def test_a_section_is_as_high_as_its_longest_tile() -> None:
    few, many = tile(text="a"), tile(text="a\nb\nc")
    height = contact_sheet("Result", [Section("Nearest", "", (few, many))]).height
    assert height == contact_sheet("Result", [Section("Nearest", "", (many, many))]).height
    assert height == contact_sheet("Result", [Section("Nearest", "", (few, few))]).height + 2 * LINE


def test_rows_lie_a_gap_below_the_text_of_those_above() -> None:
    """Of tiles with two lines: from one picture's top to the next one's, its title's 30 pixels, the lines, a gap."""
    section = Section("Nearest", "", (tile(text="a\nb"),) * (COLUMNS + 1))
    red = (np.asarray(contact_sheet("Result", [section])) == RED).all(axis=2).any(axis=1)
    tops = [y for y in range(1, len(red)) if red[y] and not red[y - 1]]
    assert np.diff(tops).tolist() == [TILE + 30 + 2 * LINE + 20]
    two = contact_sheet("Result", [section, section])
    assert two.height - contact_sheet("Result", [section]).height == 34 + 10 + 2 * (TILE + 30 + 2 * LINE + 20) + 20


def test_a_mark_is_written_over_the_picture() -> None:
    plain = contact_sheet("Result", [Section("Nearest", "", (tile(),))])
    marked = contact_sheet("Result", [Section("Nearest", "", (tile(mark="SYNTHETIC"),))])
    assert red_pixels(marked) < red_pixels(plain)


def test_long_texts_stay_on_the_sheet() -> None:
    words = "word " * 100 + "endless" * 50
    sheet = contact_sheet("Result", [Section("By report", words, (tile(text=words),) * COLUMNS)])
    pixels = np.asarray(sheet)
    assert (pixels[:, : MARGIN - 1] == 255).all()
    assert (pixels[:, WIDTH - MARGIN + 1 :] == 255).all()


def test_the_file_says_that_it_is_for_research(tmp_path: Path) -> None:
    path = save_sheet(contact_sheet("Result", []), tmp_path / "sheet.png")
    with Image.open(path) as saved:
        assert saved.text["Comment"].startswith(RESEARCH_USE)  # type: ignore[attr-defined]


def test_small_images_are_enlarged_and_large_ones_reduced() -> None:
    assert readable(Image.new("RGB", (128, 64))).size == (256, 128)
    assert readable(Image.new("RGB", (4000, 3000)), at_most=1200).size == (1200, 900)
    assert readable(Image.new("RGB", (300, 200))).size == (300, 200)
    assert fitted(Image.new("RGB", (3000, 1)), 100).size == (100, 1)


def test_png_bytes_are_the_same_pixels() -> None:
    import io

    image = Image.effect_noise((20, 10), 80).convert("RGB")
    with Image.open(io.BytesIO(png_bytes(image))) as again:
        assert again.format == "PNG"
        assert again.tobytes() == image.tobytes()
