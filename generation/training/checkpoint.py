"""Checkpoints: the state of a training, in folders that appear whole or not at all.

    checkpoints/step-00000200/weights.safetensors      what is trained
                              optimizer.safetensors    the optimizer's state of it
                              average.safetensors      its moving average, where there is one
                              state.json               the step, and what else is needed to resume

No state of a random generator is among them: the random numbers of a step depend on the seed and its number alone.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from generation.atomic_write import foreign_files, new_folder, private_folder, write_atomic
from generation.errors import TrainingError

if TYPE_CHECKING:
    import torch

KEPT = 2
TRAINING = "training.json"
"""The settings and fingerprints of a training, in its folder."""
_FOLDER = re.compile(r"step-(\d{8})")
_PARTS = ("weights", "optimizer", "average")
_STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """All tensors by name. `state` is plain data."""

    step: int
    weights: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, torch.Tensor]
    average: Mapping[str, torch.Tensor] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one training, in the folder `folder`/checkpoints."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "checkpoints"

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and delete all but the newest two. If it raises `OSError`, the others are unchanged."""
        from safetensors.torch import save

        with new_folder(self._folder / f"step-{checkpoint.step:08}") as folder:
            for name in _PARTS:
                tensors = {key: value.detach().cpu().contiguous() for key, value in getattr(checkpoint, name).items()}
                write_atomic(folder / f"{name}.safetensors", save(tensors))
            state = {"step": checkpoint.step, **checkpoint.state}
            write_atomic(folder / _STATE, json.dumps(state, indent=2).encode())
        for old in self._steps()[:-KEPT]:
            shutil.rmtree(self._folder / f"step-{old:08}", ignore_errors=True)

    def newest(self) -> Checkpoint | None:
        """The last checkpoint; None before the first. Raises `TrainingError` if it is damaged."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if not (steps := self._steps()):
            return None
        folder = self._folder / f"step-{steps[-1]:08}"
        try:
            state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
            parts = {name: load_file(folder / f"{name}.safetensors") for name in _PARTS}
        except (OSError, ValueError, SafetensorError) as error:
            raise TrainingError(
                f"The checkpoint {folder} is damaged. Delete that folder, and the training resumes from the one before."
            ) from error
        return Checkpoint(step=state.pop("step"), **parts, state=state)

    @property
    def reached(self) -> int:
        """The step of the last checkpoint; 0 before the first."""
        return max(self._steps(), default=0)

    def _steps(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return sorted(int(match[1]) for path in self._folder.iterdir() if (match := _FOLDER.fullmatch(path.name)))


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder of a training, which is created if needed.

    Raises `TrainingError` if another training is running in it.
    """
    private_folder(folder)
    lock = FileLock(folder / ".training.lock", mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise TrainingError(f"Another training is running in {folder}. Wait for it, or name another folder.") from error
    try:
        yield
    finally:
        lock.release()


def require_same_training(
    folder: Path, metadata: Mapping[str, Any], *, may_differ: tuple[str, ...] = (), defaults: Mapping[str, Any]
) -> None:
    """Write `metadata` (settings, fingerprints) into the folder's training.json, compared with an earlier one.

    Args:
        defaults: of settings that an earlier version did not have: it trained as they say.

    Raises `TrainingError` if they differ in more than `may_differ`, if more than the `steps` were taken already, or if
    the folder holds other files than those of a training: nothing that somebody made is overwritten.
    """
    path = folder / TRAINING
    made = json.loads(json.dumps(metadata))
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise TrainingError(f"{path} is damaged. Name another folder, or delete this one.") from error
        differing = sorted(
            name
            for name in made.keys() | before.keys()
            if name not in may_differ and made.get(name) != before.get(name, defaults.get(name))
        )
        if differing:
            raise TrainingError(
                f"{folder} holds a training that was begun with another {', '.join(differing).replace('_', ' ')}. "
                "Repeat what it was begun with, to resume it; or name another folder."
            )
        if (reached := Checkpoints(folder).reached) > made["steps"]:
            raise TrainingError(
                f"{folder} holds a training of {reached} steps, and {made['steps']} are asked for: steps are not "
                f"undone. Give --steps {reached} or more, or name another folder."
            )
    elif foreign_files(folder, {".training.lock", TRAINING}):
        raise TrainingError(f"{folder} holds files that are no training's. Name a new folder.")
    write_atomic(path, json.dumps(made, indent=2).encode())
