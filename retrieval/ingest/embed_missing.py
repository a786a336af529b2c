"""Embedding what lacks a vector of an encoder: stored images, and reports.

What is missing is looked up in the archive, so that an interrupted run resumes where it stopped. Each batch is one
transaction.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from retrieval.encoder.colour_histogram import ColourHistogram
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.encoder.roles import described
from retrieval.errors import EncoderLoadError, EncodingError
from retrieval.ingest.embed_images import MAX_WORKERS
from retrieval.ingest.prefetch import MemoryWindow, read_ahead

if TYPE_CHECKING:
    import PIL.Image
    import torch

    from index_store import Archive, Plan, Problem
    from retrieval.arrays import Vectors

PREPARED_BYTES: Final = 256 * 1024**2
"""Prepared images that wait for the encoder."""


def embed_reports(
    archive: Archive, encoder: Encoder, batch_size: int, progress: Progress | None, *, wait: float = 0.0
) -> tuple[int, tuple[str, ...]]:
    """Embed the reports that lack a current vector of this encoder.

    Args:
        wait: seconds to wait for another writer, each time that a batch is to be stored.

    Returns:
        How many were embedded, and notes on what could not be done.
    """
    if archive.encoder is None:
        return 0, ()
    # Archives hold many equal reports: sorted, they are neighbours and are encoded once a batch.
    lacking = sorted(archive.reports_without_vector(encoder.fingerprint), key=lambda report: report.text)
    embedded = 0
    try:
        for start in range(0, len(lacking), batch_size):
            batch = lacking[start : start + batch_size]
            position = {text: i for i, text in enumerate(dict.fromkeys(report.text for report in batch))}
            vectors = encoder.encode_texts(list(position))
            with archive.writer(timeout=wait):
                embedded += archive.add_report_vectors(
                    [report.case_id for report in batch],
                    [report.text for report in batch],
                    vectors[[position[report.text] for report in batch]],
                    fingerprint=encoder.fingerprint,
                )
            if progress is not None:
                progress(start + len(batch), len(lacking))
    except (EncoderLoadError, EncodingError) as error:
        waiting = len(lacking) - embedded
        return embedded, (f"{waiting} reports have no vector and are not found by the encoder's text tower: {error}",)
    return embedded, ()


class ImageEncoder(Protocol):
    """What embeds images: an `Encoder`, or colour histograms."""

    @property
    def fingerprint(self) -> str:
        """Of all that decides a vector."""

    def prepare(self, image: PIL.Image.Image, mpp: float | None = None) -> torch.Tensor:
        """What is encoded of an image: float32[...], of one shape."""

    def encode_prepared(self, prepared: Sequence[torch.Tensor]) -> Vectors:
        """Of n images so prepared, float32[n, d]."""


@dataclass(frozen=True)
class _Read:
    """A stored image, prepared for the encoder, or a problem."""

    image_id: int
    prepared: torch.Tensor | None
    problem: Problem | None = None

    @property
    def size(self) -> int:
        return 0 if self.prepared is None else self.prepared.nbytes


def embed_images(
    archive: Archive,
    encoder: ImageEncoder,
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


def _read(archive: Archive, encoder: ImageEncoder, image_id: int) -> _Read:
    from index_store import ImageNotFoundError, ImageProblem, Problem

    try:
        return _Read(image_id, encoder.prepare(archive.picture(image_id), archive.image(image_id).mpp))
    except (ImageProblem, ImageNotFoundError, EncodingError) as error:
        case = archive.cases_of_images([image_id]).get(image_id)
        if case is None:  # removed meanwhile
            return _Read(image_id, None)
        what, _, advice = str(error).partition(". ")
        return _Read(image_id, None, Problem(f"case {case.key}, image {image_id}", what, advice))


def embed_for_texts(
    archive: Archive, encoder: Encoder, batch_size: int, progress: Progress | None, embedding: Progress | None
) -> tuple[int, tuple[str, ...]]:
    """Embed what lacks a vector of the encoder that compares texts, and give it the role where it has it not yet.

    Returns how many reports were embedded, and notes.
    """
    from index_store import EncoderIncompleteError

    if archive.encoder is None:
        return 0, ()
    archive.begin_encoder(encoder.fingerprint, name=encoder.name, dim=encoder.dim)
    skipped: dict[int, Problem] = {}
    embedded = embed_images(archive, encoder, skipped, batch_size=batch_size, wait=0.0, progress=progress)
    reports, notes = embed_reports(archive, encoder, batch_size, embedding)
    notes = (f"{embedded} images were embedded for texts, too, by {encoder.name}.", *notes)
    notes += tuple(f"Not embedded for texts: {problem}" for problem in skipped.values())
    try:
        archive.switch_encoder(encoder.fingerprint, role="text")
    except EncoderIncompleteError as error:
        notes += (str(error),)
    return reports, notes


def embed_rescaled(
    archive: Archive, plan: Plan, encoder: Encoder, batch_size: int
) -> tuple[tuple[str, ...], list[Problem]]:
    """Embed stored images that lost their vectors because their scale is another now, also in a run that was killed.

    Returns notes, and a problem for each that cannot be read.
    """
    known = archive.encoder
    scaled = any(item.row.mpp is not None for item in (*plan.changed, *plan.unchanged))
    if not scaled or known is None or known.fingerprint != encoder.fingerprint:
        return (), []
    if not archive.count_images_without_vector(encoder.fingerprint):
        return (), []
    skipped: dict[int, Problem] = {}
    done = embed_images(archive, encoder, skipped, batch_size=batch_size, wait=0.0, progress=None)
    return (f"{done} stored images were embedded anew, by their scale.",), list(skipped.values())


def left_behind(archive: Archive) -> tuple[str, ...]:
    """What the encoder that compares texts has not embedded, where it is not at hand."""
    known = archive.encoder_of("text")
    if known is None:
        return ()
    images = archive.count_images_without_vector(known.fingerprint)
    reports = len(archive.reports_without_vector(known.fingerprint))
    if not (images or reports):
        return ()
    return (
        f"{images} images and {reports} reports have no vector of {described(known)}, which compares texts in this "
        "archive: searches by text do not compare these images, and find these reports by their words alone. `coin "
        "reembed --role text --encoder …` embeds them; `coin add --text-encoder …` does so from the beginning.",
    )


def read_colours(
    archive: Archive, batch_size: int, *, wait: float = 0.0, progress: Progress | None = None
) -> tuple[int, list[Problem]]:
    """Read the colours of all images that have no histogram yet, for the channel `colour`: from then on `add_manifest`
    reads those of what it adds.

    Returns how many were stored, and a problem for each image that cannot be read.

    Raises like `reembed`.
    """
    colours, skipped = ColourHistogram(), dict[int, "Problem"]()
    with archive.writer(timeout=wait):
        archive.begin_encoder(colours.fingerprint, name=colours.name, dim=colours.dim)
    done = embed_images(archive, colours, skipped, batch_size=batch_size, wait=wait, progress=progress)
    return done, list(skipped.values())
