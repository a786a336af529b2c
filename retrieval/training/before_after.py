"""Comparison of an encoder before and after its fine-tuning, on patients that were not used to tune it.

Held-out patients' cases are queries, by leave-one-patient-out as in `coin evaluate` (`evaluation.evaluate`): by image
and by report, among all other patients' images, if cases have categories. In addition, without categories: whether a
report finds one of its own images among the held-out images; an image with an identical report counts as its own. Both
encoders get the same queries, and their differences are resampled together, by patient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from generation.training.data.pairs import TrainingPair, patients_named
from retrieval.arrays import Bools, Ints, Vectors
from retrieval.errors import EvaluationError
from retrieval.evaluation.dataset import LabelledCases, labelled_cases
from retrieval.evaluation.evaluate import evaluate_experiment
from retrieval.evaluation.experiment import Experiment, QueryType
from retrieval.evaluation.results import QueryTypeResult
from retrieval.evaluation.tables import CHANCE
from retrieval.search.batch import mean_queries
from retrieval.search.channels.own_runs import ByVectors
from retrieval.statistics.cluster_bootstrap import MacroBootstrap
from retrieval.statistics.estimate import FEWEST_CLUSTERS, Estimate

BEFORE: Final = "before"
AFTER: Final = "after"
METRICS: Final = ("P@5", "P@10", "mAP", "R@10")
RECALLS: Final = (1, 5, 10)
TOO_FEW: Final = "too few patients"
NOT_NAMED: Final = "patients not named"
BY_IMAGE: Final = "image finds its category"
BY_REPORT: Final = "report finds its category"
OWN: Final = "report finds its image"


@dataclass(frozen=True)
class Compared:
    """One figure, before and after. `difference` is paired; `chance` is the figure of a random ranking, if known."""

    asked: str
    metric: str
    queries: int
    patients: int
    before: Estimate
    after: Estimate
    difference: Estimate
    chance: float | None = None
    patients_named: bool = True
    """Whether each image's patient was named. If not, cases that count as independent may be of one patient."""

    @property
    def verdict(self) -> str:
        """better, worse, no sure difference (its interval includes 0), or why nothing is said."""
        if not self.patients_named:
            return NOT_NAMED
        if not self.difference.has_interval:
            return TOO_FEW
        if self.difference.low > 0:
            return "better"
        return "worse" if self.difference.high < 0 else "no sure difference"


@dataclass(frozen=True)
class Comparison:
    """All figures, and notes on what could not be measured."""

    figures: tuple[Compared, ...]
    notes: tuple[str, ...]

    @property
    def words(self) -> str:
        """The differences in one sentence for each query type."""
        made = []
        for asked in dict.fromkeys(figure.asked for figure in self.figures):
            group = [figure for figure in self.figures if figure.asked == asked]
            parts = [f"{figure.metric} {figure.difference.mean:+.3f}" for figure in group]
            if not group[0].patients_named:
                parts[-1] += " (patients are not named, so that nothing says how sure)"
            elif not group[0].difference.has_interval:
                of = "one patient" if group[0].patients == 1 else f"{group[0].patients} patients"
                parts[-1] += f" (of {of}, and {FEWEST_CLUSTERS} are needed to say how sure)"
            else:
                parts = [f"{part} ({figure.verdict})" for part, figure in zip(parts, group, strict=True)]
            made.append(f"{asked[0].upper()}{asked[1:]}: {', '.join(parts)}.")
        return " ".join(made)


@dataclass(frozen=True, eq=False)
class Seen:
    """One encoder's vectors of the compared pairs: `images` float32[n, d], and `reports` float32[d] by text."""

    images: Vectors
    reports: Mapping[str, Vectors]


def compare(pairs: Sequence[TrainingPair], held_out: Bools, before: Seen, after: Seen, *, seed: int = 0) -> Comparison:
    """Compare two encoders on n pairs; those of `held_out`, bool[n], are queries. At least one must be held out."""
    notes: list[str] = []
    figures = _own_images(pairs, held_out, before, after, seed)
    try:
        figures = [*_categories(pairs, held_out, before, after, seed), *figures]
    except EvaluationError as error:
        notes.append(f"Finding categories was not measured. {error}")
    if not patients_named(pairs):
        figures = [dataclasses.replace(figure, patients_named=False) for figure in figures]
    return Comparison(tuple(figures), tuple(notes))


def _categories(pairs: Sequence[TrainingPair], held_out: Bools, before: Seen, after: Seen, seed: int) -> list[Compared]:
    cases, place_of = _cases(pairs)
    query_keys = {_case_key(pair) for pair, held in zip(pairs, held_out, strict=True) if held}
    query_rows = np.flatnonzero([key in query_keys for key in cases.keys])
    if not len(query_rows):
        raise EvaluationError("No held-out case has a category.")
    channels = []
    for name, seen in ((BEFORE, before), (AFTER, after)):
        images = seen.images[place_of]
        queries = mean_queries(images, cases.case_of, len(cases.keys))
        reports = np.stack([seen.reports[report] for report in cases.reports])
        channels += [ByVectors(f"image, {name}", queries, images), ByVectors(f"report, {name}", reports, images)]
    query_types = [
        QueryType(query_name, "", query_rows, rows, ((rows[1], rows[0]),))
        for query_name, rows in (
            (BY_IMAGE, (f"image, {BEFORE}", f"image, {AFTER}")),
            (BY_REPORT, (f"report, {BEFORE}", f"report, {AFTER}")),
        )
    ]
    results = evaluate_experiment(cases, Experiment(channels, query_types), seed=seed)
    return [
        figure
        for query_type, result in zip(query_types, results, strict=True)
        for figure in _figures(query_type, result)
    ]


def _figures(query_type: QueryType, result: QueryTypeResult) -> list[Compared]:
    task = next(task for task in result.tasks if task.name.startswith("category"))  # of the whole archive, if there
    whole = task.parts[0]
    scores = {row.channel: row.scores for row in whole.rows}
    (difference,) = task.differences
    return [
        Compared(
            asked=query_type.name,
            metric=metric,
            queries=whole.queries,
            patients=whole.patients,
            before=scores[query_type.runs[0]][metric],
            after=scores[query_type.runs[1]][metric],
            difference=difference.scores[metric],
            chance=scores[CHANCE][metric].mean,
        )
        for metric in METRICS
    ]


def _cases(pairs: Sequence[TrainingPair]) -> tuple[LabelledCases, np.ndarray]:
    """The pairs with a category as cases, and for each of their images the index of its pair."""
    from index_store import Case, Image

    pairs_of: dict[str, list[int]] = {}
    for index, pair in enumerate(pairs):
        pairs_of.setdefault(_case_key(pair), []).append(index)
    archive_cases = []
    for number, (key, indices) in enumerate(pairs_of.items(), start=1):
        pair = pairs[indices[0]]
        known = pair.attributes
        archive_cases.append(
            Case(
                id=number,
                key=key,
                patient=pair.patient,
                report=pair.report,
                site=known.get("site", ""),
                system=known.get("system", ""),
                category=known.get("category", ""),
                images=tuple(
                    Image(index, key, Path(), sha256=pairs[index].content, width=0, height=0) for index in indices
                ),
            )
        )
    cases = labelled_cases(archive_cases)
    return cases, cases.image_ids


def _case_key(pair: TrainingPair) -> str:
    return f"{pair.patient}\0{pair.case or pair.content}"


def _own_images(pairs: Sequence[TrainingPair], held_out: Bools, before: Seen, after: Seen, seed: int) -> list[Compared]:
    """Recall of each held-out pair's own images, found by its report among all held-out images."""
    held_out_rows = np.flatnonzero(held_out)
    queries = [pairs[row] for row in held_out_rows.tolist()]
    reports = {text: number for number, text in enumerate(dict.fromkeys(pair.report for pair in queries))}
    report_of = np.array([reports[pair.report] for pair in queries])
    patients = np.unique(np.array([pair.patient for pair in queries]), return_inverse=True)[1]
    bootstrap = MacroBootstrap(patients, np.zeros(len(held_out_rows), dtype=np.int64), 1, seed=seed)
    ranks = {
        name: _first_ranks(np.stack([seen.reports[text] for text in reports]), seen.images[held_out_rows], report_of)[
            report_of
        ]
        for name, seen in ((BEFORE, before), (AFTER, after))
    }
    own_images = np.bincount(report_of)[report_of]
    figures = []
    for k in RECALLS:
        values = {name: (rank < k).astype(np.float64) for name, rank in ranks.items()}
        averages = {
            name: averages[0] for name, averages in bootstrap.mean(values, [np.zeros(1, dtype=np.int64)]).items()
        }
        ranks_before = np.arange(min(k, len(held_out_rows)))  # sampled without replacement, none an own image
        missed = np.clip(1 - own_images[:, None] / (len(held_out_rows) - ranks_before), 0, 1).prod(axis=1)
        figures.append(
            Compared(
                asked=OWN,
                metric=f"R@{k}",
                queries=len(held_out_rows),
                patients=len(np.unique(patients)),
                before=averages[BEFORE].estimate,
                after=averages[AFTER].estimate,
                difference=averages[AFTER].minus(averages[BEFORE]),
                chance=float(1 - missed.mean()),
            )
        )
    return figures


def _first_ranks(reports: Vectors, images: Vectors, report_of: Ints) -> Ints:
    """The rank from 0 of each report's first own image, int[m]. `report_of`, int[n], is the report of each image."""
    first = np.empty(len(reports), dtype=np.int64)
    for number, report in enumerate(reports):
        order = np.argsort(-(images @ report), kind="stable")
        first[number] = int(np.argmax(report_of[order] == number))
    return first
