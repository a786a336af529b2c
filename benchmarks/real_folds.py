"""The encoders of `benchmarks.real_cells`: for each fold one that saw none of the fold's patients.

All folds start from one CLIP that was trained without any cervix smear (phantoms, blood and the two atlas sites), and
go on by the starter's own recipe (`retrieval.training`), with the cells and fields of the other folds' patients.
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
from retrieval.training.clip import Pairs, train_clip
from retrieval.training.smears import is_held_out, load_smears
from retrieval.training.starter import PHANTOMS

BATCH = 52

log = logging.getLogger("real_folds").info


def held_out(fold: Mapping[str, int], number: int, patient: str) -> bool:
    """Whether fold `number` is not trained on a patient: `fold` says in which one a patient with cells is held out;
    others are held out as everywhere (`is_held_out`)."""
    return fold[patient] == number if patient in fold else is_held_out(patient)


def train_folds(manifest: Path, fold: Mapping[str, int], work: Path, starter: Path, *, minutes: float) -> None:
    """Train `work`/common and then `work`/fold-0 to `work`/fold-4, `minutes` each; a folder that is there is finished.

    `fold` is that of `held_out`. `starter` is the work folder of the starter's training: its drawn phantoms and its
    `reader`, a CLIP that can read and has not looked at anything yet.
    """

    def train(folder: Path, start: Path, smears: int, learning_rate: float, leave_out: Callable[[str], bool]) -> None:
        if folder.exists():
            return
        drawn = draw_training_set(starter, PHANTOMS)

        def report(i: int, rng: np.random.Generator) -> str:
            return write_report(drawn.phantoms[i].morphology, Wording(rng, held_out=False))

        sources = [
            (Pairs(drawn.images, drawn.findings, report), BATCH - smears),
            (load_smears(manifest, first_label=len(PROFILES), leave_out=leave_out), smears),
        ]
        unfinished = folder.with_name(folder.name + ".part")
        train_clip(
            sources, start, unfinished, seconds=60 * minutes, start_from=start, learning_rate=learning_rate,
            log=lambda line: log(f"{folder.name}: {line}"),
        )  # fmt: skip
        unfinished.rename(folder)

    common = work / "common"
    train(common, starter / "reader", BATCH // 4, 1.5e-3, lambda patient: patient in fold or is_held_out(patient))
    for number in sorted(set(fold.values())):
        train(work / f"fold-{number}", common, BATCH * 3 // 4, 1e-3, functools.partial(held_out, fold, number))
