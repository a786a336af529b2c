"""Embedding an archive with another encoder while the current one serves searches: what `coin reembed` does.

    stored images without a vector of this encoder -> checksum, decode (threads) -> encode -> one transaction a batch
    reports without one -> the same -> switch, when nothing is missing

The archive is locked for writing only briefly: searches continue with the current encoder, and other processes may add
and remove cases. Missing vectors are looked up in the archive, so that an interrupted run resumes where it stopped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from retrieval.encoder.encoder import Encoder, Progress
from retrieval.encoder.roles import check_role
from retrieval.errors import EncoderLoadError
from retrieval.ingest.embed_missing import embed_images, embed_reports

if TYPE_CHECKING:
    from index_store import Archive, Problem, Role

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
    """Whether this encoder serves searches now, in the role requested (also where it did before)."""
    seconds: float
    notes: tuple[str, ...] = ()


def reembed(
    archive: Archive,
    encoder: Encoder,
    *,
    role: Role | None = None,
    batch_size: int = 64,
    switch: bool = True,
    wait: float = 0.0,
    progress: Progress | None = None,
    embedding: Progress | None = None,
) -> ReembedSummary:
    """Embed every image and report that lacks a vector of `encoder`, then let this encoder serve searches.

    With the archive's own encoder, missing vectors are added.

    Args:
        role: what it is to do: "image" (compare images; reports are not embedded) or "text" (compare texts with images
            and with reports). The other role stays with the encoder that has it. None: both; of an encoder that has one
            of two roles, that one.
        batch_size: images, or reports, a transaction. After an interruption all finished batches are there.
        switch: False keeps the current encoder; `Archive.switch_encoder` switches later.
        wait: seconds to wait for another writer to finish, each time that a batch is to be stored.
        progress: called with the number of images that are done, and their total.
        embedding: the same for reports.

    The switch does not happen while any image, or any report with text, is without its vector; the summary says which
    and why. An encoder that embeds no texts at all may take over all the same, and the notes say so.

    Raises:
        EncoderLoadError: the encoder lacks the tower that the role needs.
        index_store.EncoderMismatchError: the archive has no images yet.
        index_store.ArchiveBusyError: another writer did not finish in time.
        index_store.StorageError: the disk refuses. What was embedded before stays.
    """
    from index_store import EncoderIncompleteError

    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    check_role(encoder, role or "image")
    started = time.perf_counter()
    fingerprint = encoder.fingerprint
    with archive.writer(timeout=wait):
        archive.begin_encoder(fingerprint, name=encoder.name, dim=encoder.dim)
    role = role or _only_role(archive, fingerprint)
    texts, notes = (False, ()) if role == "image" else _embeds_texts(encoder)
    embedded, reports, switched = 0, 0, False
    skipped: dict[int, Problem] = {}
    for _round in range(ROUNDS):
        done = embed_images(archive, encoder, skipped, batch_size=batch_size, wait=wait, progress=progress)
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
                archive.switch_encoder(fingerprint, role=role, without_reports=not texts)
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
        switched=switched or (coverage.active if role is None else role in coverage.roles),
        seconds=time.perf_counter() - started,
        notes=notes,
    )


def _only_role(archive: Archive, fingerprint: str) -> Role | None:
    """The role of an encoder that has one while another encoder has the other; else None."""
    roles = next(known.roles for known in archive.encoders() if known.encoder.fingerprint == fingerprint)
    return roles[0] if len(roles) == 1 else None


def _embeds_texts(encoder: Encoder) -> tuple[bool, tuple[str, ...]]:
    """Whether the encoder embeds texts at all; where not, a note."""
    try:
        encoder.encode_texts(["."])
    except EncoderLoadError as error:
        return False, (
            f"Reports were not embedded: where this encoder compares texts, they are found by words. {error}",
        )
    return True, ()
