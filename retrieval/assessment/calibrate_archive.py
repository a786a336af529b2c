"""All that can be calibrated of one archive, encoder and generator, at once: what `coin calibrate` does."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.arrays import Vectors
from retrieval.assessment.novelty import Comparability
from retrieval.assessment.novelty_calibration import calibrate, calibrate_generated, calibrate_texts
from retrieval.encoder.embedding_cache import VectorShelf
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.errors import EncoderLoadError, EvaluationError
from retrieval.generated.batch_generation import GenerationPlan, generated_folder
from retrieval.generated.site_check import SiteCheck, SiteRates, measure_site_rates
from retrieval.language.query_text import asked_text

if TYPE_CHECKING:
    from index_store import Archive, CaseFilter


@dataclass(frozen=True)
class ArchiveCalibration:
    """What a search will judge by."""

    sites: SiteRates
    """How the check of a generated image's site does on the archive's own images."""
    rules: tuple[Comparability, ...]
    """One for each way to ask, with its threshold and false alarms (what it judged is the threshold itself)."""


def calibrate_archive(
    archive: Archive,
    encoder: Encoder,
    plan: GenerationPlan,
    *,
    work: Path,
    where: CaseFilter | None = None,
    progress: Progress | None = None,
) -> ArchiveCalibration:
    """Draw images of the archive's own reports where they are missing, and calibrate every way to ask.

    Raises EvaluationError where the archive has too few patients, `index_store.EncoderMismatchError`, and what
    generating raises; what was drawn before is kept in `work`.
    """
    archive.use_encoder(encoder.fingerprint, name=encoder.name, dim=encoder.dim)
    fingerprint, held = encoder.fingerprint, archive.cases()
    made = calibrate(archive, fingerprint, where=where, held=held)
    rates = measure_site_rates(archive, fingerprint=fingerprint, held=held)

    def encode(texts: Sequence[str]) -> Vectors:
        return encoder.encode_texts([asked_text(text) for text in texts])

    with contextlib.suppress(EncoderLoadError, EvaluationError):  # no text tower, or too few reports
        made = made.joined(calibrate_texts(archive, fingerprint, encode, where=where, held=held, reports=False))
    generated = calibrate_generated(
        archive,
        encoder,
        plan,
        SiteCheck(archive, fingerprint=fingerprint, where=where, held=held, rates=rates),
        VectorShelf(generated_folder(work, archive, encoder), encoder.dim),
        draw=True,
        where=where,
        held=held,
        progress=progress,
    )
    made = made.joined(generated)
    return ArchiveCalibration(rates, tuple(made.judge(made.threshold(kind), kind) for kind in made.scores))
