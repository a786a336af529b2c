"""What grows faster than its work is named, and the page says what was measured."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.growth_report import ADDING, MEMORY, beyond_limits, faster_than_its_work, picture, slope, table, write

MEASURED = {
    1_000: {"facets": [0.001], "status": [0.002, 0.003, 0.002], "coin backup": [0.1], ADDING: [1.0], MEMORY: [50.0]},
    10_000: {"facets": [0.001], "status": [0.020], "coin backup": [1.0], ADDING: [1.2], MEMORY: [90.0]},
}


def test_slopes() -> None:
    assert slope(MEASURED, "facets") == 0.0
    assert slope(MEASURED, "status") == pytest.approx(1.0)
    assert slope({10: MEASURED[1_000]}, "status") is None


def test_what_grows_faster_than_its_work_is_named() -> None:
    (line,) = faster_than_its_work(MEASURED)
    assert line.startswith("status: slope 1.00")
    quadratic = {**MEASURED, 10_000: {**MEASURED[10_000], "coin backup": [10.0], ADDING: [1.4], MEMORY: [900.0]}}
    status, backup, adding, memory = faster_than_its_work(quadratic)
    assert backup.startswith("coin backup: slope 2.00, and its work's is 1")
    assert adding.startswith(f"{ADDING}: 1.40 times")
    assert memory.startswith(f"{MEMORY}: slope 1.26")
    assert status.startswith("status")


def test_what_takes_longer_than_is_wanted_is_named() -> None:
    found = {100_000: {"status": [0.009, 0.02, 0.009], "facets": [0.011], MEMORY: [401.0]}, 10: {"status": [1.0]}}
    assert beyond_limits(found) == [
        "facets, 100,000 images: 11.0, 10 were wanted",
        f"{MEMORY}, 100,000 images: 401.0, 400 were wanted",
    ]


def test_the_page_and_its_picture(tmp_path: Path) -> None:
    write(tmp_path, MEASURED, "a machine", clock="processor", repetitions=5)
    page = (tmp_path / "growth.md").read_text(encoding="utf-8")
    assert "| status | 2.0 (3.0) | 20.0 | 1.00 |" in page.splitlines()
    assert "- status: slope 1.00, and its work's is 0" in page
    assert "--clock processor --repetitions 5 --sizes 1000 10000 --write docs" in page
    assert page.rstrip().endswith("Nothing."), "no limit is known of these sizes"
    assert table(MEASURED) in page
    shapes = ElementTree.fromstring((tmp_path / "growth.svg").read_text(encoding="utf-8"))
    lines = [shape for shape in shapes if shape.tag.endswith("polyline")]
    assert len(lines) == len(MEASURED[1_000]) - 1  # all but the memory
    numbers = [float(part) for line in lines for pair in line.get("points", "").split() for part in pair.split(",")]
    assert all(0 <= number <= 980 for number in numbers)
    assert picture({1_000: MEASURED[1_000]}).count("<polyline") == len(lines)
