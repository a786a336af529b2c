"""The encoders of `benchmarks.real_cells`: for each fold one that saw none of the fold's patients.

All folds start from one image tower that was trained without any cervix smear (phantoms, blood and the two atlas
sites), and go on by the starter's own recipe (`retrieval.training.image_tower`), with the cells and fields of the other
folds' patients. The text tower is the shipped starter's, which stays as it is.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from generation.phantom import PROFILES
from generation.phantom.reports import write_report
from generation.phantom.wording import Wording
from generation.training.dataset import draw_training_set
from retrieval.clip_folder import find_clip
from retrieval.training.image_tower import train_image_tower
from retrieval.training.pairs import Pairs
from retrieval.training.smears import is_held_out, load_smears

PHANTOMS = 10_000
COMMON = (144, 80)  # phantoms and smears in a batch
FOLD = (24, 136)

log = logging.getLogger("real_folds").info


def held_out(fold: Mapping[str, int], number: int, patient: str) -> bool:
    """Whether fold `number` is not trained on a patient: `fold` says in which one a patient with cells is held out;
    others are held out as everywhere (`is_held_out`)."""
    return fold[patient] == number if patient in fold else is_held_out(patient)


def train_folds(manifest: Path, fold: Mapping[str, int], work: Path, *, minutes: float, device: str) -> None:
    """Train `work`/common and then `work`/fold-0 to `work`/fold-4, `minutes` each; a folder that is there is finished.

    `fold` is that of `held_out`. The phantoms are drawn into `work`.
    """
    starter = find_clip(None).path

    def train(folder: Path, start: Path | None, shares: tuple[int, int], leave_out: Callable[[str], bool]) -> None:
        if folder.exists():
            return
        drawn = draw_training_set(work, PHANTOMS)

        def report(i: int, rng: np.random.Generator) -> str:
            return write_report(drawn.phantoms[i].morphology, Wording(rng, held_out=False))

        sources = [
            (Pairs(drawn.images, drawn.findings, report), shares[0]),
            (load_smears(manifest, first_label=len(PROFILES), leave_out=leave_out), shares[1]),
        ]
        unfinished = folder.with_name(folder.name + ".part")
        train_image_tower(
            sources, starter, unfinished, seconds=60 * minutes, start_from=start, device=device,
            log=lambda line: log(f"{folder.name}: {line}"),
        )  # fmt: skip
        unfinished.rename(folder)

    common = work / "common"
    train(common, None, COMMON, lambda patient: patient in fold or is_held_out(patient))
    for number in sorted(set(fold.values())):
        train(work / f"fold-{number}", common, FOLD, functools.partial(held_out, fold, number))
