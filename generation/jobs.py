"""Jobs: reports on their way to becoming images, and the order in which batches are drawn for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from generation.prompts.prompt import Prompt
from generation.provenance import Provenance

if TYPE_CHECKING:
    from PIL import Image

_HELD = 16  # reports whose images are held back for the next batch, at most


@dataclass(frozen=True)
class GeneratedImage:
    """A synthetic image (RGB). `path` is its file in the cache; None without a cache, or where that is full."""

    image: Image.Image
    provenance: Provenance
    path: Path | None
    cached: bool


@dataclass(frozen=True)
class Generation:
    """The images of one report, in the order of their seeds, and the wall-clock seconds they took.

    Of a batch that other reports shared, their share of it counts.
    """

    report: str
    prompt: Prompt
    images: tuple[GeneratedImage, ...]
    seconds: float


@dataclass
class Job:
    """One report on its way to becoming images; `found` holds None for an image that is still to be drawn."""

    report: str
    report_sha256: str
    prompt: Prompt
    seeds: tuple[int, ...]
    found: dict[int, GeneratedImage | None] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def is_done(self) -> bool:
        return None not in self.found.values()

    def result(self) -> Generation:
        images = tuple(image for image in (self.found[seed] for seed in self.seeds) if image is not None)
        return Generation(self.report, self.prompt, images, self.seconds)


Batch = list[tuple[Job, int]]


def run_jobs(
    jobs: Iterable[Job],
    *,
    batch_size: int,
    look_up: Callable[[Job], None],
    draw: Callable[[Sequence[tuple[Job, int]]], None],
) -> Iterator[Generation]:
    """Fill batches across reports; hand a report on when its images and those of all before it are there.

    `look_up` finds a job's images in the cache, `draw` draws a batch and puts each image into its job. Reports of
    different numbers of chunks never share a batch: their embeddings are of different lengths.
    """
    waiting: deque[Job] = deque()
    begun: dict[int, Batch] = {}  # by the number of chunks
    for job in jobs:
        waiting.append(job)
        look_up(job)
        batch = begun.setdefault(len(job.prompt.encoded.texts), [])
        for seed in [seed for seed, image in job.found.items() if image is None]:
            batch.append((job, seed))
            if len(batch) == batch_size:
                draw(batch)
                batch.clear()
        while waiting and (waiting[0].is_done or len(waiting) > _HELD):
            if not waiting[0].is_done:  # what is done must not pile up behind it
                draw(begun.pop(len(waiting[0].prompt.encoded.texts)))
            yield waiting.popleft().result()
    for batch in begun.values():
        if batch:
            draw(batch)
    yield from (job.result() for job in waiting)
