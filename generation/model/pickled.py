"""Pickled weights (.bin, .ckpt, .pt, .pth): read in a process of their own under limits, and turned into safetensors.

An import is the one place where such files are opened, here and for encoders. PyTorch's `weights_only=True` admits
tensors and plain values and calls nothing else; the separate process bounds what a file can take if it was made to
exhaust memory, time or disk, or to break PyTorch's reader.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from generation.errors import UnsafeWeightsError, WeightsError
from generation.model.files.weight_files import PICKLED_SUFFIXES, pointer_refusal

if TYPE_CHECKING:
    import torch

HOW_IT_WAS_READ = (
    "Pickled weights were read once, in a process of its own under limits of memory and time, with PyTorch's "
    "`weights_only=True`, which admits tensors and plain values and runs nothing else."
)
"""The sentence that an import prints, and writes on its card."""
_CHILD = Path(__file__).with_name("pickled_child.py")
_SPARE_MEMORY = 1 << 30  # beside the file itself: PyTorch's own buffers
_REFUSED_GLOBAL = re.compile(r"(?:[Uu]nsupported global: GLOBAL|[Uu]nsupported GLOBAL|Unsupported class) ([\w.]+\w)")


@dataclass(frozen=True)
class PickledLimits:
    """What the process may take: `seconds` of time, and bytes of memory beyond PyTorch's own (None: by the file)."""

    seconds: int = 1800
    memory: int | None = None


@dataclass(frozen=True)
class PickledWeights:
    """What a pickled file held: tensors by name, and the names of entries that are no tensors or no weights."""

    tensors: dict[str, torch.Tensor]
    left_out: tuple[str, ...]


def convert_pickled(source: str | Path, target: str | Path, *, limits: PickledLimits | None = None) -> tuple[str, ...]:
    """Write the tensors of the pickled file `source` to the safetensors file `target`.

    A training's wrapping (`state_dict`, `model` …) is taken off, and names of nested mappings are joined by dots. The
    same tensors give the same bytes. Tensors that share memory are written each for itself.

    Args:
        limits: by default half an hour, and twice the file's size beside 1 GiB.

    Returns:
        The names of entries that were left out: the training's own state, and values that are no tensors.

    Raises:
        UnsafeWeightsError: the file holds other objects than tensors and plain values.
        WeightsError: it is damaged, holds no tensors, or takes more memory or time than the limits allow.
    """
    source, target = Path(source), Path(target)
    limits = limits or PickledLimits()
    if pointer := pointer_refusal(source):
        raise WeightsError(pointer)
    size = source.stat().st_size
    memory = 2 * size + _SPARE_MEMORY if limits.memory is None else limits.memory
    command = [sys.executable, "-P", str(_CHILD), str(source.resolve()), str(target.resolve())]
    # The file is at most as large as what was read; shared tensors are written twice, and twice is allowed for them.
    numbers = (memory, limits.seconds, 2 * size + (64 << 20))
    whole = False
    try:
        run = subprocess.run(
            [*command, *map(str, numbers)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limits.seconds,
            check=False,
        )
        left_out = _result(run, source)
        _check(target, source)
        whole = True
    except subprocess.TimeoutExpired as error:
        raise WeightsError(
            f"{source} was not read within {limits.seconds} seconds. It is damaged, or was made to take long."
        ) from error
    finally:
        if not whole:
            target.unlink(missing_ok=True)
    return left_out


def read_pickled(path: str | Path, *, limits: PickledLimits | None = None) -> PickledWeights:
    """Read the tensors of a pickled file into main memory, by way of `convert_pickled`, whose errors it raises."""
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "weights.safetensors"
        left_out = convert_pickled(path, target, limits=limits)
        return PickledWeights({name: tensor.clone() for name, tensor in load_file(target).items()}, left_out)


@contextlib.contextmanager
def as_safetensors(path: Path, folder: Path | None = None) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The weights as a safetensors file with what was left out: `path` itself, or for a pickle a copy for the block.

    The copy is made in `folder`, by default the system's own for temporary files.
    """
    if path.suffix.lower() not in PICKLED_SUFFIXES:
        yield path, ()
        return
    with tempfile.TemporaryDirectory(dir=folder) as made:
        target = Path(made) / f"{path.stem}.safetensors"
        yield target, convert_pickled(path, target)


def _result(run: subprocess.CompletedProcess[bytes], source: Path) -> tuple[str, ...]:
    try:
        result = json.loads(run.stdout)
    except ValueError:
        result = {}
    if isinstance(left_out := result.get("left_out"), list):
        return tuple(str(name) for name in left_out)
    if result.get("memory"):
        raise WeightsError(
            f"{source} takes far more memory than its size allows for. It is damaged, or was made to exhaust memory."
        )
    if result.get("disk"):
        raise WeightsError(
            f"{source} could not be written as safetensors: it grows to more than twice its size, or the disk is full."
        )
    if "error" not in result:
        raise WeightsError(
            f"{source} could not be read: the process that opened it ended with status {run.returncode}. It is "
            "damaged, or was made to exhaust memory or time."
        )
    reason = str(result["error"][0])
    if refused := _REFUSED_GLOBAL.search(reason):
        raise UnsafeWeightsError(
            f"{source} holds other things than tensors and plain values ({refused[1]}), which could run code: refused. "
            "Ask for a .safetensors file, or for one that holds the state dict alone."
        )
    if "TorchScript" in reason:
        raise UnsafeWeightsError(
            f"{source} is a TorchScript archive, which is a program and not only weights: refused. Ask for the weights "
            "as safetensors, or as a state dict."
        )
    # PyTorch wraps what is wrong into advice to admit everything, which nobody should follow.
    detail = reason.partition("WeightsUnpickler error:")[2] or reason
    first_line = detail.strip().partition("\n")[0]
    raise WeightsError(f"{source} cannot be read as pickled weights ({first_line[:300]}). Copy or download it anew.")


def _check(target: Path, source: Path) -> None:
    """What another process wrote is checked as any file is."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(target, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{source} could not be written as safetensors ({error}). Is the disk full?") from error
