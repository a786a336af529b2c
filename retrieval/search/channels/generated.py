"""The images generated from the report text against the archive's images."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from retrieval.arrays import Vectors
from retrieval.encoder.embedding_cache import EmbeddingCache
from retrieval.encoder.vectors import mean_query
from retrieval.errors import EvaluationError
from retrieval.generated.batch_generation import (
    GenerationPlan,
    OwnReport,
    cached_queries,
    generated_folder,
    generated_queries,
)
from retrieval.generated.site_check import SiteCheck, measure_site_rates
from retrieval.language.query_text import query_text
from retrieval.search.channels.channel import CalibrationMaterials, Channel, Need, SearchMaterials
from retrieval.search.channels.own_cases import SAMPLE, OwnCases, read_own_cases
from retrieval.search.channels.own_runs import ByVectors, ChannelRun, EvaluationMaterials
from retrieval.search.understood_query import UnderstoodQuery

if TYPE_CHECKING:
    from index_store import StoredReport
    from retrieval.encoder.encoder import Encoder, Progress

GENERATED_SAMPLE: Final = 100
"""Reports that images are generated from to calibrate: minutes on a processor. A false-alarm rate of 5 % is then known
to about -3 and +6 %."""
FEWEST: Final = 20
"""1 / `FALSE_ALARMS`: with fewer, the rate of false alarms cannot be as low as it is to be."""


class GeneratedChannel(Channel):
    """Generated images to images: the mean of their vectors."""

    name = "generated"
    label = "generated images"
    colours: ClassVar[Mapping[str, str]] = {name: "#8d5a97"}
    needs = frozenset({Need.TEXT, Need.GENERATOR})
    not_judged = ""

    def encode(self, query: UnderstoodQuery, materials: SearchMaterials) -> Vectors | None:
        """The normalised mean float32[1, d] of the vectors of the generated images."""
        return None if materials.generated is None else mean_query(materials.generated.vectors)

    def calibration_key(self, materials: CalibrationMaterials) -> tuple[Hashable, ...]:
        """Weights, number and sampling of the images, and when one was last generated."""
        weights = materials.generator.fingerprint if materials.generator is not None else ""
        return weights, materials.n_images, materials.preset, _last_generated(materials)

    def own_similarities(self, materials: CalibrationMaterials) -> Mapping[str, tuple[float, ...]]:
        """What an evaluation or `coin calibrate` generated is read; generated is only where the materials say how."""
        from generation import PRESETS

        generator, work = materials.generator, materials.work
        if generator is None or work is None or materials.preset not in PRESETS:
            raise EvaluationError("Generated images are not judged here: nothing says by what they were made.")
        archive, encoder, where = materials.archive, materials.encoder, materials.where
        folder, plan = generated_folder(work, archive, encoder), materials.generation
        rates = measure_site_rates(archive, fingerprint=encoder.fingerprint)
        return generated_similarities(
            read_own_cases(archive, encoder.fingerprint, where=where),
            encoder,
            plan or GenerationPlan(generator, images=materials.n_images, preset=materials.preset),
            SiteCheck(archive, fingerprint=encoder.fingerprint, where=where, rates=rates),
            EmbeddingCache(folder if plan is not None or folder.is_dir() else None, encoder.dim),
            generate=plan is not None,
            filtered=where is not None,
            progress=materials.progress,
        )

    def own_run(self, materials: EvaluationMaterials) -> ChannelRun | None:
        """The mean of the images generated from a case's report against all images; None where none were."""
        if materials.generated is None:
            return None
        return ChannelRun((ByVectors(self.name, materials.generated, materials.images[1]),))


def generated_similarities(
    own: OwnCases,
    encoder: Encoder,
    plan: GenerationPlan,
    check: SiteCheck,
    cache: EmbeddingCache,
    *,
    generate: bool = False,
    seed: int = 0,
    filtered: bool = False,
    progress: Progress | None = None,
) -> dict[str, tuple[float, ...]]:
    """What images generated from the archive's own reports find of other patients, ascending.

    Args:
        plan: how images are generated. Its number of images is the query's: the mean of more images lies nearer.
        check: judges which site an image shows; made with the filter of `own`.
        generate: generate what the cache lacks, for `plan.reports` patients (`GENERATED_SAMPLE`). Otherwise what the
            cache holds of the first `SAMPLE` patients is used, an evaluation's images (`coin evaluate --generate`)
            among them.
        seed: of the order of the patients, which goes by a hash of their cases' keys: in an archive that has grown,
            the same ones are taken as before, and a few new ones.
        filtered: whether a filter narrows `own`, for messages.

    Raises:
        EvaluationError: fewer than `FEWEST` patients have a report, or generated images. What generating raises.
    """
    order = sorted(
        own.reports(),
        key=lambda report: hashlib.sha256(f"{seed}\n{report.case_key}".encode()).digest(),
    )
    first: dict[str, StoredReport] = {}
    for report in order:
        first.setdefault(report.patient, report)
    through = " that the filter lets through" if filtered else ""
    if len(first) < FEWEST:  # before anything is generated
        raise EvaluationError(
            f"Generated images cannot be judged: the archive has {len(first)} patients with a report{through}, and "
            f"{FEWEST} are needed."
        )
    chosen = list(first.values())[: (plan.reports or GENERATED_SAMPLE) if generate else SAMPLE]
    reports = [OwnReport(query_text(report.text), report.patient) for report in chosen]
    if generate:
        vectors = generated_queries(reports, plan, encoder, check, cache, progress=progress).vectors
    else:
        found, vectors = cached_queries(reports if len(cache) else [], plan, encoder, check, cache)
        chosen = [chosen[position] for position in found]
    if len(chosen) < FEWEST:
        raise EvaluationError(
            "Generated images are judged by those of the archive's own reports. Such images exist for "
            f"{len(chosen)} reports{through} ({plan.images} images each, preset {plan.preset}, these weights), and "
            f"{FEWEST} are needed: `coin calibrate` generates them."
        )
    return {GeneratedChannel.name: own.similarities(vectors, own.patients_of([report.case_id for report in chosen]))}


def _last_generated(materials: CalibrationMaterials) -> int:
    """When an image was last generated from the archive's own reports, in nanoseconds; 0: never."""
    if materials.work is None:
        return 0
    folder = generated_folder(materials.work, materials.archive, materials.encoder)
    return folder.stat().st_mtime_ns if folder.is_dir() else 0
