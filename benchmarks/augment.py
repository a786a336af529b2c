"""Do the starter's synthetic images improve a classifier: of phantoms, and of real cells?

    python -m benchmarks.augment                       # both
    python -m benchmarks.augment --only cells --per-class 40
    python -m benchmarks.augment --only phantoms --phantoms 88 --per-class 1 --folds 2 --repeats 1
    python -m benchmarks.augment --only cells --classifier network

Phantoms: held-out ones (seeds and wordings that neither encoder nor generator was trained on), five folds, distributed
three times. Real cells: the cervix cells of `../shared/data/cytology`, tested on the patients that the starter's
encoder was not trained on (`retrieval.training.starter.smears.is_held_out`), of whom one has cells: intervals are of
that patient's slides. The starter's generator was trained on such reports, and on no real cell.

With `--classifier network`, a small network is trained from scratch on pixels, without encoder and probe. It is not
pretrained, so that all patients are tested, in five folds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine import describe_machine
from benchmarks.real_input import SHARED
from generation import CoinGenerator
from generation.phantom import phantom_cases, write_phantoms
from retrieval import (
    AugmentResult,
    Encoder,
    GeneratedImages,
    GenerationPlan,
    LabelledImages,
    Thumbnails,
    augment_check,
    manifest_images,
    train_network,
    train_probe,
)
from retrieval.training.starter.smears import is_held_out
from ui.commands.progress import progress
from ui.text.evaluation.augment import augment_text

PHANTOM_SEED = 31  # no other benchmark's


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="folder that holds cytology/")
    parser.add_argument("--only", choices=("phantoms", "cells"), help="one of the two")
    parser.add_argument("--classifier", choices=("probe", "network"), default="probe")
    parser.add_argument("--phantoms", type=int, default=240, help="five for each of 48 classes by default")
    parser.add_argument("--per-class", type=int, default=0, help="synthetic images of a class (4 of phantoms, 40)")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=0, help="how often patients are distributed anew (3; network 1)")
    parser.add_argument("--work", type=Path, help="folder that keeps vectors, so that an interrupted run resumes")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    manifest = options.data / "cytology" / "manifest.csv"
    if options.only != "phantoms" and not manifest.is_file():
        print(f"There is no {manifest}: name the folder that holds cytology/ with --data.", file=sys.stderr)
        return 1
    network = options.classifier == "network"
    encoder = Thumbnails() if network else Encoder(device=options.device)
    results: dict[str, AugmentResult] = {}
    print(describe_machine())
    if options.only != "cells":
        with tempfile.TemporaryDirectory() as folder:
            phantoms = phantom_cases(options.phantoms, seed=PHANTOM_SEED, split="held-out")
            images = manifest_images(write_phantoms(Path(folder), phantoms), encoder, work=options.work)
        results["phantoms"] = _check(images, encoder, options, options.per_class or 4, fractions=(0.25, 1.0))
    if options.only != "phantoms":
        images = manifest_images(manifest, encoder, kinds=("cell",), work=options.work)
        unseen = set() if network else {patient for patient in images.patients if is_held_out(patient)}
        fractions = (0.25, 1.0) if network else (0.1, 0.25, 1.0)
        results["cells"] = _check(
            images, encoder, options, options.per_class or (25 if network else 40), fractions=fractions,
            test_patients=unseen,
        )  # fmt: skip
    if options.json:
        report = {"machine": describe_machine(), "results": results}
        options.json.write_text(json.dumps(report, indent=2, default=dataclasses.asdict) + "\n", encoding="utf-8")
    return 0


def _check(
    images: LabelledImages, encoder: Encoder | Thumbnails, options: argparse.Namespace, per_class: int, **more: object
) -> AugmentResult:
    plan = GenerationPlan(CoinGenerator(device=options.device))
    source = GeneratedImages(plan, encoder, per_class=per_class, work=options.work)
    started = time.perf_counter()
    network = isinstance(encoder, Thumbnails)
    more |= {"train": train_network if network else train_probe, "repeats": options.repeats or (1 if network else 3)}
    more |= {"encoder": (encoder.name, encoder.fingerprint), "folds": options.folds}
    with progress("Generating", unit="images") as update:
        result = augment_check(images, source, progress=update, **more)
    print(f"\n{augment_text(result)}\n{time.perf_counter() - started:.0f} s", flush=True)
    return result


if __name__ == "__main__":
    raise SystemExit(main())
