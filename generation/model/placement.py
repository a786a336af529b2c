"""Where the parts of a model are kept: on the device, or there only while they compute."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Placement:
    """Keeps the parts of a pipeline on `device`, or with `low_memory` in main memory.

    In the second case parts are copied to the device while they compute, and the copies are then dropped: inference
    changes no weight, so nothing is copied back. (accelerate's hooks, which diffusers' model offloading uses, copy
    every weight back through pageable memory after each call: twice the bytes, and slower.) The originals in main
    memory are page-locked if the device is a GPU, so that they are copied at the bus's full rate. Results are the same
    either way.
    """

    def __init__(self, pipe: Any, device: str, *, low_memory: bool = False) -> None:
        self._device = device
        self._lent: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        if not low_memory:
            pipe.to(device)
            return
        for name, part in pipe.components.items():
            if hasattr(part, "parameters"):
                tensors = itertools.chain(part.parameters(), part.buffers())
                self._lent[name] = [(tensor, _page_locked(tensor.data, device)) for tensor in tensors]
        self._take_back(list(self._lent))

    @contextlib.contextmanager
    def holding(self, *parts: str) -> Iterator[None]:
        """Hold these parts on the device inside the block. Parts that the pipeline lacks are ignored."""
        lent = [name for name in parts if name in self._lent]
        try:
            for name in lent:
                for tensor, kept in self._lent[name]:
                    tensor.data = kept.to(self._device, non_blocking=True)
            yield
        finally:
            self._take_back(lent)

    def _take_back(self, parts: Sequence[str]) -> None:
        for name in parts:
            for tensor, kept in self._lent[name]:
                tensor.data = kept


def _page_locked(tensor: torch.Tensor, device: str) -> torch.Tensor:
    return tensor.pin_memory() if device == "cuda" else tensor
