"""From what every query found to the tables that are shown: means, intervals, differences, audits, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from retrieval.arrays import Bools, Floats, Ints
from retrieval.assessment.confounders import query_codes, shared_with_query
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.identical_reports import FAMILY_METRICS, ReportFamilies
from retrieval.evaluation.per_query_scores import Found
from retrieval.evaluation.relevance import METRICS, Measured, Truth
from retrieval.evaluation.results import (
    Abstention,
    Difference,
    FamilyResult,
    Part,
    Row,
    SameReport,
    SharedNuisance,
    TaskResult,
)
from retrieval.evaluation.scorers import Family
from retrieval.statistics.cluster_bootstrap import Average, MacroBootstrap
from retrieval.statistics.estimate import Estimate
from retrieval.statistics.selective_prediction import risk_coverage

CHANCE: Final = "chance"
ABSTAIN_BY: Final = "mMV@5"
COVERAGES: Final = (100, 95, 90, 80)
POINTS: Final = 101
"""Of a curve that is drawn."""


@dataclass(frozen=True, eq=False)
class _Asked:
    """What a question's figures rest on, for one set of queries: the same for all families that ask with it."""

    queries: Ints
    bootstrap: MacroBootstrap
    chance: Measured


class Tables:
    """The tables of each family. Every average over the same queries sees the same resamples."""

    def __init__(self, cases: LabelledCases, truths: Sequence[Truth], same: ReportFamilies, seed: int) -> None:
        self._cases = cases
        self._truths = truths
        self._same = same
        self._seed = seed
        self._asked: dict[tuple[str, bytes], _Asked] = {}
        self._plain: dict[bytes, MacroBootstrap] = {}

    def of(self, family: Family, found: Mapping[str, Found]) -> FamilyResult:
        """The results of one family, by row."""
        rows = {row: found[row] for row in family.rows}
        return FamilyResult(
            name=family.name,
            words=family.words,
            asked=len(family.asking),
            left_out=family.left_out,
            tasks=tuple(self._task(truth, family, rows) for truth in self._truths),
            same_report=self._same_report(family, rows) if family.by_report else None,
            nuisance=tuple(self._nuisance(family, rows)),
            abstention=tuple(self._abstention(family, rows)),
        )

    def _task(self, truth: Truth, family: Family, rows: Mapping[str, Found]) -> TaskResult:
        question = truth.question
        asked = self._queries(truth, family)
        queries, classes = asked.queries, question.class_of[asked.queries]
        sites = sorted({question.site_of[i] for i in classes})
        parts = [np.unique(classes), *(_classes_at(site, classes, question.site_of) for site in sites)]
        averages: dict[str, dict[str, list[Average]]] = {}
        for row, found in rows.items():
            votes = {name: vote[queries] for name, vote in found.votes[question.name].items()}
            values = {name: value[queries] for name, value in found.values[question.name].items()}
            averages[row] = asked.bootstrap.f1(votes, parts) | asked.bootstrap.mean(values, parts)
        estimates = {row: _estimates(of) for row, of in averages.items()}
        chance = {name: asked.bootstrap.expected_mean(value, parts) for name, value in asked.chance.values.items()}
        chance |= {name: asked.bootstrap.expected_f1(vote, parts) for name, vote in asked.chance.votes.items()}
        estimates[CHANCE] = chance
        made = []
        for i, (site, part) in enumerate(zip([None, *sites], parts, strict=True)):
            members = queries[np.isin(classes, part)]
            made.append(
                Part(
                    site=site,
                    categories=len(part),
                    queries=len(members),
                    patients=len(np.unique(self._cases.patient_of[members])),
                    rows=tuple(Row(name, {m: of[m][i] for m in METRICS}) for name, of in estimates.items()),
                )
            )
        differences = _differences(family, {row: {m: of[m][0] for m in METRICS} for row, of in averages.items()})
        unanswerable = len(family.asking) - len(queries)
        return TaskResult(question.name, question.words, unanswerable, tuple(made), differences)

    def _same_report(self, family: Family, rows: Mapping[str, Found]) -> SameReport | None:
        queries = self._same.answerable(family.asking)
        if not len(queries):
            return None
        bootstrap = self._plain_bootstrap(queries)
        averages = {
            row: _first_parts(
                bootstrap.mean({m: of.same_report[m][queries] for m in FAMILY_METRICS}, [np.zeros(1, int)])
            )
            for row, of in rows.items()
        }
        made = [Row(row, {name: average.estimate for name, average in of.items()}) for row, of in averages.items()]
        chance = {name: float(value.mean()) for name, value in self._same.expected(queries).items()}
        made.append(Row(CHANCE, {name: Estimate(mean, mean, mean) for name, mean in chance.items()}))
        return SameReport(
            families=len(np.unique(self._same.family_of[queries])),
            queries=len(queries),
            unanswerable=len(family.asking) - len(queries),
            rows=tuple(made),
            differences=_differences(family, averages),
        )

    def _nuisance(self, family: Family, rows: Mapping[str, Found]) -> list[SharedNuisance]:
        cases, made = self._cases, []
        patients = cases.patient_of[cases.case_of]
        queries = family.asking
        # Chance is of the sites that were found: a search that finds the site also finds the stain used for it.
        sites = np.unique([label.site for label in cases.labels], return_inverse=True)[1][cases.case_of]
        for name, codes in cases.nuisance.items():
            wanted = query_codes(codes, cases.case_of, len(cases.keys))[queries]
            for row, of in rows.items():
                leads = of.leads[queries]
                found, expected = shared_with_query(
                    codes, patients, leads, wanted, cases.patient_of[queries], strata=sites
                )
                given = ~np.isnan(found)
                if not given.any() or expected[given].min() == 1:  # not known, or all cases have one value
                    break
                bootstrap = self._plain_bootstrap(queries[given])
                values = {"found": found[given], "excess": (found - expected)[given]}
                averages = _first_parts(bootstrap.mean(values, [np.zeros(1, int)]))
                made.append(
                    SharedNuisance(
                        channel=row,
                        field=name,
                        queries=int(given.sum()),
                        found=averages["found"].estimate,
                        expected=float(expected[given].mean()),
                        excess=averages["excess"].estimate,
                    )
                )
        return made

    def _abstention(self, family: Family, rows: Mapping[str, Found]) -> list[Abstention]:
        # The category among all cases: the widest pool, where similarities are of the first of all patients.
        truth = next(truth for truth in self._truths if truth.question.name.startswith("category"))
        queries = self._queries(truth, family).queries
        classes = truth.question.class_of[queries]
        made = []
        for row, of in rows.items():
            votes = of.votes[truth.question.name][ABSTAIN_BY][queries]
            made.append(abstention(row, of.tops[queries], votes == classes))
        return made

    def _queries(self, truth: Truth, family: Family) -> _Asked:
        queries = truth.answerable(family.asking)
        key = (truth.question.name, queries.tobytes())
        if key not in self._asked:
            question = truth.question
            patients = self._cases.patient_of[queries]
            bootstrap = MacroBootstrap(patients, question.class_of[queries], len(question.site_of), seed=self._seed)
            chance = truth.expected(queries, np.random.default_rng(self._seed))
            self._asked[key] = _Asked(queries, bootstrap, chance)
        return self._asked[key]

    def _plain_bootstrap(self, queries: Ints) -> MacroBootstrap:
        """For means over queries, not over categories."""
        key = queries.tobytes()
        if key not in self._plain:
            classes = np.zeros(len(queries), dtype=np.int64)
            self._plain[key] = MacroBootstrap(self._cases.patient_of[queries], classes, 1, seed=self._seed)
        return self._plain[key]


def abstention(row: str, sure: Floats, right: Bools) -> Abstention:
    """The risk-coverage curve of q >= 1 queries: how sure each is, float[q], and whether its vote is right, bool[q]."""
    curve = risk_coverage(sure, (~right).astype(np.float64))
    at = {str(percent): int(np.searchsorted(curve.coverage, percent / 100 - 1e-12)) for percent in COVERAGES}
    drawn = np.unique(
        np.linspace(0, len(curve.coverage) - 1, min(POINTS, len(curve.coverage))).round().astype(np.int64)
    )
    return Abstention(
        channel=row,
        queries=len(sure),
        aurc=curve.aurc,
        accuracy={name: float(1 - curve.risk[i]) for name, i in at.items()},
        thresholds={name: float(curve.thresholds[i]) for name, i in at.items()},
        curve=tuple((float(curve.coverage[i]), float(1 - curve.risk[i])) for i in drawn),
    )


def _differences(family: Family, averages: Mapping[str, Mapping[str, Average]]) -> tuple[Difference, ...]:
    return tuple(
        Difference(row, other, {name: average.minus(averages[other][name]) for name, average in averages[row].items()})
        for row, other in family.compared
    )


def _estimates(averages: Mapping[str, Sequence[Average]]) -> dict[str, list[Estimate]]:
    return {name: [average.estimate for average in of] for name, of in averages.items()}


def _first_parts(averages: Mapping[str, Sequence[Average]]) -> dict[str, Average]:
    return {name: of[0] for name, of in averages.items()}


def _classes_at(site: str, classes: Ints, site_of: Sequence[str]) -> Ints:
    return np.array([i for i in np.unique(classes) if site_of[i] == site])
