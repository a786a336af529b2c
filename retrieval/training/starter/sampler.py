"""Training data of the image tower: images with labels and reports, and how often each is sampled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrieval.training.image_augmentation import reword
from retrieval.training.losses import UNLABELLED

if TYPE_CHECKING:
    import torch

TEXTS_AT_ONCE = 256
PLANNED = 64
"""Batches whose images are chosen at a time."""


@dataclass(frozen=True)
class Pairs:
    """Images uint8[n, h, w, 3] with their labels and reports.

    Args:
        labels: int64[n], numbers of the findings, the same for the same finding in every source; UNLABELLED where the
            finding is unknown.
        reports: `reports(i, rng)` gives one wording for image i.
        statements: int64[n], numbers of what the reports state, since two findings may be reported in the same words;
            None: the labels.
        patients: int64[n]; None: each image is of another patient.
        chances: float64[n], how often each image is sampled; None: all once before any twice.
        captions: `captions(i, rng)` gives a wording for image i as phantoms have them: site, kind and diagnosis.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    reports: Callable[[int, np.random.Generator], str]
    statements: NDArray[np.int64] | None = None
    patients: NDArray[np.int64] | None = None
    chances: NDArray[np.float64] | None = None
    captions: Callable[[int, np.random.Generator], str] | None = None


@dataclass(frozen=True)
class Batch:
    """Sampled images with labels and reports, all on the training's device and in one order."""

    pixels: torch.Tensor
    """float32[n, 3, h, w] in 0…1"""
    label: torch.Tensor
    """int64[n], as are statement and patient."""
    statement: torch.Tensor
    patient: torch.Tensor
    reports: torch.Tensor
    """float32[n, d]: unit rows of the text tower for a report of each image."""


class PairSampler:
    """Samples batches from the sources of a training. Images are kept on the GPU if there is one; every report is
    embedded once."""

    def __init__(
        self, sources: list[tuple[Pairs, int]], embed: Callable[[list[str]], torch.Tensor], rng: np.random.Generator,
        device: str,
    ) -> None:  # fmt: skip
        """`sources` with the number of their images in a batch; `embed` maps n texts to unit rows float32[n, d]."""
        self._sources = [
            _Source(pairs, count, number, len(sources), embed, rng, device)
            for number, (pairs, count) in enumerate(sources)
        ]

    def advance(self) -> None:
        """Choose the next batch."""
        for source in self._sources:
            source.advance()

    def batch(self) -> Batch:
        """The batch that was chosen last."""
        import torch

        parts = zip(*(source.batch() for source in self._sources), strict=True)
        pixels, *rest = (torch.cat(part) for part in parts)
        return Batch(pixels.permute(0, 3, 1, 2).float() / 255, *rest)


class _Source:
    """One of several sources, with `count` images in every batch."""

    def __init__(
        self, pairs: Pairs, count: int, number: int, sources: int, embed: Callable[[list[str]], torch.Tensor],
        rng: np.random.Generator, device: str,
    ) -> None:  # fmt: skip
        import torch

        n = len(pairs.labels)
        self._count, self._device, self._order = count, device, _order(pairs, rng)
        self._images: Any = pairs.images if device == "cpu" else torch.tensor(np.asarray(pairs.images), device=device)
        patients = np.arange(n) if pairs.patients is None else pairs.patients
        statements = pairs.labels if pairs.statements is None else pairs.statements
        # A source's patients are no other source's.
        rows = (pairs.labels, np.where(pairs.labels == UNLABELLED, UNLABELLED, statements), patients * sources + number)
        self._numbers = tuple(torch.from_numpy(row).to(device) for row in rows)
        texts = ["" if pairs.labels[i] == UNLABELLED else reword(pairs.reports(i, rng), rng) for i in range(n)]
        number_of = {text: position for position, text in enumerate(dict.fromkeys(texts))}
        different = list(number_of)
        vectors = [embed(different[i : i + TEXTS_AT_ONCE]) for i in range(0, len(different), TEXTS_AT_ONCE)]
        self._reports = torch.cat(vectors)[[number_of[text] for text in texts]]
        self._plan = torch.zeros(0, count, dtype=torch.int64, device=device)
        self._next, self._rows = 0, torch.zeros(count, dtype=torch.int64, device=device)

    def advance(self) -> None:
        import torch

        if self._next == len(self._plan):  # many batches at once: every copy from the CPU makes a GPU wait
            plan = np.array([[next(self._order) for _ in range(self._count)] for _ in range(PLANNED)])
            self._plan, self._next = torch.from_numpy(np.sort(plan)).to(self._device), 0
        self._rows.copy_(self._plan[self._next])
        self._next += 1

    def batch(self) -> tuple[torch.Tensor, ...]:
        """Pixels uint8[count, h, w, 3], label, statement and patient int64[count], reports float32[count, d]."""
        import torch

        on_disk = isinstance(self._images, np.ndarray)
        pixels = torch.from_numpy(self._images[self._rows.numpy()]) if on_disk else self._images[self._rows]
        return pixels, *(row[self._rows] for row in self._numbers), self._reports[self._rows]


def _order(pairs: Pairs, rng: np.random.Generator) -> Iterator[int]:
    n = len(pairs.labels)
    while True:
        yield from rng.permutation(n) if pairs.chances is None else rng.choice(n, size=n, p=pairs.chances)


def text_embedder(model: Any, tokenizer_folder: Path, device: str) -> Callable[[list[str]], torch.Tensor]:
    """The text tower of `model` as a function from n texts to unit rows float32[n, d]."""
    import open_clip
    import torch
    import torch.nn.functional as F

    from retrieval.training.starter.clip import encode_text

    tokenizer = open_clip.tokenizer.HFTokenizer(str(tokenizer_folder), context_length=77)

    def embed(texts: list[str]) -> torch.Tensor:
        with torch.no_grad():
            return F.normalize(encode_text(model, tokenizer(texts).to(device)), dim=-1)

    return embed
