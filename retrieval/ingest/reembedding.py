"""An archive embedded anew with another encoder, beside the one that answers: what `coin reembed` does.

    stored images without a vector of this encoder -> checksum, decode (threads) -> encode -> one transaction a batch
    reports without one -> the same -> switch, when nothing is missing

The archive is written to for moments only: searches go on with the encoder before, and others may add and remove
meanwhile. What is missing is asked of the archive, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from retrieval.encoder.encoder import Encoder, Progress
from retrieval.errors import EncoderLoadError, EncodingError
from retrieval.ingest.ingest import MAX_WORKERS, embed_reports
from retrieval.ingest.prefetch import MemoryWindow, read_ahead

if TYPE_CHECKING:
    import torch

    from index_store import Archive, Problem

PREPARED_BYTES: Final = 256 * 1024**2
"""Of images, as the encoder wants them, that wait for it."""
ROUNDS: Final = 100
"""How often to begin again because others added meanwhile; each round is shorter than the one before."""


@dataclass(frozen=True)
class ReembedSummary:
    """What embedding anew did."""

    encoder: str
    fingerprint: str
    embedded: int
    """Images that got their vector in this run."""
    reports: int
    """Reports that did."""
    waiting: int
    """Images that still have none."""
    skipped: tuple[Problem, ...]
    """Every image that could not be embedded, and why."""
    switched: bool
    """Whether this encoder answers searches now (also where it did before)."""
    seconds: float
    notes: tuple[str, ...] = ()


def reembed(
    archive: Archive,
    encoder: Encoder,
    *,
    batch_size: int = 64,
    switch: bool = True,
    wait: float = 0.0,
    progress: Progress | None = None,
    embedding: Progress | None = None,
) -> ReembedSummary:
    """Give every image and report the vector of `encoder` that it lacks, then let this encoder answer searches.

    With the archive's own encoder it fills in what is missing.

    Args:
        batch_size: images, or reports, a transaction. After an interruption all finished batches are there.
        switch: False leaves the encoder before in charge; `Archive.switch_encoder` switches later.
        wait: seconds to wait for another writer to finish, each time that a batch is to be stored.
        progress: called with how many images are done, and of how many. embedding: the same of reports.

    The switch does not happen while any image, or any report with text, is without its vector; the summary says which
    and why. An encoder that embeds no texts at all may take over all the same, and the notes say so.

    Raises `index_store.EncoderMismatchError` where the archive has no images yet, `ArchiveBusyError` where another
    writer did not finish, `StorageError` where the disk refuses; what was embedded until then stays.
    """
    from index_store import EncoderIncompleteError

    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    started = time.perf_counter()
    fingerprint = encoder.fingerprint
    with archive.writer(timeout=wait):
        archive.begin_encoder(fingerprint, name=encoder.name, dim=encoder.dim)
    texts, notes = _reads_texts(encoder)
    embedded, reports, switched = 0, 0, False
    skipped: dict[int, Problem] = {}
    for _round in range(ROUNDS):
        done = _embed_images(archive, encoder, skipped, batch_size=batch_size, wait=wait, progress=progress)
        embedded += done
        if texts:
            count, failed = embed_reports(archive, encoder, batch_size, embedding, wait=wait)
            reports, done = reports + count, done + count
            if failed:
                notes += failed
                break
        if not switch:
            break
        try:
            with archive.writer(timeout=wait):
                archive.switch_encoder(fingerprint, without_reports=not texts)
            switched = True
            break
        except EncoderIncompleteError as error:
            if not done:  # it is not that others added meanwhile
                notes = (*notes, str(error))
                break
    coverage = next(known for known in archive.encoders() if known.encoder.fingerprint == fingerprint)
    return ReembedSummary(
        encoder=encoder.name,
        fingerprint=fingerprint,
        embedded=embedded,
        reports=reports,
        waiting=coverage.images - coverage.vectors,
        skipped=tuple(skipped.values()),
        switched=switched or coverage.active,
        seconds=time.perf_counter() - started,
        notes=notes,
    )


def _reads_texts(encoder: Encoder) -> tuple[bool, tuple[str, ...]]:
    """Whether the encoder embeds texts at all; where not, a note."""
    try:
        encoder.encode_texts(["."])
    except EncoderLoadError as error:
        return False, (f"Reports were not embedded, and are found by their words alone: {error}",)
    return True, ()


@dataclass(frozen=True)
class _Read:
    """A stored image, ready for the encoder, or what is wrong with it."""

    image_id: int
    prepared: torch.Tensor | None
    problem: Problem | None = None

    @property
    def size(self) -> int:
        return 0 if self.prepared is None else self.prepared.nbytes


def _embed_images(
    archive: Archive,
    encoder: Encoder,
    skipped: dict[int, Problem],
    *,
    batch_size: int,
    wait: float,
    progress: Progress | None,
) -> int:
    """Embed what lacks a vector. Returns how many were stored; adds to `skipped`, by image id, what cannot be."""
    coverage = next(known for known in archive.encoders() if known.encoder.fingerprint == encoder.fingerprint)
    total = coverage.images - coverage.vectors
    window = MemoryWindow(PREPARED_BYTES)
    loaded = read_ahead(
        lambda image_id: _read(archive, encoder, image_id),
        _lacking(archive, encoder.fingerprint),
        size=lambda read: read.size,
        window=window,
        workers=min(MAX_WORKERS, os.cpu_count() or 1),
        ahead=2 * batch_size,
    )
    stored, seen = 0, 0
    batch: list[_Read] = []

    def store() -> int:
        tensors = [read.prepared for read in batch if read.prepared is not None]
        if not tensors:
            return 0
        vectors = encoder.encode_prepared(tensors)
        ids = [read.image_id for read in batch]
        with archive.writer(timeout=wait):
            return archive.add_vectors(ids, vectors, fingerprint=encoder.fingerprint)

    with closing(loaded):
        for read in loaded:
            seen += 1
            if read.problem is not None:
                skipped[read.image_id] = read.problem
            elif read.prepared is not None:
                batch.append(read)
            if len(batch) == batch_size or sum(held.size for held in batch) >= PREPARED_BYTES // 2:
                stored += store()
                window.leave(sum(held.size for held in batch))
                batch.clear()
                if progress is not None:
                    progress(seen, max(seen, total))
    stored += store()
    if progress is not None and seen:
        progress(seen, max(seen, total))
    return stored


def _lacking(archive: Archive, fingerprint: str) -> Iterator[int]:
    """Ids of images without a vector, read a page at a time."""
    last = 0
    while (page := archive.images_without_vector(fingerprint, after=last)).size:
        yield from page.tolist()
        last = int(page[-1])


def _read(archive: Archive, encoder: Encoder, image_id: int) -> _Read:
    from index_store import ImageNotFoundError, ImageProblem, Problem

    try:
        return _Read(image_id, encoder.prepare(archive.picture(image_id)))
    except (ImageProblem, ImageNotFoundError, EncodingError) as error:
        case = archive.cases_of_images([image_id]).get(image_id)
        if case is None:  # removed meanwhile
            return _Read(image_id, None)
        what, _, advice = str(error).partition(". ")
        return _Read(image_id, None, Problem(f"case {case.key}, image {image_id}", what, advice))
