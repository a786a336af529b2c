"""What is right: one question's answers, for all cases, and how well rankings meet them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from retrieval.arrays import Floats, Ints
from retrieval.evaluation.chance_baseline import Pool
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.tasks import Question
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
class Measured:
    """Some queries, measured: each value float[b], each vote int[b] (or, of chance, int[orders, b])."""

    values: dict[str, Floats]
    votes: dict[str, Ints]


class Truth:
    """A question put to n cases: who can be asked with, what there is to find, and what a ranking found."""

    def __init__(self, question: Question, cases: LabelledCases) -> None:
        """O(patients × classes) for each pool."""
        self.question = question
        self._cases = cases
        self._class_of_image = question.class_of[cases.case_of]
        self._pools: dict[int, Pool] = {}
        self._total = np.zeros(len(cases.keys), dtype=np.int64)  # other patients with a case of the class
        self._ideal = np.zeros((len(cases.keys), DEPTH))  # the largest gains to be had
        for number in np.unique(question.pool_of):
            here = np.flatnonzero(question.pool_of == number)
            images = np.flatnonzero(question.pool_of[cases.case_of] == number)
            patients = cases.patient_of[cases.case_of[images]]
            pool = Pool(patients, self._class_of_image[images], question.gains)
            truth, own = question.class_of[here], cases.patient_of[here]
            self._total[here] = pool.relevant(truth, own)
            self._ideal[here] = pool.ideal(truth, own, DEPTH)
            self._pools[int(number)] = pool

    def answerable(self, queries: Ints) -> Ints:
        """Those of the queries that have something to find."""
        found: Ints = queries[self._total[queries] > 0]
        return found

    def measured(self, queries: Ints, leads: Ints) -> Measured:
        """What rankings int[b, p], rows of the images that stand for the patients, are worth to the cases int[b]."""
        truth, total = self.question.class_of[queries], self._total[queries]
        found = self._class_of_image[leads]
        relevant = found == truth[:, None]
        gains = self.question.gains[truth[:, None], found[:, :DEPTH]]
        return Measured(
            values={
                **{f"P@{k}": precision(relevant, k) for k in PRECISIONS},
                "mAP": average_precision(relevant, total=total),
                "MRR": reciprocal_rank(relevant, total=total),
                f"nDCG@{DEPTH}": ndcg(gains, DEPTH, ideal=self._ideal[queries]),
                f"R@{DEPTH}": recall(relevant, DEPTH, total=total),
            },
            votes={f"mMV@{k}": majority_vote(found, k) for k in VOTES},
        )

    def expected(self, queries: Ints, rng: np.random.Generator) -> Measured:
        """What random orders are expected to reach for answerable queries, ascending int[q]."""
        values = {name: np.empty(len(queries)) for name in METRICS if not name.startswith("mMV")}
        votes: dict[str, Ints] = {}
        for number in np.unique(self.question.pool_of[queries]):
            members = np.flatnonzero(self.question.pool_of[queries] == number)
            truth = self.question.class_of[queries[members]]
            own = self._cases.patient_of[queries[members]]
            pool = self._pools[int(number)]
            for name, value in pool.chance(truth, own, PRECISIONS, DEPTH).items():
                values[name][members] = value
            for k in VOTES:
                guesses = pool.chance_votes(own, k, rng)
                votes.setdefault(f"mMV@{k}", np.empty((len(guesses), len(queries)), dtype=np.int64))[:, members] = (
                    guesses
                )
        return Measured(values, votes)
