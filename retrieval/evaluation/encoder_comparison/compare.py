"""Two encoders compared on an archive's own cases, for each role that they could have.

Both rank the same queries over the same candidates, and the difference is taken query by query: averaged over
categories, with an interval by sign flips of patients, over the whole archive and site by site. The protocol is that of
`evaluate` (leave-one-patient-out).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.arrays import Ints
from retrieval.encoder.encoder import Encoder
from retrieval.errors import EvaluationError
from retrieval.evaluation.batched_rankings import Rankings
from retrieval.evaluation.dataset import LabelledCases, read_labelled
from retrieval.evaluation.encoder_comparison.results import (
    COMPARED,
    DECIDED_BY,
    ComparedPart,
    ComparedSearch,
    EncoderComparison,
    RoleVerdict,
)
from retrieval.evaluation.experiment import Experiment, QueryType
from retrieval.evaluation.identical_reports import IdenticalReports, report_groups
from retrieval.evaluation.material import ProgressFactory, no_progress, query_cases, query_vectors, report_vectors
from retrieval.evaluation.relevance import Relevance
from retrieval.evaluation.runs import Run, measure_runs
from retrieval.evaluation.tasks import tasks_for
from retrieval.search.batch import mean_queries
from retrieval.search.channels.own_runs import ByVectors, has_vector
from retrieval.statistics.cluster_bootstrap import Average, MacroBootstrap
from retrieval.statistics.estimate import FEWEST_CLUSTERS, RESAMPLES

if TYPE_CHECKING:
    from index_store import Archive, EncoderCoverage, EncoderInfo, Role

IMAGES: Final = "images to images"
JOINT: Final = "text to images"
REPORTS: Final = "text to reports, by meaning"


def compare_encoders(
    archive: Archive,
    first: Encoder,
    second: Encoder,
    *,
    sample: int | None = None,
    seed: int = 0,
    work: Path | None = None,
    progress: ProgressFactory = no_progress,
) -> EncoderComparison:
    """Compare two encoders that have both embedded the archive, for images and, where both read texts, for texts.

    Args:
        archive: of embedded cases, some of which have a category.
        first, second: the encoders. A model is loaded where a search would read only a part of a report.
        sample: this many cases, sampled at random, are queries; all are candidates. None: as of `evaluate_archive`.
        seed: of the sample, and of the resampled patients.
        work: a folder that keeps the vectors of shortened reports. None: nothing is kept.
        progress: opens displays of progress.

    Raises:
        EvaluationError: they are the same encoder, one has not embedded the archive, or the cases allow no evaluation.
    """
    if first.fingerprint == second.fingerprint:
        raise EvaluationError(f"Both encoders are {first.name} ({first.fingerprint[:12]}): name two different ones.")
    infos = tuple(_require_embedded(archive, encoder) for encoder in (first, second))
    cases = read_labelled(archive)
    relevance = Relevance(next(task for task in tasks_for(cases) if task.name.startswith("category")), cases)
    notes: list[str] = []
    folder = None if work is None else work / archive.uuid
    queries = query_cases(cases, sample, seed, notes)
    channels: list[ByVectors] = []
    by_texts = _compare_texts(first, second, notes)
    text_queries = queries
    for encoder in (first, second):
        images = archive.vectors_of(cases.image_ids.tolist(), encoder.fingerprint)
        means = mean_queries(images, cases.case_of, len(cases.keys))
        channels.append(ByVectors(_run(IMAGES, encoder), means, images))
        texts = report_vectors(cases, archive, encoder.fingerprint, notes) if by_texts else None
        if texts is None:
            by_texts = False
            continue
        text_queries = text_queries[has_vector(texts)[text_queries]]
        text_vectors = query_vectors(cases, texts, text_queries, encoder, folder, progress, notes)
        channels.append(ByVectors(_run(JOINT, encoder), text_vectors, images))
        channels.append(
            ByVectors(_run(REPORTS, encoder), text_vectors, texts, by_case=True, missing=~has_vector(texts))
        )
    by_texts = by_texts and len(relevance.answerable(text_queries)) > 0
    searches: list[tuple[Role, str, Ints]] = [("image", IMAGES, queries)]
    if by_texts:
        searches += [("text", JOINT, text_queries), ("text", REPORTS, text_queries)]
    runs = _measure(cases, channels, searches, (first, second), relevance, progress)
    compared = tuple(
        _compared(role, name, chosen, runs, (first, second), cases, relevance, seed) for role, name, chosen in searches
    )
    roles = {role: archive.encoder_of(role) for role in ("image", "text")}
    return EncoderComparison(
        archive=archive.name,
        first=infos[0],
        second=infos[1],
        roles={role: known.fingerprint for role, known in roles.items() if known is not None},  # type: ignore[misc]
        cases=len(cases.keys),
        patients=cases.patients,
        images=len(cases.image_ids),
        phantoms=cases.phantoms,
        derived=cases.derived,
        sampled=len(queries) if len(queries) < len(cases.keys) else None,
        question=relevance.task.question,
        seed=seed,
        resamples=RESAMPLES,
        metrics=COMPARED,
        decided_by=DECIDED_BY,
        notes=tuple(dict.fromkeys(notes)),
        searches=compared,
        verdicts=tuple(_verdict(role, compared, (first, second)) for role in ("image", "text")),
    )


def _require_embedded(archive: Archive, encoder: Encoder) -> EncoderInfo:
    known: EncoderCoverage | None = next(
        (known for known in archive.encoders() if known.encoder.fingerprint == encoder.fingerprint), None
    )
    images = 0 if known is None else known.vectors
    reports = 0 if known is None else known.report_vectors
    if known is None or images < known.images or (encoder.reads_texts and reports < known.reports):
        counted = "" if known is None else f" of {known.images} images and {reports} of {known.reports} reports"
        raise EvaluationError(
            f"{encoder.name} ({encoder.fingerprint[:12]}) has not embedded this archive ({images}{counted or ' images'}"
            "), so it cannot be compared: `coin reembed --no-switch --encoder …` embeds it beside the encoder in use."
        )
    return known.encoder


def _compare_texts(first: Encoder, second: Encoder, notes: list[str]) -> bool:
    lacking = [encoder.name for encoder in (first, second) if not encoder.reads_texts]
    if lacking:
        notes.append(f"Searches by text were not compared: {' and '.join(lacking)} cannot read texts.")
    return not lacking


def _run(name: str, encoder: Encoder) -> str:
    return f"{name} {encoder.fingerprint}"


def _measure(
    cases: LabelledCases,
    channels: Sequence[ByVectors],
    searches: Sequence[tuple[Role, str, Ints]],
    encoders: tuple[Encoder, Encoder],
    relevance: Relevance,
    progress: ProgressFactory,
) -> Mapping[str, Run]:
    """The figures of every query, by run."""
    if not len(relevance.answerable(searches[0][2])):
        raise EvaluationError(
            f"None of the {len(searches[0][2])} query cases shares its category with another patient: query with more "
            "of them (a larger --sample)."
        )
    types = [
        QueryType(name, "", queries, tuple(_run(name, encoder) for encoder in encoders))
        for _, name, queries in searches
    ]
    wanted = {run for query_type in types for run in query_type.runs}
    rankings = Rankings(cases, Experiment([channel for channel in channels if channel.name in wanted], types))
    with progress("Comparing", unit="queries") as count:
        identical = IdenticalReports(report_groups(cases.reports), cases)
        return measure_runs(rankings, types, [relevance], identical, progress=count)


def _compared(
    role: Role,
    name: str,
    queries: Ints,
    runs: Mapping[str, Run],
    encoders: tuple[Encoder, Encoder],
    cases: LabelledCases,
    relevance: Relevance,
    seed: int,
) -> ComparedSearch:
    """The figures of one search by both encoders, and their paired differences: whole, then by site."""
    task = relevance.task
    queries = relevance.answerable(queries)
    classes, patients = task.class_of[queries], cases.patient_of[queries]
    sites = sorted({task.site_of[i] for i in classes})
    parts = [np.unique(classes)]
    if len(sites) > 1:
        parts += [np.array([i for i in parts[0] if task.site_of[i] == site]) for site in sites]
    bootstrap = MacroBootstrap(patients, classes, len(task.site_of), seed=seed)
    averages: list[Mapping[str, list[Average]]] = []
    for encoder in encoders:
        values = runs[_run(name, encoder)].values[task.name]
        averages.append(bootstrap.mean({metric: values[metric][queries] for metric in COMPARED}, parts))
    results = []
    for i, (site, part) in enumerate(zip([None, *sites], parts, strict=False)):
        members = np.isin(classes, part)
        results.append(
            ComparedPart(
                site=site,
                categories=len(part),
                queries=int(members.sum()),
                patients=len(np.unique(patients[members])),
                first={metric: averages[0][metric][i].estimate for metric in COMPARED},
                second={metric: averages[1][metric][i].estimate for metric in COMPARED},
                difference={metric: averages[1][metric][i].minus(averages[0][metric][i]) for metric in COMPARED},
            )
        )
    whole = results[0].difference[DECIDED_BY]
    better = encoders[1].fingerprint if whole.low > 0 else encoders[0].fingerprint if whole.high < 0 else ""
    return ComparedSearch(role, name, tuple(results), better)


def _verdict(role: Role, searches: Sequence[ComparedSearch], encoders: tuple[Encoder, Encoder]) -> RoleVerdict:
    of_role = [search for search in searches if search.role == role]
    if not of_role:
        able = [encoder for encoder in encoders if encoder.reads_texts]
        words = f"Only {able[0].name} can have the role {role}." if len(able) == 1 else "They were not compared."
        return RoleVerdict(role, "", words)
    better = {search.better for search in of_role if search.better}
    figures = "; ".join(f"{search.name} {search.parts[0].difference[DECIDED_BY].text(sign='+')}" for search in of_role)
    difference = f"difference in {DECIDED_BY}, second minus first: {figures}"
    if len(better) == 1:
        (fingerprint,) = better
        name = next(encoder.name for encoder in encoders if encoder.fingerprint == fingerprint)
        return RoleVerdict(role, fingerprint, f"{name} ({fingerprint[:12]}) is better ({difference}).")
    whole = of_role[0].parts[0]
    few = f"{whole.patients} patients are too few to say, {FEWEST_CLUSTERS} are needed"
    why = (
        "each is better in one search"
        if better
        else "the interval holds 0"
        if whole.difference[DECIDED_BY].has_interval
        else few
    )
    return RoleVerdict(role, "", f"Neither is better: {why} ({difference}).")
