"""Calibrating comparability: what the archive's own cases find when their patient is left out, by way to ask.

A calibration is made from the stored vectors, and holds until cases are added or removed. Only that of generated images
needs work that is kept: images drawn of the archive's own reports, whose vectors lie on a shelf.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from index_store import CaseFilter
from retrieval.arrays import Floats, Ints, Vectors
from retrieval.assessment.novelty import Calibration, Kind
from retrieval.encoder.nearest import nearest_mean
from retrieval.encoder.vectors import mean_query
from retrieval.errors import EvaluationError
from retrieval.generated.batch_generation import GenerationPlan, OwnReport, generated_queries, made_queries
from retrieval.language.query_text import asked_text

if TYPE_CHECKING:
    from index_store import Archive, Case
    from retrieval.encoder.embedding_cache import VectorShelf
    from retrieval.encoder.encoder import Encoder, Progress
    from retrieval.generated.site_check import SiteCheck

Encode = Callable[[Sequence[str]], Vectors]
"""Report texts to unit rows: `Encoder.encode_texts`, or one that looks up what is stored."""

SAMPLE: Final = 500
DRAWN: Final = 100
"""Reports that images are drawn of to calibrate generated images: minutes on a processor. A false-alarm rate of 5 % is
then known to about -3 and +6 %."""
FEWEST_DRAWN: Final = 20
"""1 / `FALSE_ALARMS`: with fewer, the rate of false alarms cannot be as low as it is to be."""


def calibrate(
    archive: Archive,
    fingerprint: str,
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    where: CaseFilter | None = None,
    held: Sequence[Case] | None = None,
) -> Calibration:
    """Calibrate image queries: of the kinds "case" (the mean of its images) and "image" (one of them).

    `sample` patients are drawn, and one case and image of each. `where` narrows both the sample and what they search
    in: a filtered search is judged by a calibration under its filter. `held`: `archive.cases()`, where the caller has
    read them. Time O(sample · images · d).

    Raises EvaluationError for fewer than two patients.
    """
    own = _own_cases(archive, fingerprint, where, held)
    rng = np.random.default_rng(seed)
    chosen = own.sampled(sample, rng)
    single = np.array([rng.choice(own.images_of(i)) for i in chosen], dtype=np.int64)
    means = np.concatenate([mean_query(own.vectors[own.images_of(i)]) for i in chosen])
    scores: dict[Kind, tuple[float, ...]] = {
        "case": own.scores(means, chosen),
        "image": own.scores(own.vectors[single], chosen),
    }
    return Calibration(fingerprint, scores, filtered=where is not None)


def calibrate_texts(
    archive: Archive,
    fingerprint: str,
    encode: Encode,
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    where: CaseFilter | None = None,
    held: Sequence[Case] | None = None,
    reports: bool = True,
) -> Calibration:
    """Calibrate report text as a query: "joint" (against images) and, with `reports`, "report" (against the others).

    For "report" all reports are encoded, since it searches in them; for "joint" only the sample. Cases without a report
    take no part. "report" knows the archive's own wording only: the same findings in another laboratory's words can be
    called not comparable far more often than stated (phantoms in other wordings: 28 % instead of 5 %).
    """
    own = _own_cases(archive, fingerprint, where, held)
    rows = [i for i, case in enumerate(own.cases) if case.report.strip()]
    patients = own.patient_of[rows]
    if len(set(patients.tolist())) < 2:
        raise EvaluationError("Reports of at least two patients are needed to calibrate report text.")
    chosen = _one_a_patient(patients, sample, np.random.default_rng(seed))
    asking = chosen if not reports else np.arange(len(rows))
    texts = encode([own.cases[rows[i]].report for i in asking])
    asked = texts[chosen] if reports else texts
    scores: dict[Kind, tuple[float, ...]] = {"joint": own.scores(asked, np.array(rows)[chosen])}
    if reports:
        scores["report"] = _ascending(nearest_mean(asked, texts, patients, own=patients[chosen]))
    return Calibration(fingerprint, scores, filtered=where is not None)


def calibrate_generated(
    archive: Archive,
    encoder: Encoder,
    plan: GenerationPlan,
    check: SiteCheck,
    shelf: VectorShelf,
    *,
    draw: bool = False,
    seed: int = 0,
    where: CaseFilter | None = None,
    held: Sequence[Case] | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Calibrate "generated": images drawn of the archive's own reports, checked as a search checks them.

    Args:
        plan: how images are made. Its number of images is the query's: the mean of more images lies nearer.
        check: tells which site an image shows; made with `where`.
        draw: draw what is not on the shelf, for `plan.reports` patients (`DRAWN`). Otherwise what is there is used, of
            the first `SAMPLE` patients: an evaluation's drawings (`coin evaluate --generate`) count, too.
        seed: of the order of the patients, which goes by a hash of their cases' keys: of an archive that has grown, the
            same ones are taken as before, and a few new ones.

    Raises EvaluationError for fewer than two patients with a report, and where fewer than `FEWEST_DRAWN` are drawn; and
    what generating raises.
    """
    own = _own_cases(archive, encoder.fingerprint, where, held)
    order = sorted(
        (i for i, case in enumerate(own.cases) if case.report.strip()),
        key=lambda i: hashlib.sha256(f"{seed}\n{own.cases[i].key}".encode()).digest(),
    )
    first: dict[int, int] = {}
    for i in order:
        first.setdefault(int(own.patient_of[i]), i)
    through = " that the filter lets through" if where is not None else ""
    if len(first) < FEWEST_DRAWN:  # before anything is drawn
        raise EvaluationError(
            f"Generated images cannot be judged: the archive has {len(first)} patients with a report{through}, and "
            f"{FEWEST_DRAWN} are needed."
        )
    rows = list(first.values())[: (plan.reports or DRAWN) if draw else SAMPLE]
    asking = [OwnReport(asked_text(own.cases[i].report), own.cases[i].patient) for i in rows]
    if draw:
        vectors = generated_queries(asking, plan, encoder, check, shelf, progress=progress).vectors
    else:
        found, vectors = made_queries(asking if len(shelf) else [], plan, encoder, check, shelf)
        rows = [rows[place] for place in found]
    if len(rows) < FEWEST_DRAWN:
        raise EvaluationError(
            "Generated images are judged by what the archive's own reports find through theirs. They were drawn of "
            f"{len(rows)} reports{through} ({plan.images} images each, preset {plan.preset}, these weights), and "
            f"{FEWEST_DRAWN} are needed: `coin calibrate` draws them."
        )
    scores: dict[Kind, tuple[float, ...]] = {"generated": own.scores(vectors, np.array(rows))}
    return Calibration(encoder.fingerprint, scores, filtered=where is not None)


@dataclass(frozen=True, eq=False)
class _Own:
    """An archive's permitted cases with vectors, as arrays."""

    cases: tuple[Case, ...]
    patient_of: Ints
    """int[cases]"""
    case_of: Ints
    """int[images]"""
    vectors: Vectors
    """float32[images, d]"""

    def sampled(self, sample: int, rng: np.random.Generator) -> Ints:
        """One case each of so many patients, or of all."""
        return _one_a_patient(self.patient_of, sample, rng)

    def images_of(self, case: int) -> Ints:
        return np.arange(*np.searchsorted(self.case_of, [case, case + 1]))

    def scores(self, queries: Vectors, cases: Ints) -> tuple[float, ...]:
        own = self.patient_of[cases]
        return _ascending(nearest_mean(queries, self.vectors, self.patient_of[self.case_of], own=own))


def _own_cases(archive: Archive, fingerprint: str, where: CaseFilter | None, held: Sequence[Case] | None) -> _Own:
    cases = (where or CaseFilter()).permitted_images(archive.cases(where) if held is None else held)
    number: dict[str, int] = {}
    for case, _ in cases:
        number.setdefault(case.patient, len(number))
    if len(number) < 2:
        raise EvaluationError(
            "Comparability is calibrated on the archive's own cases: at least two patients are needed, with images "
            "that the filter permits."
        )
    ids = [image.id for _, images in cases for image in images]
    return _Own(
        cases=tuple(case for case, _ in cases),
        patient_of=np.array([number[case.patient] for case, _ in cases], dtype=np.int64),
        case_of=np.repeat(np.arange(len(cases)), [len(images) for _, images in cases]),
        vectors=archive.vectors_of(ids, fingerprint),
    )


def _one_a_patient(patients: Ints, sample: int, rng: np.random.Generator) -> Ints:
    """Rows of one case each of `sample` patients: patients are independent of each other, their cases are not."""
    shuffled = rng.permutation(len(patients))
    _, first = np.unique(patients[shuffled], return_index=True)
    return np.sort(rng.permutation(shuffled[first])[:sample])


def _ascending(scores: Floats) -> tuple[float, ...]:
    return tuple(np.sort(scores).tolist())
