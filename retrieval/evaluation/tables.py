"""From each query's figures to the tables that are shown: means, intervals, differences, confounders, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from retrieval.arrays import Bools, Floats, Ints
from retrieval.assessment.confounders import query_codes, shared_with_query
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.experiment import QueryType
from retrieval.evaluation.identical_reports import IDENTICAL_METRICS, IdenticalReports
from retrieval.evaluation.relevance import METRICS, QueryFigures, Relevance
from retrieval.evaluation.results import (
    Abstention,
    ConfounderShare,
    Difference,
    Part,
    QueryTypeResult,
    RunResult,
    SameReport,
    TaskResult,
)
from retrieval.evaluation.runs import Run
from retrieval.statistics.cluster_bootstrap import Average, MacroBootstrap
from retrieval.statistics.estimate import Estimate
from retrieval.statistics.selective_prediction import risk_coverage

CHANCE: Final = "chance"
ABSTAIN_BY: Final = "mMV@5"
COVERAGES: Final = (100, 95, 90, 80)
POINTS: Final = 101
"""Of a curve that is shown."""
ALL_ALIKE: Final = 1 - 1e-9
"""An expected share above it is 1: it is a sum of fractions, which rounding may leave below."""
_ALL: Final = [np.zeros(1, dtype=np.int64)]
"""The one part of a mean over queries instead of categories."""


@dataclass(frozen=True, eq=False)
class _TaskQueries:
    """A task's answerable queries among some cases: the same for all query types that have them."""

    queries: Ints
    bootstrap: MacroBootstrap
    chance: QueryFigures


class Tables:
    """The tables of each query type. Every average over the same queries sees the same resamples."""

    def __init__(
        self, cases: LabelledCases, relevances: Sequence[Relevance], identical: IdenticalReports, seed: int
    ) -> None:
        self._cases = cases
        self._relevances = relevances
        self._identical = identical
        self._seed = seed
        self._task_queries: dict[tuple[str, bytes], _TaskQueries] = {}
        self._query_bootstraps: dict[bytes, MacroBootstrap] = {}

    def result(self, query_type: QueryType, runs: Mapping[str, Run]) -> QueryTypeResult:
        """All tables of one query type, from the measured runs by name."""
        shown = {name: runs[name] for name in query_type.runs}
        return QueryTypeResult(
            name=query_type.name,
            words=query_type.description,
            asked=len(query_type.queries),
            left_out=query_type.left_out,
            tasks=tuple(self._task(relevance, query_type, shown) for relevance in self._relevances),
            same_report=self._same_report(query_type, shown) if query_type.by_report else None,
            nuisance=tuple(self._confounders(query_type, shown)),
            abstention=tuple(self._abstention(query_type, shown)),
        )

    def _task(self, relevance: Relevance, query_type: QueryType, runs: Mapping[str, Run]) -> TaskResult:
        task = relevance.task
        of_task = self._queries_of(relevance, query_type)
        queries, bootstrap = of_task.queries, of_task.bootstrap
        classes = task.class_of[queries]
        sites = sorted({task.site_of[i] for i in classes})
        parts = [np.unique(classes), *(_classes_at(site, classes, task.site_of) for site in sites)]
        averages: dict[str, dict[str, list[Average]]] = {}
        for name, run in runs.items():
            votes = {metric: vote[queries] for metric, vote in run.votes[task.name].items()}
            values = {metric: value[queries] for metric, value in run.values[task.name].items()}
            averages[name] = bootstrap.f1(votes, parts) | bootstrap.mean(values, parts)
        estimates = {
            name: {metric: [average.estimate for average in by_part] for metric, by_part in by_metric.items()}
            for name, by_metric in averages.items()
        }
        chance = of_task.chance
        estimates[CHANCE] = {metric: bootstrap.expected_mean(value, parts) for metric, value in chance.values.items()}
        estimates[CHANCE] |= {metric: bootstrap.expected_f1(vote, parts) for metric, vote in chance.votes.items()}
        results = []
        for i, (site, part) in enumerate(zip([None, *sites], parts, strict=True)):
            members = queries[np.isin(classes, part)]
            results.append(
                Part(
                    site=site,
                    categories=len(part),
                    queries=len(members),
                    patients=len(np.unique(self._cases.patient_of[members])),
                    rows=tuple(
                        RunResult(name, {metric: by_metric[metric][i] for metric in METRICS})
                        for name, by_metric in estimates.items()
                    ),
                )
            )
        overall = {name: {metric: by_metric[metric][0] for metric in METRICS} for name, by_metric in averages.items()}
        unanswerable = len(query_type.queries) - len(queries)
        return TaskResult(task.name, task.question, unanswerable, tuple(results), _differences(query_type, overall))

    def _same_report(self, query_type: QueryType, runs: Mapping[str, Run]) -> SameReport | None:
        queries = self._identical.answerable(query_type.queries)
        if not len(queries):
            return None
        averages = {
            name: self._query_means({metric: run.identical[metric][queries] for metric in IDENTICAL_METRICS}, queries)
            for name, run in runs.items()
        }
        rows = [
            RunResult(name, {metric: average.estimate for metric, average in by_metric.items()})
            for name, by_metric in averages.items()
        ]
        chance = {metric: float(value.mean()) for metric, value in self._identical.expected_by_chance(queries).items()}
        rows.append(RunResult(CHANCE, {metric: Estimate(mean, mean, mean) for metric, mean in chance.items()}))
        return SameReport(
            families=len(np.unique(self._identical.group_of[queries])),
            queries=len(queries),
            unanswerable=len(query_type.queries) - len(queries),
            rows=tuple(rows),
            differences=_differences(query_type, averages),
        )

    def _confounders(self, query_type: QueryType, runs: Mapping[str, Run]) -> list[ConfounderShare]:
        cases, results = self._cases, []
        patient_of_image = cases.patient_of[cases.case_of]
        queries = query_type.queries
        # Chance is that of the hits' sites: a search that finds the site also finds the stain that is used for it.
        site_of_image = np.unique([label.site for label in cases.labels], return_inverse=True)[1][cases.case_of]
        for field, codes in cases.confounders.items():
            wanted = query_codes(codes, cases.case_of, len(cases.keys))[queries]
            for name, run in runs.items():
                shared, expected = shared_with_query(
                    codes,
                    patient_of_image,
                    run.first_images[queries],
                    wanted,
                    cases.patient_of[queries],
                    strata=site_of_image,
                )
                given = ~np.isnan(shared)
                if not given.any() or expected[given].min() > ALL_ALIKE:  # not known, or all cases have one value
                    break
                values = {"shared": shared[given], "excess": (shared - expected)[given]}
                averages = self._query_means(values, queries[given])
                results.append(
                    ConfounderShare(
                        channel=name,
                        field=field,
                        queries=int(given.sum()),
                        found=averages["shared"].estimate,
                        expected=float(expected[given].mean()),
                        excess=averages["excess"].estimate,
                    )
                )
        return results

    def _abstention(self, query_type: QueryType, runs: Mapping[str, Run]) -> list[Abstention]:
        # The category in the whole archive, whose candidates the top scores are of.
        relevance = next(each for each in self._relevances if each.task.name.startswith("category"))
        queries = self._queries_of(relevance, query_type).queries
        classes = relevance.task.class_of[queries]
        results = []
        for name, run in runs.items():
            votes = run.votes[relevance.task.name][ABSTAIN_BY][queries]
            results.append(abstention(name, run.top_scores[queries], votes == classes))
        return results

    def _queries_of(self, relevance: Relevance, query_type: QueryType) -> _TaskQueries:
        queries = relevance.answerable(query_type.queries)
        task = relevance.task
        key = (task.name, queries.tobytes())
        if key not in self._task_queries:
            patients, classes = self._cases.patient_of[queries], task.class_of[queries]
            self._task_queries[key] = _TaskQueries(
                queries=queries,
                bootstrap=MacroBootstrap(patients, classes, len(task.site_of), seed=self._seed),
                chance=relevance.expected_by_chance(queries, np.random.default_rng(self._seed)),
            )
        return self._task_queries[key]

    def _query_means(self, values: Mapping[str, Floats], queries: Ints) -> dict[str, Average]:
        """Means over queries instead of categories, of float[q] by name."""
        key = queries.tobytes()
        if key not in self._query_bootstraps:
            classes = np.zeros(len(queries), dtype=np.int64)
            self._query_bootstraps[key] = MacroBootstrap(self._cases.patient_of[queries], classes, 1, seed=self._seed)
        return {name: average for name, (average,) in self._query_bootstraps[key].mean(values, _ALL).items()}


def abstention(run: str, scores: Floats, correct: Bools) -> Abstention:
    """The risk-coverage curve of q >= 1 queries: the top score of each, float[q], and whether its vote is correct."""
    curve = risk_coverage(scores, (~correct).astype(np.float64))
    at = {str(percent): int(np.searchsorted(curve.coverage, percent / 100 - 1e-12)) for percent in COVERAGES}
    shown = np.linspace(0, len(curve.coverage) - 1, min(POINTS, len(curve.coverage))).round().astype(np.int64)
    return Abstention(
        channel=run,
        queries=len(scores),
        aurc=curve.aurc,
        accuracy={name: float(1 - curve.risk[i]) for name, i in at.items()},
        thresholds={name: float(curve.thresholds[i]) for name, i in at.items()},
        curve=tuple((float(curve.coverage[i]), float(1 - curve.risk[i])) for i in np.unique(shown)),
    )


def _differences(query_type: QueryType, averages: Mapping[str, Mapping[str, Average]]) -> tuple[Difference, ...]:
    """Of the compared pairs of runs, from their averages by run and metric."""
    return tuple(
        Difference(
            run, other, {metric: average.minus(averages[other][metric]) for metric, average in averages[run].items()}
        )
        for run, other in query_type.compared
    )


def _classes_at(site: str, classes: Ints, site_of: Sequence[str]) -> Ints:
    return np.array([i for i in np.unique(classes) if site_of[i] == site])
