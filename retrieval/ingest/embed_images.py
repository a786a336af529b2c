"""Images of a manifest are read, decoded and encoded, ahead of what stores them."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from retrieval.arrays import Vectors
from retrieval.encoder.encoder import Encoder
from retrieval.errors import EncodingError
from retrieval.ingest.prefetch import MemoryWindow, read_ahead
from retrieval.ingest.slide_fields import UnreadField

if TYPE_CHECKING:
    import torch

    from index_store import NewImage, PlannedField, PlannedImage, Problem

MAX_WORKERS: Final = 8
DECODED_BYTES: Final = 256 * 1024**2
"""Decoded images that wait for the encoder. The same amount may be in the encoder and the transaction."""


@dataclass(frozen=True)
class _Ready:
    """An image read, decoded and prepared for the encoder."""

    new: NewImage
    prepared: torch.Tensor

    @property
    def size(self) -> int:
        image = self.new.image
        return image.width * image.height * 3 + len(self.new.source) + self.prepared.nbytes


_Batch: TypeAlias = "list[_Ready | Problem]"
EmbeddedBatch: TypeAlias = "tuple[list[NewImage | Problem], Vectors]"
"""Images and problems, and the vectors float32[n, d] of the n images in their order."""
Embedded: TypeAlias = Generator[EmbeddedBatch, None, None]


def embedded_batches(items: Iterable[PlannedImage | PlannedField], encoder: Encoder, batch_size: int) -> Embedded:
    """The images in batches, each with its vectors, encoded on another thread while the one before is being stored."""
    batches = _batches(items, encoder, batch_size)
    encoder.load()
    with closing(batches), ThreadPoolExecutor(1, thread_name_prefix="encode") as pool:
        before: tuple[_Batch, Future[Vectors]] | None = None
        for batch in batches:
            future = pool.submit(_encode, batch, encoder)
            if before is not None:
                yield _loaded(before[0]), before[1].result()
            before = batch, future
        if before is not None:
            yield _loaded(before[0]), before[1].result()


def embed_batch(items: Sequence[PlannedImage | PlannedField], encoder: Encoder) -> EmbeddedBatch:
    """Read, decode and encode these images at once: the work of one worker of a cluster."""
    with ThreadPoolExecutor(MAX_WORKERS) as pool:
        batch = list(pool.map(lambda planned: _load(planned, encoder), items))
    return _loaded(batch), _encode(batch, encoder)


def _encode(batch: _Batch, encoder: Encoder) -> Vectors:
    return encoder.encode_prepared([item.prepared for item in batch if isinstance(item, _Ready)])


def _loaded(batch: _Batch) -> list[NewImage | Problem]:
    return [item.new if isinstance(item, _Ready) else item for item in batch]


def _batches(
    items: Iterable[PlannedImage | PlannedField], encoder: Encoder, batch_size: int
) -> Generator[_Batch, None, None]:
    """The images, read ahead, in batches of `batch_size`, or of fewer where they are large."""
    window = MemoryWindow(DECODED_BYTES)
    loaded = read_ahead(
        lambda planned: _load(planned, encoder),
        items,
        size=_size,
        window=window,
        workers=min(MAX_WORKERS, os.cpu_count() or 1),
        ahead=2 * batch_size,
    )
    batch: _Batch = []
    held = 0
    with closing(loaded):
        for item in loaded:
            batch.append(item)
            held += _size(item)
            if len(batch) == batch_size or held >= DECODED_BYTES // 2:
                yield batch
                window.leave(held)
                batch, held = [], 0
        if batch:
            yield batch


def _load(planned: PlannedImage | PlannedField, encoder: Encoder) -> _Ready | Problem:
    from generation import carries_provenance
    from index_store import ImageProblem, PlannedField, Problem

    try:
        new = planned.load()
        if carries_provenance(new.source):
            return generated_image(planned.row.line)
        return _Ready(new, encoder.prepare(new.image, new.mpp))
    except (ImageProblem, EncodingError) as error:
        # By its line alone: the summary is printed and kept, and a file's name may say whose it is.
        of_slide, line = isinstance(planned, PlannedField), planned.row.line
        text = str(error).replace(planned.row.path.name, "its slide" if of_slide else "its image", 1)
        what, _, advice = text.partition(". ")
        if of_slide:
            return UnreadField(f"line {line}", what.rstrip("."), advice, line)
        return Problem(f"line {line}", what, advice)


def _size(item: _Ready | Problem) -> int:
    return item.size if isinstance(item, _Ready) else 0


def generated_image(line: int) -> Problem:
    """Why a generated image in that line of the manifest is not added."""
    from index_store import Problem

    what = "is a generated image"
    return Problem(f"line {line}", what, "An archive holds real images (and phantoms) alone: leave the row out.")
