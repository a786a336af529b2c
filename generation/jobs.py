"""Jobs: reports whose images are being generated, and the order of the batches."""

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

_MOST_WAITING = 16  # reports that wait for a batch to fill, at most


@dataclass(frozen=True)
class GeneratedImage:
    """A synthetic image (RGB). `path` is its file in the cache; None without a cache, or if it could not be written."""

    image: Image.Image
    provenance: Provenance
    path: Path | None
    cached: bool


@dataclass(frozen=True)
class Generation:
    """The images of one report, in the order of their seeds, and the wall-clock seconds that they took.

    Of a batch with images of several reports, each takes the share of its images.
    """

    report: str
    prompt: Prompt
    images: tuple[GeneratedImage, ...]
    seconds: float


@dataclass
class Job:
    """A report whose images are being generated. `images` is by seed, with None for an image that is missing."""

    report: str
    report_sha256: str
    prompt: Prompt
    seeds: tuple[int, ...]
    images: dict[int, GeneratedImage | None] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def is_done(self) -> bool:
        """Whether no image is missing."""
        return None not in self.images.values()

    def result(self) -> Generation:
        """The generation, once the job is done."""
        images = tuple(image for image in (self.images[seed] for seed in self.seeds) if image is not None)
        return Generation(self.report, self.prompt, images, self.seconds)


Batch = list[tuple[Job, int]]


def run_jobs(
    jobs: Iterable[Job],
    *,
    batch_size: int,
    look_up: Callable[[Job], None],
    generate: Callable[[Sequence[tuple[Job, int]]], None],
) -> Iterator[Generation]:
    """Fill batches across reports; yield a report when its images and those of all reports before it are done.

    Reports of different numbers of chunks never share a batch, since their embeddings differ in length.

    Args:
        look_up: puts a job's images that are in the cache into the job.
        generate: generates a batch and puts each image into its job.
    """
    waiting: deque[Job] = deque()
    unfinished: dict[int, Batch] = {}  # by the number of chunks
    for job in jobs:
        waiting.append(job)
        look_up(job)
        batch = unfinished.setdefault(len(job.prompt.encoded.texts), [])
        for seed in [seed for seed, image in job.images.items() if image is None]:
            batch.append((job, seed))
            if len(batch) == batch_size:
                generate(batch)
                batch.clear()
        while waiting and (waiting[0].is_done or len(waiting) > _MOST_WAITING):
            if not waiting[0].is_done:  # finished reports must not pile up behind it
                generate(unfinished.pop(len(waiting[0].prompt.encoded.texts)))
            yield waiting.popleft().result()
    for batch in unfinished.values():
        if batch:
            generate(batch)
    yield from (job.result() for job in waiting)
