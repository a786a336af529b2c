"""Calibrating the novelty check: what the archive's own cases find when their patient is left out, by query type.

A calibration is made from the stored vectors, and holds until cases are added or removed. Only that of generated images
needs work that is kept: images generated from the archive's own reports, whose vectors are cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.assessment.novelty import Calibration, NoveltyCheck
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.encoder.roles import role_encoders
from retrieval.generated.batch_generation import GenerationPlan
from retrieval.generated.site_check import SiteRates, measure_site_rates
from retrieval.language.archive_labels import meant_filter
from retrieval.search.channels.channel import CalibrationMaterials
from retrieval.search.channels.image import image_similarities
from retrieval.search.channels.own_cases import read_own_cases
from retrieval.search.channels.registry import CHANNELS

if TYPE_CHECKING:
    from index_store import Archive, CaseFilter


def calibrate(
    archive: Archive,
    fingerprint: str,
    *,
    sample: int | None = None,
    seed: int = 0,
    where: CaseFilter | None = None,
) -> Calibration:
    """Calibrate image queries, of the types "case" (the mean of its images) and "image" (one of them).

    Args:
        sample: how many patients are sampled, and one case and image of each; None: as a search does.
        where: narrows both the sample and its candidates: a filtered search is judged by a calibration under its
            filter.

    Raises:
        EvaluationError: there are fewer than two patients.
    """
    own = read_own_cases(archive, fingerprint, where=where)
    return Calibration(fingerprint, image_similarities(own, sample=sample, seed=seed), filtered=where is not None)


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
    encoders = role_encoders(archive, encoder, text_encoder)  # checked before minutes are spent
    where = meant_filter(archive, where)
    rules = []
    for channel in CHANNELS.values():
        of_role = encoders.of(channel.role)
        if channel.not_judged or of_role is None:
            continue
        for kind in channel.query_types:
            materials = CalibrationMaterials(
                archive=archive,
                encoder=of_role,
                generator=plan.generator,
                work=work,
                where=where,
                query_type=kind,
                n_images=plan.images,
                preset=plan.preset,
                generation=plan,
                progress=progress,
            )
            similarities = channel.own_similarities(materials)
            calibration = Calibration(of_role.fingerprint, similarities, filtered=where is not None)
            rules.append(calibration.judge(calibration.threshold(kind), kind))
    return ArchiveCalibration(measure_site_rates(archive, fingerprint=encoder.fingerprint), tuple(rules))
