"""How much of the abnormal do the chosen fields of a slide keep, and how fast are they chosen?

    python -m benchmarks.slides

First the time from a slide's file to its chosen fields, against reading the same regions by OpenSlide alone in this
process, and the peak memory of both processes. Then, on composed slides (`benchmarks/phantom_slides.py`) and for every
rule, the share of abnormal fields of which at least half lies within the fields chosen, against fields by chance among
those that are not empty, and against all of these. The default rule was chosen on slides 0 to 13; others are measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe_machine
from benchmarks.phantom_slides import ABNORMAL, MPP, PhantomSlide, compose
from index_store import RULES, FieldChoice, Slide, choose_fields
from index_store.slides.slide import Region
from index_store.slides.survey import SQUARES, survey
from retrieval.statistics.estimate import bootstrap_mean

SHARED = Path(__file__).parents[1] / "../shared/data/slides"
COUNTS = (16, 64, 256)
DRAWS = 20
COVERED = 0.5
WIDTH_UM = FieldChoice().width_um
Corners = list[tuple[int, int]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--slides", type=int, default=7, help="composed slides")
    parser.add_argument(
        "--first", type=int, default=14, help="the first one's number; the rules were chosen on 0 to 13"
    )
    parser.add_argument("--fields", type=int, default=26, help="fields along a composed slide's edge")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder with real slides (*.svs)")
    options = parser.parse_args(arguments)
    paths = sorted(options.data.glob("*.svs"))
    if paths:
        columns = ("slide", "MP", "MP read", "fields", "choosing", "reading alone", "ratio")
        columns += ("processor: choosing + its reading", "processor: reading alone", "peak memory")
        print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    for path in paths:
        print(_speed(path), flush=True)
    print(f"\n{describe_machine()}")  # imports torch, whose memory is none of the slides'
    kept: dict[tuple[str, int], list[float]] = {}
    for seed in range(options.first, options.first + options.slides):
        slide = compose(seed, fields=options.fields)
        with tempfile.TemporaryDirectory() as folder:
            path = slide.write(Path(folder))
            for key, share in _kept(path, slide, seed).items():
                kept.setdefault(key, []).append(share)
        print(f"slide {seed} ({slide.site}): {(slide.truth == ABNORMAL).sum()} abnormal fields", file=sys.stderr)
    print(f"\n| rule (n = {options.slides} slides) | " + " | ".join(f"{count} fields" for count in COUNTS) + " |")
    print("|---" * (len(COUNTS) + 1) + "|")
    for rule in dict.fromkeys(name for name, _ in kept):
        print(f"| {rule} | " + " | ".join(str(bootstrap_mean(np.array(kept[rule, count]))) for count in COUNTS) + " |")
    return 0


def _kept(path: Path, truth: PhantomSlide, seed: int) -> dict[tuple[str, int], float]:
    """The share of the slide's abnormal fields that is kept, by rule and number of fields."""
    found = {}
    width = round(WIDTH_UM / MPP)
    with Slide(path) as slide:
        for rule in RULES:
            chosen = choose_fields(slide, FieldChoice(most=max(COUNTS), rule=rule, seed=seed)).fields
            corners = [(field.x, field.y) for field in chosen]
            for count in COUNTS:
                found[rule, count] = covered(truth.truth, truth.field, corners[:count], width)
        seen = survey(slide, MPP, WIDTH_UM, (0, 0, slide.info.width, slide.info.height))
    filled = [
        (round(column * seen.square), round(row * seen.square))
        for row in range(0, seen.stained.shape[0] - SQUARES + 1, SQUARES)
        for column in range(0, seen.stained.shape[1] - SQUARES + 1, SQUARES)
        if seen.stained[row : row + SQUARES, column : column + SQUARES].mean() >= FieldChoice().least_stained
    ]
    rng = np.random.default_rng(seed)
    for count in COUNTS:
        shares = []
        for _ in range(DRAWS):
            corners = [filled[number] for number in rng.permutation(len(filled))[:count]]
            shares.append(covered(truth.truth, truth.field, corners, width))
        found["by chance, not empty", count] = float(np.mean(shares))
        found["every tile, not empty", count] = covered(truth.truth, truth.field, filled, width)
    return found


def covered(truth: NDArray[np.uint8], field: int, corners: Corners, width: int) -> float:
    """The share of abnormal fields, of `field` pixels, of which half lies within squares of `width` at the corners."""
    kept = []
    for row, column in np.argwhere(truth == ABNORMAL):
        inside = np.zeros((field, field), np.bool_)
        for x, y in corners:
            top, left = y - row * field, x - column * field
            inside[max(top, 0) : max(top + width, 0), max(left, 0) : max(left + width, 0)] = True
        kept.append(inside.mean() >= COVERED)
    return float(np.mean(kept))


def _speed(path: Path) -> str:
    """A row of the table of times."""
    import openslide

    regions: list[Region] = []

    class Noting(Slide):
        def regions(self, requests: Sequence[Region]):  # type: ignore[no-untyped-def]
            regions.extend(requests)
            return super().regions(requests)

    started, own = time.perf_counter(), time.process_time()
    with Noting(path) as slide:
        chosen = choose_fields(slide)
        seconds, own = time.perf_counter() - started, time.process_time() - own
        assert slide._process is not None
        child, reading = _peak(slide._process.pid), _processor_seconds(slide._process.pid)
        size = slide.info.width * slide.info.height / 1e6
    started, used = time.perf_counter(), time.process_time()
    with openslide.OpenSlide(str(path)) as plain:
        for x, y, width, height, level, _ in regions:
            plain.read_region((x, y), level, (width, height)).convert("RGB")
    alone, used = time.perf_counter() - started, time.process_time() - used
    peak = (_peak("self") + child) / 1024
    return (
        f"| {path.stem} | {size:.0f} | {chosen.read_megapixels:.1f} | {len(chosen.fields)} | {seconds:.1f} s | "
        f"{alone:.1f} s | {seconds / alone:.2f} | {own:.2f} + {reading:.2f} s | {used:.2f} s | {peak:.0f} MB |"
    )


def _processor_seconds(process: int) -> float:
    """Seconds of the processor that another process has used, where the system tells it."""
    status = Path(f"/proc/{process}/stat")
    if not status.is_file():
        return 0.0
    user, system = status.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _peak(process: int | str) -> int:
    """Peak memory of a process in kB, where the system tells it."""
    status = Path(f"/proc/{process}/status")
    if not status.is_file():
        return 0
    return next((int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    raise SystemExit(main())
