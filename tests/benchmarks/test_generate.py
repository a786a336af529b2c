"""The benchmark of speed: its arithmetic, and that one failed row costs no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.architecture import TINY, write_base
from benchmarks.generate import numbered_report
from benchmarks.generation_floor import floor
from benchmarks.generation_rows import PUBLISHED, Bench, Row, row_of, table
from generation.model.weights import find_base


@pytest.fixture
def bench() -> Bench:
    return Bench(Path("base"), Path("lora"), "cpu", [], repetitions=1, queue=1, size=None, started=0.0, budget_s=None)


def test_speed_up_and_share_of_the_floor() -> None:
    counts = {"unet_pass_tflop": 5.0, "decode_tflop": 10.0, "bf16_tflop_per_s": 500.0}
    rows = [
        Row("ours", "reference", 4, seconds_an_image=2.04, first_image_s=20.0, peak_gb=9.5, peak_reserved_gb=10.0),
        Row("ours", "draft", 4, seconds_an_image=0.84),
        Row(PUBLISHED, "reference", 1, seconds_an_image=10.2),
        Row("queue", "", 0, note="skipped: no time left"),
    ]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(rows, counts).splitlines()[2:]]
    # 100 passes of 5 TFLOP and 10 for decoding, at 500 a second: 1.02 s; 40 passes: 0.42 s.
    assert cells[0] == ["ours", "reference", "4", "2.04", "5.00", "50%", "20.0", "9.50 (10.00)", ""]
    assert cells[1][3:6] == ["0.84", "12.14", "50%"]
    assert cells[2][4] == "1.00"
    assert cells[3] == ["queue", "", "0", *[""] * 5, "skipped: no time left"]


@pytest.mark.slow
def test_the_floor_counts_every_operation(tmp_path: Path) -> None:
    """Decoding: of four times the pixels, four times the convolutions, and sixteen times the attention. A pass has
    also parts that do not grow with the image (the time's embedding, the prompt's keys and values).
    """
    base = find_base(write_base(tmp_path, TINY))
    small, large = (floor(base, "cpu", size) for size in (128, 256))
    assert 4 < large["decode_tflop"] / small["decode_tflop"] < 16
    assert 3 < large["unet_pass_tflop"] / small["unet_pass_tflop"] < 4
    assert "bf16_tflop_per_s" not in small


def test_a_failed_row_says_so_and_the_next_runs(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    with row_of(bench, Row("first", "draft", 1)):
        raise RuntimeError("out of memory\nand more")
    with row_of(bench, Row("second", "draft", 1)) as row:
        row.seconds_an_image = 1.0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed[0]["note"] == "failed: RuntimeError: out of memory"
    assert printed[1]["seconds_an_image"] == 1.0
    assert [row.name for row in bench.rows] == ["first", "second"]


def test_queued_reports_differ() -> None:
    assert len({numbered_report(number) for number in range(120)}) == 120
