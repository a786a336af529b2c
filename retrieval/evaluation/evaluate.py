"""Leave-one-patient-out: every case of an archive is a query, and its patient is left out of the candidates.

This is the field's protocol (Kalra et al., Yottixel, 2020; Lahr et al., 2024). A result is relevant if it is of the
query's category, and a category means something only within its site and reporting system.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.arrays import Ints
from retrieval.encoder.encoder import Encoder, Progress
from retrieval.errors import EvaluationError
from retrieval.evaluation.batched_rankings import Rankings
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.experiment import Experiment, QueryType, Trial
from retrieval.evaluation.identical_reports import IdenticalReports, report_groups
from retrieval.evaluation.material import ProgressFactory, gather, no_progress
from retrieval.evaluation.relevance import METRICS, Relevance
from retrieval.evaluation.results import GAIN, ChannelGain, Evaluation, QueryTypeResult
from retrieval.evaluation.runs import measure_runs
from retrieval.evaluation.tables import Tables
from retrieval.evaluation.tasks import Gain, same_category, tasks_for
from retrieval.generated.batch_generation import GenerationPlan
from retrieval.language.query_text import conclusion_key
from retrieval.search.fusion import FusionRule, default_rules
from retrieval.statistics.estimate import RESAMPLES

if TYPE_CHECKING:
    from index_store import Archive


def evaluate_archive(
    archive: Archive,
    *,
    encoder: Encoder | None = None,
    text_encoder: Encoder | None = None,
    generation: GenerationPlan | None = None,
    sample: int | None = None,
    seed: int = 0,
    gain: Gain = same_category,
    histogram: bool | None = None,
    rules: Mapping[str, FusionRule] | None = None,
    report_key: Callable[[str], str] = conclusion_key,
    work: Path | None = None,
    progress: ProgressFactory = no_progress,
) -> Evaluation:
    """Evaluate search by image, by report, and by both on an archive's own cases, each channel and fused.

    Args:
        archive: of embedded cases, some of which have a category.
        encoder: the archive's, to embed generated images, and the reports of which a search would read only a part.
            None: these query by their whole text. It loads no model where none of this is needed.
        text_encoder: the archive's of the role `text`, where that is another: it embeds these reports.
        generation: how reports become images, for the run "generated". None: no such run. Needs the encoder.
        sample: this many cases, sampled at random, are queries; all are candidates. None: every case is a query, or in
            a large archive as many as `material.COMPARISONS` permits.
        seed: of the samples, of the resampled patients, and of the random orders behind a vote's chance.
        gain: graded relevance for nDCG, such as the distance of two categories on an ordinal scale.
        histogram: also rank by colour alone. Reads every stored image once. None: where there are not too many
            (`material.READ_IMAGES`).
        rules: how channels are fused; by default those that ship.
        report_key: a key that reports share if they say the same.
        work: a folder that keeps what is expensive to make (vectors of generated images, colour histograms), so that an
            interrupted run resumes. None: nothing is kept.
        progress: opens displays of progress.

    Returns:
        The tables. The same archive and arguments give the same figures. Time and memory: `evaluate_experiment`.

    Raises:
        EvaluationError: the cases allow no evaluation. Besides, what loading or running a model raises.
    """
    rules = rules or default_rules()
    material = gather(
        archive,
        encoder=encoder,
        text_encoder=text_encoder,
        generation=generation,
        sample=sample,
        seed=seed,
        histogram=histogram,
        rules=rules,
        work=work,
        progress=progress,
    )
    cases, experiment = material.cases, material.experiment
    with progress("Evaluating", unit="queries") as count:
        results = evaluate_experiment(
            cases,
            experiment,
            seed=seed,
            gain=gain,
            group_of=report_groups(cases.reports, report_key),
            progress=count,
        )
    used = {run for query_type in experiment.query_types for run in query_type.runs}
    return Evaluation(
        archive=archive.name,
        encoder=material.encoder.name,
        fingerprint=material.encoder.fingerprint,
        cases=len(cases.keys),
        patients=cases.patients,
        images=len(cases.image_ids),
        phantoms=cases.phantoms,
        unlabelled=cases.unlabelled,
        derived=cases.derived,
        sampled=material.sampled,
        generated=material.generated,
        seed=seed,
        resamples=RESAMPLES,
        metrics=METRICS,
        unreadable_images=material.unreadable,
        rules={
            fusion.name: fusion.rule.words(tuple(fusion.of)) for fusion in experiment.fusions if fusion.name in used
        },
        notes=material.notes,
        families=results,
        text_encoder=material.text_encoder.name if material.text_encoder != material.encoder else "",
        text_fingerprint=material.text_encoder.fingerprint if material.text_encoder != material.encoder else "",
        gains=channel_gains(experiment.trials, results),
    )


def evaluate_experiment(
    cases: LabelledCases,
    experiment: Experiment,
    *,
    seed: int = 0,
    gain: Gain = same_category,
    group_of: Ints | None = None,
    progress: Progress | None = None,
) -> tuple[QueryTypeResult, ...]:
    """Measure every run of every query type on every task, beside chance.

    Args:
        cases: queries and candidates.
        experiment: the channels, fusions and query types.
        seed: of the resampled patients, and of the random orders behind a vote's chance.
        gain: graded relevance for nDCG.
        group_of: int[cases], which reports say the same, -1 for none; by default `report_groups`.
        progress: counts queries.

    With n cases, m images of d dimensions and p patients: time O(n m d + n p log p) for each channel, and
    O(n p log p) for each fusion; memory O(m d) beside one block of queries. Raises EvaluationError where, of a query
    type, no query of some task has a relevant candidate.
    """
    relevances = [Relevance(task, cases) for task in tasks_for(cases, gain)]
    for query_type in experiment.query_types:
        _require_answerable(query_type, relevances)
    identical = IdenticalReports(report_groups(cases.reports) if group_of is None else group_of, cases)
    rankings = Rankings(cases, experiment)
    runs = measure_runs(rankings, experiment.query_types, relevances, identical, progress=progress)
    tables = Tables(cases, relevances, identical, seed)
    return tuple(tables.result(query_type, runs) for query_type in experiment.query_types)


def channel_gains(trials: Sequence[Trial], results: Sequence[QueryTypeResult]) -> tuple[ChannelGain, ...]:
    """The gain of each trial, from the tables of all query types."""
    by_name = {result.name: result for result in results}
    gains = []
    for trial in trials:
        task = next(task for task in by_name[trial.query_type].tasks if task.name.startswith("category"))
        difference = next(d for d in task.differences if (d.channel, d.minus) == (trial.joined, trial.without))
        whole = task.parts[0]
        gains.append(
            ChannelGain(trial.channel, trial.query_type, whole.queries, whole.patients, difference.scores[GAIN])
        )
    return tuple(gains)


def _require_answerable(query_type: QueryType, relevances: Sequence[Relevance]) -> None:
    if not all(len(relevance.answerable(query_type.queries)) for relevance in relevances):
        raise EvaluationError(
            f"None of the {len(query_type.queries)} query cases ({query_type.name}) shares its category with another "
            "patient: query with more of them (a larger --sample or --generate)."
        )
