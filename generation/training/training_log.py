"""A training's log: one JSON object a line, and the same numbers in TensorBoard or Weights & Biases. It holds numbers
only."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from generation.atomic_write import private_folder, write_atomic
from generation.training.optimizers import needed_package

Record = Mapping[str, Any]
TRACKERS: Final = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
"""Where numbers may be shown, and the module that does it."""


class TrainingLog:
    """The file `log.jsonl` in a training's folder.

    Records of steps after `step` are removed: an interrupted run that resumes at `step` repeats them.

    Args:
        trackers: of TRACKERS; each writes into a folder of its name.
    """

    def __init__(self, folder: Path, *, step: int, trackers: Sequence[str] = ()) -> None:
        self._path = folder / "log.jsonl"
        self.records = [record for record in self._read() if step and record.get("step", 0) <= step]
        write_atomic(self._path, "".join(f"{json.dumps(record)}\n" for record in self.records).encode())
        self._trackers = [_open(name, folder, step) for name in trackers]

    def add(self, record: Record) -> None:
        """Append a record to the file."""
        self.records.append(dict(record))
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(record)}\n")
        for tracker in self._trackers:
            tracker.log({name: value for name, value in record.items() if name != "step"}, step=record["step"])

    def curve(self, name: str) -> list[tuple[int, float]]:
        """Steps and values of the number with that name."""
        return [(record["step"], record[name]) for record in self.records if name in record]

    def close(self) -> None:
        """Write what trackers hold back."""
        while self._trackers:
            self._trackers.pop().finish()

    def _read(self) -> list[dict[str, Any]]:
        if not self._path.is_file():
            return []
        records = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # the last line of a process that was killed
                continue
            if isinstance(record, dict):
                records.append(record)
        return records


def require_tracker(name: str) -> Any:
    """The module of one of TRACKERS. Raises `SettingsError` if it is not installed."""
    return needed_package(TRACKERS[name], f"--{name}", f"leave out --{name}")


def _open(name: str, folder: Path, step: int) -> Any:
    """accelerate's tracker. Weights & Biases sends nothing unless WANDB_MODE says so, and no name of this machine, no
    command line and no code with it."""
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    private_folder(folder / name)
    if name == "tensorboard":
        tracker: Any = TensorBoardTracker(name, folder, purge_step=step or None)
    else:
        quiet = require_tracker(name).Settings(
            host="local", x_disable_meta=True, x_disable_stats=True, disable_git=True, disable_code=True,
            console="off", silent=True,
        )  # fmt: skip
        mode = os.environ.get("WANDB_MODE", "offline")
        tracker = WandBTracker("coin", dir=folder / name, mode=mode, settings=quiet)
    tracker.start()
    return tracker
