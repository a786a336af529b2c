"""Relevance judgements (qrels) of a task, and what rankings are worth by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from retrieval.arrays import Floats, Ints
from retrieval.evaluation.chance_baseline import CHANCE_ORDERS, CandidateSet
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.tasks import Task
from retrieval.statistics.metrics import (
    average_precision,
    majority_vote,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
)

VOTES: Final = (1, 3, 5)
PRECISIONS: Final = (1, 5, 10)
DEPTH: Final = 10
METRICS: Final = (
    *(f"mMV@{k}" for k in VOTES),
    *(f"P@{k}" for k in PRECISIONS),
    "mAP",
    "MRR",
    f"nDCG@{DEPTH}",
    f"R@{DEPTH}",
)


@dataclass(frozen=True, eq=False)
class QueryFigures:
    """The figures of b queries by metric: values float[b], and majority votes (classes) int[b], or, of random orders,
    int[orders, b]."""

    values: dict[str, Floats]
    votes: dict[str, Ints]


class Relevance:
    """Which candidates are relevant to each of n cases as a query of one task."""

    def __init__(self, task: Task, cases: LabelledCases) -> None:
        """O(patients × classes) for each candidate set."""
        self.task = task
        self._cases = cases
        self._class_of_image = task.class_of[cases.case_of]
        self._candidates: dict[int, CandidateSet] = {}
        self._total = np.zeros(len(cases.keys), dtype=np.int64)  # relevant patients
        self._ideal = np.zeros((len(cases.keys), DEPTH))  # the gains of the best ranking
        for number in np.unique(task.candidates_of):
            members = np.flatnonzero(task.candidates_of == number)
            images = np.flatnonzero(task.candidates_of[cases.case_of] == number)
            patients = cases.patient_of[cases.case_of[images]]
            candidates = CandidateSet(patients, self._class_of_image[images], task.gains)
            classes, own = task.class_of[members], cases.patient_of[members]
            self._total[members] = candidates.relevant_patients(classes, own)
            self._ideal[members] = candidates.ideal_gains(classes, own, DEPTH)
            self._candidates[int(number)] = candidates

    def answerable(self, queries: Ints) -> Ints:
        """Those of the queries, int[b], to which another patient is relevant."""
        with_relevant: Ints = queries[self._total[queries] > 0]
        return with_relevant

    def judge(self, queries: Ints, ranked: Ints) -> QueryFigures:
        """The figures of rankings int[b, p], rows of the images that represent the patients, best first, for the
        queries int[b]."""
        wanted, total = self.task.class_of[queries], self._total[queries]
        classes = self._class_of_image[ranked]
        relevant = classes == wanted[:, None]
        gains = self.task.gains[wanted[:, None], classes[:, :DEPTH]]
        return QueryFigures(
            values={
                **{f"P@{k}": precision(relevant, k) for k in PRECISIONS},
                "mAP": average_precision(relevant, total=total),
                "MRR": reciprocal_rank(relevant, total=total),
                f"nDCG@{DEPTH}": ndcg(gains, DEPTH, ideal=self._ideal[queries]),
                f"R@{DEPTH}": recall(relevant, DEPTH, total=total),
            },
            votes={f"mMV@{k}": majority_vote(classes, k) for k in VOTES},
        )

    def expected_by_chance(self, queries: Ints, rng: np.random.Generator) -> QueryFigures:
        """The figures that random orders are expected to reach for answerable queries, ascending int[b]."""
        values = {name: np.empty(len(queries)) for name in METRICS if not name.startswith("mMV")}
        votes = {f"mMV@{k}": np.empty((CHANCE_ORDERS, len(queries)), dtype=np.int64) for k in VOTES}
        for number in np.unique(self.task.candidates_of[queries]):
            members = np.flatnonzero(self.task.candidates_of[queries] == number)
            wanted = self.task.class_of[queries[members]]
            own = self._cases.patient_of[queries[members]]
            candidates = self._candidates[int(number)]
            for name, value in candidates.expected_metrics(wanted, own, PRECISIONS, DEPTH).items():
                values[name][members] = value
            for k in VOTES:
                votes[f"mMV@{k}"][:, members] = candidates.random_votes(own, k, rng)
        return QueryFigures(values, votes)
