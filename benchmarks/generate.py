"""Seconds for each image, in one run: COIN's published script against this project's generator.

    python -m benchmarks.generate --architecture sdxl     # a GPU: the full-size architecture with random weights
    python -m benchmarks.generate                         # a CPU: the starter
    python -m benchmarks.generate --base FOLDER --lora FOLDER

The published script is float32, not compiled, 50 steps, guidance 7.5, one image at a time, with the LoRA beside the
weights. Every row generates whole images; none is extrapolated. A row is timed after a warm-up of the same batch (2
steps), by the wall clock up to the finished picture on the CPU; its figure is the median of its repetitions. The time
to the first image counts from nothing loaded (without imports and the GPU's start) to the first finished batch.

The floor is arithmetic: the floating-point operations of an image's UNet passes and of its decoding, counted by torch
on the model's shapes, over the rate of a large bfloat16 matrix product measured on the same GPU.

With --budget-s, rows run in the order of their importance; rows that no longer fit are skipped and listed.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import json
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import architecture
from benchmarks.generation_floor import floor, floor_text
from benchmarks.generation_rows import PUBLISHED, Bench, Row, gpu_memory, measure, row_of, table
from benchmarks.machine import describe_machine
from generation import PRESETS, CoinGenerator, Preset
from generation.model.files.weight_files import STARTER
from generation.model.weights import find_base

QUEUE_BATCH = 8


def ours(bench: Bench, generator: CoinGenerator, row: Row, *, first: bool = False) -> None:
    """Time `generate` for one report with `row.batch` images. `first`: the generator is new, and its first batch is
    timed by itself.
    """
    preset = PRESETS[row.preset]

    def generate_images(report: str, seed: int, preset: Preset = preset) -> int:
        generation = generator.generate(
            report, n=row.batch, seed=seed, preset=preset, batch_size=row.batch, size=bench.size
        )
        return len(generation.images)

    if first:
        with gpu_memory(bench, row):
            started = time.perf_counter()
            generate_images("A first report.", 1)
            row.first_image_s = time.perf_counter() - started
    short = dataclasses.replace(preset, name="warm-up", steps=2)
    measure(
        bench,
        row,
        generate_images,
        None if first else lambda: generate_images("A report to warm up.", 2, short),
        bench.repetitions,
    )


def reference_and_draft(bench: Bench) -> None:
    """Both presets, one and four images for each report, from one generator."""
    generator = bench.generator()
    for number, (preset, batch) in enumerate((("reference", 1), ("reference", 4), ("draft", 4), ("draft", 1))):
        with row_of(bench, Row("ours", preset, batch)) as row:
            ours(bench, generator, row, first=number == 0)


def published(bench: Bench) -> None:
    """COIN's README, line for line, timed: without this project's code."""
    import torch
    from diffusers import DiffusionPipeline

    with row_of(bench, Row(PUBLISHED, "reference", 1)) as row:

        def generate_images(report: str, seed: int = 0, steps: int = 50) -> int:
            del seed  # the script sets none
            return len(pipe(report, num_inference_steps=steps, guidance_scale=7.5, **size).images)

        size = {} if bench.size is None else {"height": bench.size, "width": bench.size}
        with gpu_memory(bench, row):
            started = time.perf_counter()
            # Of published weights float32 is the format on disk and what the script gets; here the files are float16.
            pipe = DiffusionPipeline.from_pretrained(bench.base, use_safetensors=True, dtype=torch.float32)
            pipe.load_lora_weights(str(bench.lora))
            pipe.to(bench.device)
            pipe.set_progress_bar_config(disable=True)
            generate_images("A first report.")
            row.first_image_s = time.perf_counter() - started
        measure(bench, row, generate_images, None, bench.repetitions)


def low_memory(bench: Bench) -> None:
    generator = bench.generator(low_memory=True)
    for preset in ("reference", "draft"):
        with row_of(bench, Row("ours, low memory", preset, 1)) as row:
            ours(bench, generator, row, first=preset == "reference")


def compiled(bench: Bench) -> None:
    generator = bench.generator(compiled=True)
    with row_of(bench, Row("ours, compiled", "reference", 4)) as row:
        ours(bench, generator, row, first=True)
    with row_of(bench, Row("ours, compiled", "draft", 4)) as row:
        ours(bench, generator, row)


def queue(bench: Bench) -> None:
    """Many reports with one image each, in batches across reports. Once: that is as many images as reports."""
    generator = bench.generator()
    with row_of(bench, Row(f"ours, queue of {bench.queue} reports", "draft", QUEUE_BATCH)) as row:

        def run(_report: str, seed: int, preset: Preset = PRESETS["draft"]) -> int:
            requests = [(report, [seed + number]) for number, report in enumerate(bench.reports[: bench.queue])]
            generations = generator.generate_queue(requests, preset=preset, batch_size=QUEUE_BATCH, size=bench.size)
            return sum(len(generation.images) for generation in generations)

        short = dataclasses.replace(PRESETS["draft"], name="warm-up", steps=2)
        first = [(report, [0]) for report in bench.reports[:QUEUE_BATCH]]

        def warm_up() -> None:
            list(generator.generate_queue(first, preset=short, batch_size=QUEUE_BATCH, size=bench.size))

        measure(bench, row, run, warm_up, repetitions=1)


# In the order of importance, each with the seconds that must be left for it to start: guesses for a data-centre GPU.
GROUPS: tuple[tuple[str, Callable[[Bench], None], float], ...] = (
    ("ours", reference_and_draft, 60),
    ("published", published, 55),
    ("low memory", low_memory, 35),
    ("queue", queue, 60),
    ("compiled", compiled, 90),
)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    started = time.perf_counter()
    device = options.device or _device()
    with TemporaryDirectory(dir=options.folder) as folder:
        base, lora, kind = _weights(options, Path(folder), device)
        _start_device(device)
        reports = [numbered_report(number) for number in range(max(options.reports, 8))]
        bench = Bench(
            base, lora, device, reports, options.repetitions, options.reports, options.size, started, options.budget_s
        )
        print(f"{kind}\n{describe_machine()}\n{time.perf_counter() - started:.1f} s to here", flush=True)
        counts: dict[str, float] = {}

        def keep() -> None:
            if options.json:
                figures = {"machine": describe_machine(), "model": kind, "floor": counts, "rows": bench.rows}
                options.json.write_text(json.dumps(figures, indent=2, default=dataclasses.asdict), encoding="utf-8")

        try:
            counts.update(floor(find_base(base), device, options.size))
            print(floor_text(counts), flush=True)
        except Exception:  # noqa: BLE001 - as in `row_of`: the rows are worth having without it
            traceback.print_exc()
        for name, group, needed in GROUPS:
            if options.only and name not in options.only:
                continue
            if bench.left() < needed:
                print(f"skipped: {name} ({bench.left():.0f} s left, {needed} needed)", flush=True)
                bench.rows.append(Row(name, "", 0, note="skipped: no time left"))
                continue
            _run_group(group, bench)
            keep()
            print(f"{time.perf_counter() - started:.1f} s to here", flush=True)
    print(f"\n{kind}\n{describe_machine()}\n\n{table(bench.rows, counts)}\n")
    if counts:
        print(floor_text(counts))
    return 0


def _run_group(group: Callable[[Bench], None], bench: Bench) -> None:
    """Run the rows of a group, and release their memory on the GPU."""
    import torch

    try:
        group(bench)
    except Exception:  # noqa: BLE001 - as in `row_of`
        traceback.print_exc()
    gc.collect()
    if bench.on_gpu:
        torch.cuda.empty_cache()


def numbered_report(number: int) -> str:
    """The number-th report, in the shape of COIN's; no two of the first 120 are the same text."""
    sites = ("Ascites", "Pleural effusion", "Thyroid", "Urine", "Sputum", "Lymph node", "Breast", "Pancreas")
    cells = ("clustered atypical cells", "papillary clusters", "single large cells", "small round cells", "glands")
    ends = ("consistent with adenocarcinoma", "suspicious for malignancy", "no cancer cells were found")
    site, kind, end = (words[number % len(words)] for words in (sites, cells, ends))
    return f"({site}) smear shows {kind} with enlarged nuclei and scant cytoplasm, {end}."


def _device() -> str:
    from generation import choose_device

    return choose_device()


def _start_device(device: str) -> None:
    """Imports, the GPU's context and its libraries are loaded before any row: no row's time includes them."""
    import peft  # noqa: F401
    import torch
    from diffusers import StableDiffusionXLPipeline  # noqa: F401

    if device == "cuda":
        for dtype in (torch.float32, torch.bfloat16):
            square = torch.randn(1, 64, 64, 64, device=device, dtype=dtype)
            torch.nn.functional.conv2d(square @ square, torch.randn(64, 64, 3, 3, device=device, dtype=dtype))
        torch.cuda.synchronize()


def _weights(options: argparse.Namespace, folder: Path, device: str) -> tuple[Path, Path, str]:
    """Folders of the base and the LoRA, and their description."""
    if options.architecture:
        kind: Any = {"sdxl": architecture.SDXL, "tiny": architecture.TINY}[options.architecture]
        base = architecture.write_base(folder / "base", kind, device=device)
        lora = architecture.write_lora(folder / "lora", kind, rank=options.rank)
        return base, lora, f"architecture {options.architecture}, random weights, LoRA of rank {options.rank} (assumed)"
    if options.base:
        return options.base, options.lora, f"base {options.base.name}, LoRA {options.lora.name}"
    return STARTER / "base", STARTER / "lora", "the starter"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--architecture", choices=("sdxl", "tiny"), help="random weights of this architecture")
    parser.add_argument("--rank", type=int, default=architecture.ASSUMED_RANK, help="of the LoRA with --architecture")
    parser.add_argument("--base", type=Path, help="a base's folder (with --lora)")
    parser.add_argument("--lora", type=Path, help="a LoRA's folder")
    parser.add_argument("--size", type=int, help="pixels a side, instead of the base's own")
    parser.add_argument("--reports", type=int, default=64, help="reports in the queue")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--budget-s", type=float, help="seconds in all; what does not fit is skipped")
    parser.add_argument("--only", nargs="+", choices=[name for name, _, _ in GROUPS])
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument("--folder", type=Path, help="where the weights of --architecture are written")
    parser.add_argument("--json", type=Path, help="also write the figures to this file, after every group of rows")
    options = parser.parse_args(arguments)
    if (options.base is None) != (options.lora is None):
        parser.error("--base and --lora belong together")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
