"""A task of queries by report that needs no category: are the cases found whose report says the same?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from retrieval.arrays import Floats, Ints
from retrieval.evaluation.chance_baseline import expected_reciprocal_rank
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.relevance import DEPTH, PRECISIONS
from retrieval.language.query_text import conclusion_key
from retrieval.statistics.metrics import precision, recall, reciprocal_rank

NO_GROUP: Final = -1
IDENTICAL_METRICS: Final = (*(f"P@{k}" for k in PRECISIONS), "MRR", f"R@{DEPTH}")


def report_groups(reports: Sequence[str], key: Callable[[str], str] = conclusion_key) -> Ints:
    """The group of each report, int[n] from 0: reports of one group have the same key. -1 for a blank one."""
    keys = [key(report) if report.strip() else None for report in reports]
    numbers = {name: i for i, name in enumerate(sorted({name for name in keys if name is not None}))}
    return np.array([NO_GROUP if name is None else numbers[name] for name in keys], dtype=np.int64)


class IdenticalReports:
    """Relevance by report: relevant are the other patients with a case whose report is of the query's group."""

    def __init__(self, group_of: Ints, cases: LabelledCases) -> None:
        """`group_of`, int[n], is the group of each case's report, -1 for none."""
        self.group_of = group_of
        self._group_of_image = group_of[cases.case_of]
        written = group_of != NO_GROUP
        groups = int(group_of.max(initial=0)) + 1
        pairs = np.unique(cases.patient_of[written] * groups + group_of[written])  # each patient's groups, each once
        self._total = np.bincount(pairs % groups, minlength=groups)[group_of] - written
        # Of a patient's images, the share of each group: the probability that one of them represents the patient.
        patient_of_image = cases.patient_of[cases.case_of]
        weights = 1.0 / np.bincount(patient_of_image)[patient_of_image]
        grouped = self._group_of_image != NO_GROUP
        all_patients = np.bincount(self._group_of_image[grouped], weights[grouped], minlength=groups)
        keys = patient_of_image[grouped] * groups + self._group_of_image[grouped]
        pairs, back = np.unique(keys, return_inverse=True)
        of_pair = np.bincount(back, weights[grouped])
        own = np.searchsorted(pairs, cases.patient_of[written] * groups + group_of[written])
        self._shares = np.zeros(len(group_of))  # summed over the other patients
        self._shares[written] = all_patients[group_of[written]] - of_pair[own]
        self._others = cases.patients - 1

    def answerable(self, queries: Ints) -> Ints:
        """Those of the queries, int[b], to which another patient is relevant."""
        with_relevant: Ints = queries[(self.group_of[queries] != NO_GROUP) & (self._total[queries] > 0)]
        return with_relevant

    def judge(self, queries: Ints, ranked: Ints) -> dict[str, Floats]:
        """By metric, float[b], of rankings int[b, p], rows of the images that represent the patients."""
        relevant = self._group_of_image[ranked] == self.group_of[queries][:, None]
        total = self._total[queries]
        return {
            **{f"P@{k}": precision(relevant, k) for k in PRECISIONS},
            "MRR": reciprocal_rank(relevant, total=total),
            f"R@{DEPTH}": recall(relevant, DEPTH, total=total),
        }

    def expected_by_chance(self, queries: Ints) -> dict[str, Floats]:
        """By metric, float[b], the expectation over random rankings (derived in `chance_baseline`); MRR is exact where
        each patient's reports are of one group."""
        summed, n = self._shares[queries], self._others
        return {
            **{f"P@{k}": summed / n * min(k, n) / k for k in PRECISIONS},
            "MRR": expected_reciprocal_rank(summed, n),
            f"R@{DEPTH}": summed / n * min(DEPTH, n) / self._total[queries],
        }
