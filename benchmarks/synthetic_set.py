"""A synthetic data set by the starter: speed, duplicates, and similarity to the training images of the starter.

    python -m benchmarks.synthetic_set
    python -m benchmarks.synthetic_set --reports 400 --training 24000
    python -m benchmarks.synthetic_set --reports 2 --per-report 1 --training 20 --hashes 200     # smallest

Reports of held-out phantoms (wordings and seeds of no training phantom) become a set as by `coin generate --manifest`;
a second run over it generates nothing. Then the set is compared with the first so many of the 24,000 phantoms that the
starter's generator was trained on (`coin copy-check --against`), and with held-out phantoms, which it was not trained
on: copied training images would be nearer to the former. Last, the time to find duplicates among many.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.machine import describe_machine
from generation import CoinGenerator
from generation.phantom import phantom_cases, write_phantoms
from generation.training.starter.dataset import TRAINING_SEED
from index_store import read_report_table
from retrieval import Encoder, SyntheticSet, check_copies, finish_set, images_of, manifest_references
from retrieval.generated.near_duplicate import ImageHashes, find_duplicates
from ui.commands.progress import progress
from ui.text.evaluation.synthetic import copy_text, set_text

SEED = 47  # no other benchmark's


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reports", type=int, default=150)
    parser.add_argument("--per-report", type=int, default=2)
    parser.add_argument("--training", type=int, default=4000, help="phantoms to compare with")
    parser.add_argument("--hashes", type=int, default=10_000, help="hashes among which duplicates are found")
    parser.add_argument("--preset", default="draft")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    print(describe_machine())
    generator, encoder = CoinGenerator(device=options.device), Encoder(device=options.device)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        query_manifest = write_phantoms(work / "queries", phantom_cases(options.reports, seed=SEED, split="held-out"))
        table = read_report_table(query_manifest)
        for _ in range(2):
            started = time.perf_counter()
            dataset = SyntheticSet(work / "set", table, generator, preset=options.preset, per_report=options.per_report)
            with progress("Generating", unit="images") as update:
                generated = dataset.generate(progress=update)
            seconds = time.perf_counter() - started
            summary = finish_set(dataset, generated=generated, seconds=seconds)
            ended = time.perf_counter() - started - seconds
            print(f"\n{set_text(summary)}\n{seconds:.1f} s to generate, {ended:.1f} s to finish the set", flush=True)
        for split, seed in (("train", TRAINING_SEED), ("held-out", SEED + 1)):
            print(f"\nreading {options.training} phantoms, split {split} …", file=sys.stderr)
            phantoms = phantom_cases(options.training, seed=seed, split=split)
            manifest = write_phantoms(work / split, phantoms)
            references = manifest_references(manifest, encoder)
            started = time.perf_counter()
            report = check_copies(images_of(work / "set"), references, encoder)
            print(f"\n==== against phantoms of the split {split}\n{copy_text(report)}")
            print(f"{time.perf_counter() - started:.1f} s to compare", flush=True)
    bits = np.random.default_rng(0).random((options.hashes, 256)) < 0.5
    hashes = [ImageHashes(str(number), row) for number, row in enumerate(bits)]
    started = time.perf_counter()
    find_duplicates(hashes)
    print(f"\n{options.hashes} hashes compared with each other: {time.perf_counter() - started:.1f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
