"""The phantoms that the starter is trained on, rendered once and kept as one array on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from generation.atomic_write import open_atomic
from generation.phantom import FIELD, PROFILES, Phantom, View, phantom_cases

TRAINING_SEED = 1  # the demo's archive and the evaluation use other seeds
VIEWS = (FIELD, View("field", 48.0), FIELD, View("cell", 24.0), FIELD, View("field", 192.0), FIELD, View("cell", 40.0))
"""What a finding's phantoms show, in turn: half of them the field that the demo has."""


@dataclass(frozen=True)
class PhantomSet:
    """`images` uint8[n, size, size, 3] (memory-mapped), and their phantoms in the same order."""

    images: NDArray[np.uint8]
    phantoms: list[Phantom]

    @property
    def findings(self) -> NDArray[np.int64]:
        """The index in PROFILES of each image's finding, int64[n]."""
        return np.array([PROFILES.index(phantom.profile) for phantom in self.phantoms])


def render_training_set(
    folder: Path, n: int, *, size: int = 128, progress: Callable[[int, int], None] | None = None
) -> PhantomSet:
    """Render `n` training phantoms into `folder`, or load those of the same names that an earlier run rendered."""
    phantoms = phantom_cases(n, seed=TRAINING_SEED, split="train", views=VIEWS)
    names = blake2b("\n".join(phantom.key for phantom in phantoms).encode(), digest_size=4).hexdigest()
    path = Path(folder) / f"phantoms-{n}-{size}-{names}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_atomic(path) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (n, size, size, 3)}
            np.lib.format.write_array_header_1_0(file, header)
            for i, phantom in enumerate(phantoms):
                file.write(np.asarray(phantom.render(size)).tobytes())
                if progress is not None:
                    progress(i + 1, n)
    return PhantomSet(np.load(path, mmap_mode="r"), phantoms)
