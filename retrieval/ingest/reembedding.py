"""Embedding an archive with another encoder while the current one serves searches: what `coin reembed` does.

    stored images without a vector of this encoder -> checksum, decode (threads) -> encode -> one transaction a batch
    reports without one -> the same -> switch, when nothing is missing

The archive is locked for writing only briefly: searches continue with the current encoder, and other processes may add
and remove cases. Missing vectors are looked up in the archive, so that an interrupted run resumes where it stopped.
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
from retrieval.ingest.embed_images import MAX_WORKERS
from retrieval.ingest.ingest import embed_reports
from retrieval.ingest.prefetch import MemoryWindow, read_ahead

if TYPE_CHECKING:
    import torch

    from index_store import Archive, Problem

PREPARED_BYTES: Final = 256 * 1024**2
"""Prepared images that wait for the encoder."""
ROUNDS: Final = 100
"""How often to repeat because cases were added meanwhile; each round is shorter than the one before."""


@dataclass(frozen=True)
class ReembedSummary:
    """The result of re-embedding."""

    encoder: str
    fingerprint: str
    embedded: int
    """Images embedded in this run."""
    reports: int
    """Reports embedded in this run."""
    waiting: int
    """Images that still have no vector."""
    skipped: tuple[Problem, ...]
    """Every image that could not be embedded, and why."""
    switched: bool
    """Whether this encoder serves searches now (also where it did before)."""
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
    """Embed every image and report that lacks a vector of `encoder`, then let this encoder serve searches.

    With the archive's own encoder, missing vectors are added.

    Args:
        batch_size: images, or reports, a transaction. After an interruption all finished batches are there.
        switch: False keeps the current encoder; `Archive.switch_encoder` switches later.
        wait: seconds to wait for another writer to finish, each time that a batch is to be stored.
        progress: called with the number of images that are done, and their total.
        embedding: the same for reports.

    The switch does not happen while any image, or any report with text, is without its vector; the summary says which
    and why. An encoder that embeds no texts at all may take over all the same, and the notes say so.

    Raises:
        EncoderLoadError: the encoder reads no images.
        index_store.EncoderMismatchError: the archive has no images yet.
        index_store.ArchiveBusyError: another writer did not finish in time.
        index_store.StorageError: the disk refuses. What was embedded before stays.
    """
    from index_store import EncoderIncompleteError

    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    encoder.require_images()
    started = time.perf_counter()
    fingerprint = encoder.fingerprint
    with archive.writer(timeout=wait):
        archive.begin_encoder(fingerprint, name=encoder.name, dim=encoder.dim)
    texts, notes = _embeds_texts(encoder)
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
            if not done:  # the reason is not that cases were added meanwhile
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


def _embeds_texts(encoder: Encoder) -> tuple[bool, tuple[str, ...]]:
    """Whether the encoder embeds texts at all; where not, a note."""
    try:
        encoder.encode_texts(["."])
    except EncoderLoadError as error:
        return False, (f"Reports were not embedded, and are found by their words alone: {error}",)
    return True, ()


@dataclass(frozen=True)
class _Read:
    """A stored image, prepared for the encoder, or a problem."""

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
    """Embed images without a vector. Returns how many were stored; adds a problem to `skipped`, by image id, for each
    that cannot be read."""
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
            if len(batch) == batch_size or sum(item.size for item in batch) >= PREPARED_BYTES // 2:
                stored += store()
                window.leave(sum(item.size for item in batch))
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
