"""Outside the laboratory it learned from: what an image tower finds of material that its training did not have.

    python -m benchmarks.transfer --imagenet FILE --work runs/transfer

Two trainings by the starter's recipe, each without one kind of material, and tested on that: cells and fields of the
cervix (CRIC; learned from: phantoms, blood and the two atlas sites), and phantoms (learned from: all smears). Beside
them ImageNet's tower as it is, and a colour histogram. The shipped weights learned from most of these images; their
rows are marked. How a tower is read (its last layer, its stages, both) is chosen by this table and by nothing else.

Each image is a query, its patient is left out of the results, and P@5 is macro over categories (of phantoms: site and
category), with intervals from resampled patients. "Stain" and "zoom" are a share of the queries as another laboratory
would show them (`benchmarks.stain`) and cut to the middle seven tenths, against the images as they are.

Data: `../shared/data/cytology`, read in place. `--imagenet` is timm's tf_efficientnet_lite0 as safetensors; each
training takes some 10 minutes of a core, and is kept in `--work`.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from benchmarks.machine import describe_machine
from benchmarks.real_cells import read_smears
from benchmarks.real_input import SHARED
from benchmarks.stain import perturb_stain
from generation.atomic_write import new_folder
from generation.phantom import PROFILES, phantom_cases
from generation.phantom.reports import write_report
from generation.phantom.wording import Wording
from generation.training.starter.dataset import render_training_set
from retrieval import Encoder
from retrieval.encoder.colour_histogram import colour_histogram
from retrieval.encoder.model_files import STARTER
from retrieval.statistics.cluster_bootstrap import MacroBootstrap
from retrieval.training.starter.clip import EMBED_DIM, write_imagenet_start
from retrieval.training.starter.image_tower import train_image_tower
from retrieval.training.starter.sampler import Pairs
from retrieval.training.starter.smears import load_smears
from retrieval.training.starter.stage_directions import write_stage_readout

NEAREST = 5
TRAINING_PHANTOMS = 2_000
STEPS = 360
BATCH = 64
SIZE = 128
ZOOM = 0.7

log = logging.getLogger("transfer").info


@dataclass(frozen=True, eq=False)
class TestSet:
    """Images that are queries and archive, with a category and a patient each: int[n]."""

    name: str
    images: list[Image.Image]
    label: np.ndarray
    patient: np.ndarray
    altered: dict[str, list[Image.Image]]
    """Of every STEP-th image, by what was done to it."""
    step: int

    @classmethod
    def of(
        cls, name: str, images: list[Image.Image], label: Sequence[str], patient: Sequence[str], step: int
    ) -> TestSet:
        rng, some = np.random.default_rng(0), images[::step]
        altered = {"stain": [perturb_stain(image, rng) for image in some], "zoom": [zoomed(image) for image in some]}
        labels, patients = (np.unique(names, return_inverse=True)[1] for names in (label, patient))
        return cls(name, images, labels, patients, altered, step)


def zoomed(image: Image.Image) -> Image.Image:
    """The middle of an image, ZOOM of its side."""
    width, height = (round(side * (1 - ZOOM) / 2) for side in image.size)
    return image.crop((width, height, image.width - width, image.height - height))


def test_sets(manifest: Path, phantom_count: int) -> list[TestSet]:
    """Cells and fields of the cervix, and held-out phantoms."""
    smears = read_smears(manifest)
    sets = []
    for name, chosen, step in (
        ("cells", smears.cell, 4),
        ("fields", (smears.site == "cervix") & ~smears.cell, 1),
    ):
        rows = np.flatnonzero(chosen)
        images = [smears.images[i] for i in rows]
        sets.append(TestSet.of(name, images, smears.category[rows].tolist(), smears.patient[rows].tolist(), step))
    phantoms = phantom_cases(phantom_count, seed=11, split="held-out")
    labels = [f"{phantom.profile.site} {phantom.profile.category}" for phantom in phantoms]
    images = [phantom.render(SIZE) for phantom in phantoms]
    return [*sets, TestSet.of("phantoms", images, labels, [phantom.key for phantom in phantoms], 2)]


def train_towers(manifest: Path, imagenet: Path, work: Path) -> None:
    """`work`/imagenet, and the two trainings beside it; a folder that exists is finished."""
    others = load_smears(manifest, first_label=len(PROFILES), leave_out=lambda patient: patient.startswith("cric"))
    if not (work / "imagenet").exists():
        with new_folder(work / "imagenet") as unfinished:
            write_imagenet_start(imagenet, STARTER, unfinished)
            write_stage_readout(unfinished, [others.images])
    rendered = render_training_set(work, TRAINING_PHANTOMS)

    def report(i: int, rng: np.random.Generator) -> str:
        return write_report(rendered.phantoms[i].morphology, Wording(rng, held_out=False))

    phantoms = Pairs(rendered.images, rendered.findings, report)
    smears = load_smears(manifest, first_label=0, leave_out=lambda patient: False)
    trainings = {
        "without-cervix": [(phantoms, BATCH // 2), (others, BATCH // 2)],
        "without-phantoms": [(smears, BATCH)],
    }
    for name, sources in trainings.items():
        if (work / name).exists():
            continue
        with new_folder(work / name) as unfinished:
            train_image_tower(sources, STARTER, unfinished, steps=STEPS, start_from=work / "imagenet", log=log)
            write_stage_readout(unfinished, [pairs.images for pairs, _ in sources])


def last_layer(folder: Path, images: Sequence[Image.Image]) -> np.ndarray:
    """What ImageNet's tower hands to its classifier, unit rows float32[n, 1280]."""
    from retrieval.training.starter.clip import new_clip

    trunk, rows = new_clip(folder, start_from=folder)[0].visual.trunk.eval(), []
    for start in range(0, len(images), BATCH):
        squares = [
            np.asarray(ImageOps.fit(image, (SIZE, SIZE), Image.Resampling.BICUBIC))
            for image in images[start : start + BATCH]
        ]
        batch = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.inference_mode():
            rows.append(trunk.forward_head(trunk.forward_features(batch), pre_logits=True).numpy())
    return unit(np.concatenate(rows))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embedded(
    images: Sequence[Image.Image], encoders: Mapping[str, Encoder], work: Path | None
) -> dict[str, np.ndarray]:
    """Unit rows of the images by the way they are read."""
    ways = {"colour histogram": np.stack([colour_histogram(np.asarray(image)) for image in images])}
    if work is not None:
        ways["ImageNet: last layer"] = last_layer(work / "imagenet", images)
    for name, encoder in encoders.items():
        rows = encoder.encode_images(images)
        own, stages = rows[:, :EMBED_DIM], rows[:, EMBED_DIM:]
        if name != "ImageNet":
            ways[f"{name}: last layer"] = unit(own)
            ways[f"{name}: both"] = rows
        ways[f"{name}: stages"] = unit(stages)
    return ways


def precision(
    queries: np.ndarray, archive: np.ndarray, label: np.ndarray, patient: np.ndarray, step: int
) -> np.ndarray:
    """P@5 of every step-th image by its query row: float[q]."""
    rows = np.arange(0, len(archive), step)
    scores = queries @ archive.T
    scores[patient[rows][:, None] == patient] = -np.inf
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :NEAREST]
    return (label[nearest] == label[rows][:, None]).mean(axis=1)


def table(test: TestSet, encoders: Mapping[str, Encoder], work: Path | None) -> str:
    """One test set: every way of reading, as it is, differently stained, and zoomed."""
    archive = embedded(test.images, encoders, work)
    altered = {name: embedded(images, encoders, work) for name, images in test.altered.items()}
    lines = [
        f"| {test.name} ({len(test.images)} images) | P@5 | minus colour | {' | '.join(test.altered)} |",
        "|---" * (3 + len(test.altered)) + "|",
    ]
    bootstrap = MacroBootstrap(test.patient, test.label, int(test.label.max()) + 1)
    present = np.unique(test.label)
    values = {way: precision(rows, rows, test.label, test.patient, 1) for way, rows in archive.items()}
    averages = {way: found[0] for way, found in bootstrap.mean(values, [present]).items()}
    some = slice(None, None, test.step)
    of_some = MacroBootstrap(test.patient[some], test.label[some], int(test.label.max()) + 1)
    for way, rows in archive.items():
        cells = [str(averages[way].estimate)]
        cells.append("" if way == "colour histogram" else str(averages[way].minus(averages["colour histogram"])))
        for found in altered.values():
            share = precision(found[way], rows, test.label, test.patient, test.step)
            cells.append(f"{of_some.mean({way: share}, [np.unique(test.label[some])])[way][0].mean:.3f}")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    manifest = options.data / "cytology" / "manifest.csv"
    if not manifest.is_file():
        print(f"There is no {manifest}: name the folder that holds cytology/ with --data.", file=sys.stderr)
        return 1
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("transfer").setLevel(logging.INFO)
    shipped = {"shipped, had learned from it": Encoder()}
    if options.work is not None and options.imagenet is not None:
        train_towers(manifest, options.imagenet, options.work)
    print(describe_machine())
    for test in test_sets(manifest, options.phantoms):
        encoders = dict(shipped)
        if options.work is not None:
            left_out = "phantoms" if test.name == "phantoms" else "cervix"
            encoders = {
                "ImageNet": Encoder(options.work / "imagenet"),
                f"trained without {left_out}": Encoder(options.work / f"without-{left_out}"),
                **shipped,
            }
        print(f"\n{table(test, encoders, options.work)}", flush=True)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="folder that holds cytology/")
    parser.add_argument("--imagenet", type=Path, help="safetensors of timm's tf_efficientnet_lite0")
    parser.add_argument("--work", type=Path, help="folder of the trained towers; without it the shipped weights alone")
    parser.add_argument("--phantoms", type=int, default=528, help="held-out phantoms that are searched")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    started = time.perf_counter()
    status = main()
    print(f"\n{time.perf_counter() - started:.0f} s in all")
    raise SystemExit(status)
