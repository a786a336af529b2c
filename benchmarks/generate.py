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
import contextlib
import dataclasses
import gc
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import architecture
from benchmarks.machine import describe_machine
from generation import PRESETS, CoinGenerator, Preset
from generation.model.files.weight_files import STARTER
from generation.model.weights import Base, find_base

PUBLISHED = "published script"
QUEUE_BATCH = 8


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


def floor(base: Base, device: str, size: int | None) -> dict[str, float]:
    """TFLOP of one UNet pass and of decoding one image, and on a GPU its measured bfloat16 rate in TFLOP/s."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from torch.utils.flop_counter import FlopCounterMode

    edge = size or base.size
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(base.config("unet")).eval()
        vae = AutoencoderKL.from_config(base.config("vae")).eval()
        side = edge // base.size_step
        latents = torch.empty(1, unet.config.in_channels, side, side)
        pooled = unet.config.projection_class_embeddings_input_dim - 6 * unet.config.addition_time_embed_dim
        added = {"text_embeds": torch.empty(1, pooled), "time_ids": torch.empty(1, 6)}
        words = torch.empty(1, 77, unet.config.cross_attention_dim)
    counts = {}
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            unet(latents, torch.empty(1, device="meta"), encoder_hidden_states=words, added_cond_kwargs=added)
        counts["unet_pass_tflop"] = counter.get_total_flops() / 1e12
        with FlopCounterMode(display=False) as counter:
            vae.decode(latents)
        counts["decode_tflop"] = counter.get_total_flops() / 1e12
    if device == "cuda":
        counts["bf16_tflop_per_s"] = _matmul_rate()
    return counts


def _matmul_rate(edge: int = 8192, times: int = 20) -> float:
    """TFLOP/s of a bfloat16 matrix product of random numbers: the median."""
    import torch

    left, right = (torch.randn(edge, edge, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    seconds = []
    for _ in range(times):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        left @ right
        end.record()
        end.synchronize()
        seconds.append(begin.elapsed_time(end) / 1000)
    return 2 * edge**3 / statistics.median(seconds) / 1e12


def _image_tflop(preset: str, counts: dict[str, float]) -> float:
    chosen = PRESETS[preset]
    return chosen.steps * (2 if chosen.guidance > 1 else 1) * counts["unet_pass_tflop"] + counts["decode_tflop"]


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
            "" if taken is None or rate is None else f"{_image_tflop(row.preset, counts) / rate / taken:.0%}",
            "" if row.first_image_s is None else f"{row.first_image_s:.1f}",
            "" if row.peak_gb is None else f"{row.peak_gb:.2f} ({row.peak_reserved_gb:.2f})",
            row.note,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def floor_text(counts: dict[str, float]) -> str:
    text = f"One UNet pass is {counts['unet_pass_tflop']:.4g} TFLOP, decoding one image {counts['decode_tflop']:.4g}."
    if rate := counts.get("bf16_tflop_per_s"):
        floors = ", ".join(f"{name} {_image_tflop(name, counts) / rate:.2f} s" for name in ("reference", "draft"))
        text += f" The GPU's bfloat16 matrix product runs at {rate:.0f} TFLOP/s: the floor for each image is {floors}."
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    started = time.perf_counter()
    device = options.device or _device()
    with TemporaryDirectory(dir=options.folder) as folder:
        base, lora, kind = _weights(options, Path(folder), device)
        _start_device(device)
        reports = [_report(number) for number in range(max(options.reports, 8))]
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


def _report(number: int) -> str:
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
