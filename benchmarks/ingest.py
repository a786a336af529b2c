"""Images a second of `coin add`, against the encoder's forward pass alone on the same images and reports.

    python -m benchmarks.ingest [--manifest manifest.csv] [--encoder FOLDER] [--first 500]
    python -m benchmarks.ingest --model ViT-B-16 --first 100      # a large encoder with random weights
    python -m benchmarks.ingest --drawn 100000 --in-place         # many small images, for the memory it takes
    python -m benchmarks.ingest --drawn 8                         # smallest
    python -m benchmarks.ingest --decoding                        # threads against processes

The forward pass is timed on images that were decoded and prepared beforehand: it is the upper limit of any import.
The rest of the ratio is reading, decoding, storing and committing that could not run concurrently. Without a GPU they
share the cores with the encoder, so that the ratio cannot exceed the encoder's share of all work; the processor time of
both is printed for that.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks.machine import describe_machine
from index_store import Archive, decode_image, read_manifest
from retrieval import Encoder, add_manifest
from retrieval.encoder.encoder import Progress

SMALL_FORWARD = 1000
"""Small images of which the forward pass alone is timed: the others only need memory."""
SHARED = Path(__file__).parents[1] / "../shared/data/cytology/manifest.csv"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if not options.drawn and not options.manifest.is_file():
        print(f"There is no manifest {options.manifest}: name one with --manifest.", file=sys.stderr)
        return 1
    with TemporaryDirectory(dir=options.folder) as folder:
        model = random_model(Path(folder) / "model", options.model) if options.model else options.encoder
        manifest = write_small_images(Path(folder) / "drawn", options.drawn) if options.drawn else options.manifest
        options.images = manifest.parent
        if options.first:
            manifest = head(manifest, Path(folder) / "first.csv", options.first)
        measure = decoding if options.decoding else adding
        figures = measure(manifest, model, Path(folder), options)
    print(json.dumps(figures, indent=2) if options.json else "\n".join(f"{k:40} {v}" for k, v in figures.items()))
    return 0


def adding(manifest: Path, model: str | Path | None, folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """`coin add`, and the forward pass of the same images and reports before it, so that both read cached files."""
    encoder = Encoder(model, device=options.device).load()
    most = SMALL_FORWARD if options.drawn else None
    images, texts, forward, forward_cpu = _forward(encoder, manifest, options.images, most)
    begun = _peak()
    with Archive.create(folder / "archive") as archive:
        busy = time.process_time()
        with tqdm(desc="coin add", unit="image", file=sys.stderr) as bar:
            summary = add_manifest(
                archive, manifest, encoder, images=options.images, in_place=options.in_place, progress=_update(bar)
            )
        busy = time.process_time() - busy
        peak = _peak()
        second_add = add_manifest(archive, manifest, encoder, images=options.images, in_place=options.in_place)
    return {
        "machine": describe_machine(),
        "encoder": options.model or encoder.name,
        "device": encoder.device,
        "in place": options.in_place,
        "images": summary.added,
        "reports": summary.reports,
        "skipped": len(summary.skipped),
        "add, s": round(summary.seconds, 1),
        "add, images/s": round(summary.images_per_second, 1),
        "forward pass alone, s": round(forward, 1),
        "forward pass alone, images/s": round(images / forward, 1),
        "of it for reports": texts,
        "ratio": round(forward / images * summary.added / summary.seconds, 3),
        "processor time, add / forward pass, s": f"{busy:.1f} / {forward_cpu * summary.added / images:.1f}",
        "peak memory before / after, MB": f"{begun:.0f} / {peak:.0f}",
        "second add (nothing to do), s": round(second_add.seconds, 2),
    }


def decoding(manifest: Path, model: str | Path | None, folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """Images a second of reading, decoding and preparing alone, by as many threads or processes."""
    paths = [row.path for row in read_manifest(manifest, images=options.images).rows]
    figures: dict[str, object] = {"machine": describe_machine(), "images": len(paths)}
    for workers in (1, 2):
        figures[f"{workers} threads, images/s"] = _rate(ThreadPoolExecutor(workers), model, paths)
        figures[f"{workers} processes, images/s"] = _rate(ProcessPoolExecutor(workers), model, paths)
    return figures


def random_model(folder: Path, name: str) -> Path:
    """An open_clip architecture with random weights: as slow as the trained one, and no download."""
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir()
    network = open_clip.create_model(name)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / WEIGHTS)
    config = {
        "model_cfg": open_clip.get_model_config(name),
        "preprocess_cfg": open_clip.get_model_preprocess_cfg(network),
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


WEIGHTS = "open_clip_model.safetensors"


def write_small_images(folder: Path, count: int) -> Path:
    """A manifest of `count` small smooth pictures (JPEG, 128 pixels), four to a case."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "case", "patient", "report", "site"])
        for i in tqdm(range(count), desc="small images", file=sys.stderr):
            picture = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((128, 128))
            picture.save(folder / f"{i}.jpg")
            rows.writerow([f"{i}.jpg", f"case-{i // 4}", f"patient-{i // 8}", f"Smear {i // 4}.", "cervix"])
    return folder / "manifest.csv"


def head(manifest: Path, target: Path, count: int) -> Path:
    """The first rows of a CSV manifest, evenly spaced, as another one, which names files beside the first."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows = [rows[i] for i in np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return target


def _forward(encoder: Encoder, manifest: Path, folder: Path, most: int | None) -> tuple[int, int, float, float]:
    """Images and reports of the first `most` rows, and seconds and processor seconds of their forward passes, batch by
    batch."""
    rows, size = read_manifest(manifest, images=folder).rows[:most], encoder.batch_size
    reports = list({row.case: row.report for row in rows if row.report.strip()}.values())
    clock = _Clock()
    encoder.encode_prepared([encoder.prepare(decode_image(rows[0].path))] * 2)  # the first pass is slower
    for start in tqdm(range(0, len(rows), size), desc="forward pass alone", file=sys.stderr):
        prepared = [encoder.prepare(decode_image(row.path)) for row in rows[start : start + size]]
        clock.time(lambda batch=prepared: encoder.encode_prepared(batch))
    for start in range(0, len(reports), size):
        clock.time(lambda batch=reports[start : start + size]: encoder.encode_texts(batch))
    return len(rows), len(reports), clock.seconds, clock.busy


class _Clock:
    def __init__(self) -> None:
        self.seconds = self.busy = 0.0

    def time(self, work: Callable[[], object]) -> None:
        started, busy = time.perf_counter(), time.process_time()
        work()
        self.seconds += time.perf_counter() - started
        self.busy += time.process_time() - busy


def _rate(executor: Executor, model: str | Path | None, paths: Sequence[Path]) -> float:
    with executor:
        # Every worker loads the model before the clock starts.
        list(executor.map(_prepare, [model] * os.cpu_count(), paths[: os.cpu_count()]))  # type: ignore[operator]
        started = time.perf_counter()
        list(executor.map(_prepare, [model] * len(paths), paths, chunksize=8))
        return round(len(paths) / (time.perf_counter() - started), 1)


def _prepare(model: str | Path | None, path: Path) -> np.ndarray:
    """The picture and the encoder's prepared input, as the storing process would need both."""
    image = decode_image(path)
    _encoder(model).prepare(image)
    return np.asarray(image)


@cache
def _encoder(model: str | Path | None) -> Encoder:
    return Encoder(model).load()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _update(bar: tqdm) -> Progress:
    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return progress


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--manifest", type=Path, default=SHARED)
    parser.add_argument("--first", type=int, help="so many rows of the manifest, evenly spaced")
    parser.add_argument("--drawn", type=int, help="so many small images made for this, instead of a manifest")
    parser.add_argument("--encoder", help="a model's folder or 'hf-hub:org/name' (the starter, if not given)")
    parser.add_argument("--model", help="an open_clip architecture, with random weights")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--in-place", action="store_true", help="refer to the images in place")
    parser.add_argument("--decoding", action="store_true", help="decode only, by threads and by processes")
    parser.add_argument("--folder", type=Path, help="where the temporary archive is made")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
