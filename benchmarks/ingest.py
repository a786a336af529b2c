"""Images a second of `coin add`, against the encoder's forward pass alone on the same images in the same run.

    python -m benchmarks.ingest [--manifest manifest.csv] [--encoder FOLDER]

The forward pass is timed on images that were decoded and prepared beforehand: it is what no ingest can beat.
What is left of the ratio is reading, decoding, storing and committing that could not be done beside it.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from benchmarks.machine import describe_machine
from index_store import Archive, decode_image, read_manifest
from retrieval import Encoder, add_manifest
from retrieval.encoder import Progress

SHARED = Path(__file__).parents[1] / "../shared/data/cytology/manifest.csv"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if not options.manifest.is_file():
        print(f"There is no manifest {options.manifest}: name one with --manifest.", file=sys.stderr)
        return 1
    encoder = Encoder(options.encoder, device=options.device).load()
    with TemporaryDirectory(dir=options.folder) as folder, Archive.create(Path(folder) / "archive") as archive:
        with tqdm(desc="coin add", unit="image", file=sys.stderr) as bar:
            summary = add_manifest(archive, options.manifest, encoder, in_place=options.in_place, progress=_draw(bar))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        again = add_manifest(archive, options.manifest, encoder, in_place=options.in_place)
    forward = _forward_rate(encoder, options.manifest)
    figures = {
        "machine": describe_machine(),
        "encoder": encoder.name,
        "device": encoder.device,
        "in place": options.in_place,
        "images": summary.added,
        "skipped": len(summary.skipped),
        "add, s": round(summary.seconds, 1),
        "add, images/s": round(summary.images_per_second, 1),
        "forward pass alone, images/s": round(forward, 1),
        "ratio": round(summary.images_per_second / forward, 3),
        "peak memory, MB": round(peak),
        "second add (nothing to do), s": round(again.seconds, 2),
    }
    print(json.dumps(figures, indent=2) if options.json else "\n".join(f"{k:32} {v}" for k, v in figures.items()))
    return 0


def _forward_rate(encoder: Encoder, manifest: Path) -> float:
    """Images a second of the forward pass over all images of the manifest that can be decoded, batch by
    batch.
    """
    paths = [row.path for row in read_manifest(manifest).rows]
    seconds, size = 0.0, encoder.batch_size
    for start in tqdm(range(0, len(paths), size), desc="forward pass alone", file=sys.stderr):
        prepared = [encoder.prepare(decode_image(path)) for path in paths[start : start + size]]
        started = time.perf_counter()
        encoder.encode_prepared(prepared)
        seconds += time.perf_counter() - started
    return len(paths) / seconds


def _draw(bar: tqdm) -> Progress:
    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return progress


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--manifest", type=Path, default=SHARED)
    parser.add_argument("--encoder", help="a model's folder or 'hf-hub:org/name' (the starter, if not given)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--in-place", action="store_true", help="refer to the images where they lie")
    parser.add_argument("--folder", type=Path, help="where the temporary archive is made")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
