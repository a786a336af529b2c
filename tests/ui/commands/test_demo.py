"""The demo: everything it promises is there, it is marked, and a second run adds nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from generation import read_provenance
from retrieval import RESEARCH_USE
from tests.ui.conftest import coin
from ui.commands import demo
from ui.pictures.contact_sheet import Section, contact_sheet


@pytest.mark.slow
def test_the_demo_runs_the_main_job(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "CASES", 48)  # one a class: tiny models learn nothing from more
    drawn: list[tuple[Section, ...]] = []
    monkeypatch.setattr(demo, "contact_sheet", lambda title, s: (drawn.append(s), contact_sheet(title, s))[1])
    out = tmp_path / "demo"
    result = coin("demo", "--out", out, "-k", "4")
    assert result.exit_code == 0, result.output
    assert "added 48 images" in result.stdout
    for part in ("=== By report ===", "=== By image ===", "SYNTHETIC: 2 generated images", str(out / "result.png")):
        assert part in result.stdout
    assert result.stdout.count(RESEARCH_USE) == 2
    assert result.stdout.count("[PHANTOM]") == 8
    assert f"coin ui --archive {out / 'archive'}" in result.stdout.splitlines()[-1]
    for path in sorted((out / "generated").iterdir()):
        made = read_provenance(path)
        assert made is not None
        assert made.synthetic
    with Image.open(out / "result.png") as sheet:
        assert sheet.width > 1000
        assert sheet.text["Comment"].startswith(RESEARCH_USE)  # type: ignore[attr-defined]
    generated, by_report, by_image = ([tile.title for tile in section.tiles] for section in drawn[0])
    assert len(generated) == len(list((out / "generated").iterdir())) == 2
    assert all(title.startswith("seed ") for title in generated)
    assert [title.partition(".")[0] for title in by_report] == ["1", "2", "3", "4"]
    points = [float(title.partition(".")[2].removesuffix(" points")) for title in by_report]
    assert points == sorted(points, reverse=True), "the number is the one that the cases are ordered by"
    assert [title.partition(".")[0] for title in by_image] == ["query", "1", "2", "3", "4"]

    assert "fields 96 µm wide" in result.stdout
    assert "µm a pixel of images: 0.75: 48" in coin("status", "--archive", out / "archive").stdout

    again = coin("demo", "--out", out, "-k", "4")
    assert "added 0 images, updated 0, unchanged 48" in again.stdout


def test_the_queries_are_not_in_the_archive() -> None:
    """Held out: neither their drawings nor their wordings are among the reference cases."""
    from generation.phantom import phantom_cases

    reference = phantom_cases(demo.CASES)
    for site, finding in (demo.REPORT_QUERY, demo.IMAGE_QUERY):
        asked = demo.held_out(site, finding)
        assert asked.split == "held-out"
        assert asked.key not in {phantom.key for phantom in reference}
        assert asked.report not in {phantom.report for phantom in reference}
