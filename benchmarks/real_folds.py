"""The encoders of `benchmarks.real_cells`: one for each fold, trained without the fold's patients.

All folds start from one image tower that was trained without any cervix smear (from ImageNet's weights if they are
given, on phantoms, blood and the two atlas sites), and are trained further by the starter's own recipe
(`retrieval.training.starter.image_tower`) on the cells and fields of the other folds' patients. The text tower is the
shipped starter's, unchanged.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from generation.atomic_write import new_folder
from generation.phantom import PROFILES
from generation.phantom.reports import write_report
from generation.phantom.wording import Wording
from generation.training.starter.dataset import render_training_set
from retrieval.encoder.model_files import find_clip
from retrieval.training.starter.clip import write_imagenet_start
from retrieval.training.starter.cuda_graph import side_by_side
from retrieval.training.starter.image_tower import image_tower_steps
from retrieval.training.starter.sampler import Pairs
from retrieval.training.starter.smears import is_held_out, load_smears

PHANTOMS = 10_000
COMMON = (40, 24)  # phantoms and smears in a batch
FOLD = (12, 52)

log = logging.getLogger("real_folds").info


def held_out(fold: Mapping[str, int], number: int, patient: str) -> bool:
    """Whether fold `number` is not trained on a patient: `fold` has the fold in which a patient with cells is held
    out; others are held out as everywhere (`is_held_out`)."""
    return fold[patient] == number if patient in fold else is_held_out(patient)


def train_folds(
    manifest: Path, fold: Mapping[str, int], work: Path, *, steps: int, device: str, imagenet: Path | None = None
) -> None:
    """Train `work`/common, and then `work`/fold-0 to `work`/fold-4 for `steps` steps each: side by side on a GPU that
    they share, on a CPU one after the other. A folder that exists is finished.

    `fold` is that of `held_out`, `imagenet` the file of weights to start from (`write_imagenet_start`). The phantoms
    are rendered into `work`.
    """
    starter = find_clip(None).path
    rendered = render_training_set(work, PHANTOMS)
    if imagenet is not None:
        write_imagenet_start(imagenet, starter, work / "start")

    def report(i: int, rng: np.random.Generator) -> str:
        return write_report(rendered.phantoms[i].morphology, Wording(rng, held_out=False))

    def training(
        name: str, shares: tuple[int, int], leave_out: Callable[[str], bool], **options: Any
    ) -> Iterator[None]:
        folder = work / name
        if folder.exists():
            return
        sources = [
            (Pairs(rendered.images, rendered.findings, report), shares[0]),
            (load_smears(manifest, first_label=len(PROFILES), leave_out=leave_out), shares[1]),
        ]
        with new_folder(folder) as unfinished:
            yield from image_tower_steps(
                sources, starter, unfinished, device=device, log=lambda line: log(f"{name}: {line}"),
                steps=steps, **options,
            )  # fmt: skip

    everywhere = training(
        "common", COMMON, lambda patient: patient in fold or is_held_out(patient),
        start_from=None if imagenet is None else work / "start",
    )  # fmt: skip
    side_by_side([everywhere], device)
    folds = [
        training(f"fold-{number}", FOLD, functools.partial(held_out, fold, number), start_from=work / "common")
        for number in sorted(set(fold.values()))
    ]
    for together in [folds] if device.startswith("cuda") else [[training_steps] for training_steps in folds]:
        side_by_side(together, device)
