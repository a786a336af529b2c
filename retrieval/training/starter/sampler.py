"""What the image tower is trained on: images, what is said of them, and how often each is drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrieval.training.image_augmentation import reword
from retrieval.training.losses import UNSAID

if TYPE_CHECKING:
    import torch

TEXTS_AT_ONCE = 256
PLANNED = 64
"""Batches that are chosen at a time."""


@dataclass(frozen=True)
class Pairs:
    """Images uint8[n, h, w, 3] and what is said of them. `labels` int64[n] number the findings, the same number for the
    same finding in every source, UNSAID where nobody said; `reports(i, rng)` gives one wording for image i.

    `statements` int64[n] number what the reports say (without it, the labels): two findings may be reported in the same
    words. `patients` int64[n] says whose the images are (without it, each its own); `chances` float64[n] how often each
    is drawn (without it, all once before any twice).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    reports: Callable[[int, np.random.Generator], str]
    statements: NDArray[np.int64] | None = None
    patients: NDArray[np.int64] | None = None
    chances: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Batch:
    """Drawn images and what is said of them, all on the training's device, in one order."""

    pixels: torch.Tensor
    """float32[n, 3, h, w] in 0…1"""
    label: torch.Tensor
    statement: torch.Tensor
    patient: torch.Tensor
    read: torch.Tensor
    """float32[n, d]: unit rows of the text tower for a report of each."""


class Shelf:
    """The sources of a training, ready to draw from: on a GPU the images lie there, and every report is read once."""

    def __init__(
        self, sources: list[tuple[Pairs, int]], read: Callable[[list[str]], torch.Tensor], rng: np.random.Generator,
        device: str,
    ) -> None:  # fmt: skip
        """`sources` with their share of a batch; `read` is the text tower: texts -> float32[n, d] unit rows."""
        self._sources = [
            _Source(pairs, share, number, len(sources), read, rng, device)
            for number, (pairs, share) in enumerate(sources)
        ]

    def draw(self) -> None:
        """Choose the next batch: of each source as many as its share says."""
        for source in self._sources:
            source.draw()

    def batch(self) -> Batch:
        """What was chosen last."""
        import torch

        parts = zip(*(source.chosen() for source in self._sources), strict=True)
        pixels, *rest = (torch.cat(part) for part in parts)
        return Batch(pixels.permute(0, 3, 1, 2).float() / 255, *rest)


class _Source:
    def __init__(
        self, pairs: Pairs, share: int, number: int, sources: int, read: Callable[[list[str]], torch.Tensor],
        rng: np.random.Generator, device: str,
    ) -> None:  # fmt: skip
        import torch

        n = len(pairs.labels)
        self._share, self._device, self._order = share, device, _order(pairs, rng)
        self._images: Any = pairs.images if device == "cpu" else torch.tensor(np.asarray(pairs.images), device=device)
        patients = np.arange(n) if pairs.patients is None else pairs.patients
        statements = pairs.labels if pairs.statements is None else pairs.statements
        # A source's patients are no other source's.
        rows = (pairs.labels, np.where(pairs.labels == UNSAID, UNSAID, statements), patients * sources + number)
        self._said = tuple(torch.from_numpy(row).to(device) for row in rows)
        texts = ["" if pairs.labels[i] == UNSAID else reword(pairs.reports(i, rng), rng) for i in range(n)]
        different = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        known = list(different)
        vectors = [read(known[i : i + TEXTS_AT_ONCE]) for i in range(0, len(known), TEXTS_AT_ONCE)]
        self._read = torch.cat(vectors)[[different[text] for text in texts]]

        self._plan = torch.zeros(0, share, dtype=torch.int64, device=device)
        self._place, self._at = 0, torch.zeros(share, dtype=torch.int64, device=device)

    def draw(self) -> None:
        import torch

        if self._place == len(self._plan):  # planned some way ahead: what comes from the CPU makes a GPU wait
            ahead = np.array([[next(self._order) for _ in range(self._share)] for _ in range(PLANNED)])
            self._plan, self._place = torch.from_numpy(np.sort(ahead)).to(self._device), 0
        self._at.copy_(self._plan[self._place])
        self._place += 1

    def chosen(self) -> tuple[torch.Tensor, ...]:
        import torch

        on_disk = isinstance(self._images, np.ndarray)
        pixels = torch.from_numpy(self._images[self._at.numpy()]) if on_disk else self._images[self._at]
        return pixels, *(row[self._at] for row in self._said), self._read[self._at]


def _order(pairs: Pairs, rng: np.random.Generator) -> Iterator[int]:
    n = len(pairs.labels)
    while True:
        yield from rng.permutation(n) if pairs.chances is None else rng.choice(n, size=n, p=pairs.chances)


def text_reader(model: Any, tokenizer_folder: Path, device: str) -> Callable[[list[str]], torch.Tensor]:
    """`model`'s text tower as `Shelf` takes it."""
    import open_clip
    import torch
    import torch.nn.functional as F

    from retrieval.training.starter.clip import encode_text

    tokenizer = open_clip.tokenizer.HFTokenizer(str(tokenizer_folder), context_length=77)

    def read(texts: list[str]) -> torch.Tensor:
        with torch.no_grad():
            return F.normalize(encode_text(model, tokenizer(texts).to(device)), dim=-1)

    return read
