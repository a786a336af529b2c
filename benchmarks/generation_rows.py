"""The rows of `generate`: one way to generate each, timed, kept also where it fails, and shown as a table."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.generation_floor import image_tflop
from generation import CoinGenerator

PUBLISHED = "published script"


@dataclass
class Row:
    """One way to generate, measured. Seconds are wall-clock; memory is the GPU's, in GB (10⁹ bytes)."""

    name: str
    preset: str
    batch: int
    images: int = 0
    seconds_an_image: float | None = None
    repetitions: list[float] = field(default_factory=list)
    """Seconds an image, of each."""
    first_image_s: float | None = None
    peak_gb: float | None = None
    peak_reserved_gb: float | None = None
    """The allocator's memory, with its gaps."""
    note: str = ""


@dataclass
class Bench:
    """The parameters that all rows share."""

    base: Path
    lora: Path
    device: str
    reports: list[str]
    repetitions: int
    queue: int
    size: int | None
    started: float
    budget_s: float | None
    rows: list[Row] = field(default_factory=list)

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"

    def left(self) -> float:
        """The rest of the budget, in seconds."""
        return float("inf") if self.budget_s is None else self.budget_s - (time.perf_counter() - self.started)

    def generator(self, **options: bool) -> CoinGenerator:
        return CoinGenerator(self.base, self.lora, device=self.device, **options)


def measure(
    bench: Bench,
    row: Row,
    generate_images: Callable[[str, int], int],
    warm_up: Callable[[], object] | None,
    repetitions: int,
) -> None:
    """Fill a row. `generate_images(report, seed)` generates images and returns their number."""
    if warm_up is not None:
        warm_up()
    with gpu_memory(bench, row):
        for number in range(repetitions):
            last = row.repetitions[-1] * row.images if row.repetitions else 0.0
            if number and last > bench.left():
                row.note = f"{number} of {repetitions} repetitions: no time for more"
                break
            started = time.perf_counter()
            row.images = generate_images(bench.reports[number % len(bench.reports)], 1000 + number)
            row.repetitions.append((time.perf_counter() - started) / row.images)
    row.seconds_an_image = statistics.median(row.repetitions)


@contextlib.contextmanager
def gpu_memory(bench: Bench, row: Row) -> Iterator[None]:
    """Peaks of the GPU's memory over the block, the larger of this and an earlier one of the same row."""
    import torch

    if not bench.on_gpu:
        yield
        return
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    yield
    torch.cuda.synchronize()
    row.peak_gb = max(row.peak_gb or 0, torch.cuda.max_memory_allocated() / 1e9)
    row.peak_reserved_gb = max(row.peak_reserved_gb or 0, torch.cuda.max_memory_reserved() / 1e9)


@contextlib.contextmanager
def row_of(bench: Bench, row: Row) -> Iterator[Row]:
    """Keep and print a row, also a failed one.

    A GPU is rented by the minute, and this may be the only run on it: a row that fails (out of memory, no compiler)
    must not stop the others. Its error is in the row and on stderr.
    """
    import torch

    bench.rows.append(row)
    if bench.on_gpu:
        torch.cuda.empty_cache()  # memory that earlier rows left with the allocator does not count for this row
    try:
        yield row
    except Exception as error:  # noqa: BLE001 - see above; nothing is hidden, the row reports the error
        row.note = f"failed: {type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
        traceback.print_exc()
    print(json.dumps({key: value for key, value in dataclasses.asdict(row).items() if value not in (None, "", [])}))
    sys.stdout.flush()


def table(rows: Sequence[Row], counts: dict[str, float]) -> str:
    """The rows as Markdown."""
    slow = next((row.seconds_an_image for row in rows if row.name == PUBLISHED), None)
    rate = counts.get("bf16_tflop_per_s")
    lines = [
        "| | preset | batch | s / image | × published | of the floor | first batch, s | peak GB (reserved) | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        taken = row.seconds_an_image
        cells = [
            row.name,
            row.preset,
            str(row.batch),
            "" if taken is None else f"{taken:.2f}",
            "" if taken is None or slow is None else f"{slow / taken:.2f}",
            "" if taken is None or rate is None else f"{image_tflop(row.preset, counts) / rate / taken:.0%}",
            "" if row.first_image_s is None else f"{row.first_image_s:.1f}",
            "" if row.peak_gb is None else f"{row.peak_gb:.2f} ({row.peak_reserved_gb:.2f})",
            row.note,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
