"""Tensors by key in a few large files (safetensors), appended a block at a time and read through memory maps.

A file appears whole or not at all and is never changed, so that several processes may add to one folder: what another
has added since it was opened is made once more.
"""

from __future__ import annotations

import json
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from generation.atomic_write import private_folder, write_atomic
from generation.errors import TrainingError

if TYPE_CHECKING:
    import torch

_OPEN: Final = 64
"""Files that are mapped at a time."""


class Shards:
    """The tensors of a folder, which is made when the first are added."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._where: dict[str, tuple[Path, list[str]]] = {}
        self._mapped: OrderedDict[Path, Any] = OrderedDict()
        for path in sorted(folder.glob("*.safetensors")):
            self._note(path, _names(path))

    def __contains__(self, key: str) -> bool:
        return key in self._where

    def add(self, rows: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """Write named tensors of any shapes under their keys, as one file. Raises `OSError`."""
        from safetensors.torch import save

        if not rows:
            return
        tensors = {f"{key}/{name}": value for key, named in rows.items() for name, value in named.items()}
        path = private_folder(self._folder) / f"{uuid.uuid4().hex}.safetensors"
        write_atomic(path, save({name: value.detach().cpu().contiguous() for name, value in tensors.items()}))
        self._note(path, list(tensors))

    def read(self, key: str) -> dict[str, torch.Tensor]:
        """The tensors of a key by name, [c, h, w] or of other shapes, as they were added.

        Raises `TrainingError`: they were never added, or their file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        path, names = self._where.get(key, (self._folder, []))
        try:
            if path not in self._mapped:
                self._mapped[path] = safe_open(path, framework="pt")
            self._mapped.move_to_end(path)
            found = {name: self._mapped[path].get_tensor(f"{key}/{name}") for name in names}
        except (SafetensorError, OSError) as error:
            raise TrainingError(
                f"What was encoded before the training is gone or damaged ({path.name}). Delete the folder "
                f"{self._folder} and run the same command again: it is encoded again, and the training resumes."
            ) from error
        while len(self._mapped) > _OPEN:
            self._mapped.popitem(last=False)
        return found

    def _note(self, path: Path, tensors: list[str]) -> None:
        for tensor in tensors:
            key, _, name = tensor.rpartition("/")
            known, names = self._where.setdefault(key, (path, []))
            if known == path:
                names.append(name)


def _names(path: Path) -> list[str]:
    """The names of a file's tensors; none where it is damaged."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length < path.stat().st_size else {}
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        return list(header) if path.stat().st_size == 8 + length + end else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
