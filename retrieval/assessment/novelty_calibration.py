"""Calibrating the novelty check: what the archive's own cases find when their patient is left out, by query type.

A calibration is made from the stored vectors, and holds until cases are added or removed. Only that of generated images
needs work that is kept: images generated from the archive's own reports, whose vectors are cached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.arrays import Vectors
from retrieval.assessment.novelty import Calibration, NoveltyCheck
from retrieval.encoder.embedding_cache import EmbeddingCache
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.encoder.roles import role_encoders
from retrieval.generated.batch_generation import GenerationPlan, generated_folder
from retrieval.generated.site_check import SiteCheck, SiteRates, measure_site_rates
from retrieval.language.archive_labels import meant_filter
from retrieval.search.channels.generated import generated_similarities
from retrieval.search.channels.image import image_similarities
from retrieval.search.channels.joint import text_similarities
from retrieval.search.channels.own_cases import SAMPLE, read_own_cases

if TYPE_CHECKING:
    from index_store import Archive, Case, CaseFilter


def calibrate(
    archive: Archive,
    fingerprint: str,
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    where: CaseFilter | None = None,
    cases: Sequence[Case] | None = None,
) -> Calibration:
    """Calibrate image queries, of the types "case" (the mean of its images) and "image" (one of them).

    Args:
        sample: how many patients are sampled, and one case and image of each.
        where: narrows both the sample and its candidates: a filtered search is judged by a calibration under its
            filter.
        cases: `archive.cases()`, where the caller has read them.

    Raises:
        EvaluationError: there are fewer than two patients.
    """
    own = read_own_cases(archive, fingerprint, where=where, cases=cases)
    return Calibration(fingerprint, image_similarities(own, sample=sample, seed=seed), filtered=where is not None)


def calibrate_texts(
    archive: Archive,
    fingerprint: str,
    encode: Callable[[Sequence[str]], Vectors],
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    where: CaseFilter | None = None,
    cases: Sequence[Case] | None = None,
    reports: bool = True,
) -> Calibration:
    """Calibrate report text as a query: "joint" (against images) and, with `reports`, "report" (against the others).

    For measurements only: no search judges texts by it. It knows the archive's own wordings, and the same findings in
    other words are called not comparable far more often than stated (`benchmarks.wordings`).

    Args:
        encode: report texts to unit rows float32[n, d]: `Encoder.encode_texts`, or a look-up of what is stored. With
            `reports` it gets all reports, since "report" searches in them; otherwise the sample.

    Raises:
        EvaluationError: there are reports of fewer than two patients.
    """
    own = read_own_cases(archive, fingerprint, where=where, cases=cases)
    similarities = text_similarities(own, encode, sample=sample, seed=seed, reports=reports)
    return Calibration(fingerprint, similarities, filtered=where is not None)


def calibrate_generated(
    archive: Archive,
    encoder: Encoder,
    plan: GenerationPlan,
    check: SiteCheck,
    cache: EmbeddingCache,
    *,
    generate: bool = False,
    seed: int = 0,
    where: CaseFilter | None = None,
    cases: Sequence[Case] | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate "generated": images of the archive's own reports, checked as a search checks them.

    See `generated_similarities` for the arguments; `check` was made with `where`.

    Raises:
        EvaluationError: there are fewer than two patients, or images of fewer than 20 patients' reports. What
            generating raises.
    """
    own = read_own_cases(archive, encoder.fingerprint, where=where, cases=cases)
    filtered = where is not None
    similarities = generated_similarities(
        own, encoder, plan, check, cache, generate=generate, seed=seed, filtered=filtered, progress=progress
    )
    return Calibration(encoder.fingerprint, similarities, filtered=filtered)


@dataclass(frozen=True)
class ArchiveCalibration:
    """What a search will judge by."""

    sites: SiteRates
    """How the check of a generated image's site does on the archive's own images."""
    rules: tuple[NoveltyCheck, ...]
    """One for each query type, with its threshold and false alarms (the judged similarity is the threshold itself)."""


def calibrate_archive(
    archive: Archive,
    encoder: Encoder,
    plan: GenerationPlan,
    *,
    text_encoder: Encoder | None = None,
    work: Path,
    where: CaseFilter | None = None,
    progress: Progress | None = None,
) -> ArchiveCalibration:
    """Generate missing images of the archive's own reports, and calibrate every query type that is judged.

    Raises EvaluationError where the archive has too few patients, `index_store.EncoderMismatchError`, and what
    generating raises; images generated before are kept in `work`.
    """
    role_encoders(archive, encoder, text_encoder)  # checked before minutes are spent
    where = meant_filter(archive, where)
    fingerprint, cases = encoder.fingerprint, archive.cases()
    calibration = calibrate(archive, fingerprint, where=where, cases=cases)
    rates = measure_site_rates(archive, fingerprint=fingerprint, cases=cases)

    generated = calibrate_generated(
        archive,
        encoder,
        plan,
        SiteCheck(archive, fingerprint=fingerprint, where=where, cases=cases, rates=rates),
        EmbeddingCache(generated_folder(work, archive, encoder), encoder.dim),
        generate=True,
        where=where,
        cases=cases,
        progress=progress,
    )
    return ArchiveCalibration(
        rates,
        tuple(each.judge(each.threshold(kind), kind) for each in (calibration, generated) for kind in each.scores),
    )
