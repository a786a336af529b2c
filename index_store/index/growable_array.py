"""An array that grows at its end."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Entry = TypeVar("Entry", bound=np.generic)


class Growing(Generic[Entry]):
    """Without being copied each time."""

    def __init__(self, first: NDArray[Entry]) -> None:
        self._room = first
        self.count = len(first)

    @property
    def array(self) -> NDArray[Entry]:
        return self._room[: self.count]

    def append(self, more: NDArray[Entry]) -> None:
        needed = self.count + len(more)
        if needed > len(self._room):
            room = np.empty((max(needed, self.count * 3 // 2), *self._room.shape[1:]), self._room.dtype)
            room[: self.count] = self.array
            self._room = room
        self._room[self.count : needed] = more
        self.count = needed
