"""Whether a query by report finds the cases whose report says the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retrieval.arrays import Floats, Ints
from retrieval.evaluation.chance_baseline import first_rank
from retrieval.evaluation.dataset import LabelledCases
from retrieval.evaluation.relevance import DEPTH, PRECISIONS
from retrieval.language.query_text import report_family
from retrieval.statistics.metrics import precision, recall, reciprocal_rank

NO_FAMILY = -1
FAMILY_METRICS = (*(f"P@{k}" for k in PRECISIONS), "MRR", f"R@{DEPTH}")


def family_numbers(reports: Sequence[str], key: Callable[[str], str] = report_family) -> Ints:
    """The family of each report, int[n] from 0; -1 for a blank one."""
    keys = [key(report) if report.strip() else None for report in reports]
    numbers = {name: i for i, name in enumerate(sorted({name for name in keys if name is not None}))}
    return np.array([NO_FAMILY if name is None else numbers[name] for name in keys], dtype=np.int64)


class ReportFamilies:
    """What a report has to find: the other patients with a case whose report is of its family."""

    def __init__(self, family_of: Ints, cases: LabelledCases) -> None:
        """`family_of`, int[n], is a case's family, -1 for none."""
        self.family_of = family_of
        self._family_of_image = family_of[cases.case_of]
        known = family_of != NO_FAMILY
        families = int(family_of.max(initial=0)) + 1
        pairs = np.unique(cases.patient_of[known] * families + family_of[known])  # a patient's families, each once
        self._total = np.bincount(pairs % families, minlength=families)[family_of] - known
        # Of a patient's images, the share that is of a family: the chance that one of them leads.
        of_patient = cases.patient_of[cases.case_of]
        weights = 1.0 / np.bincount(of_patient)[of_patient]
        seen = self._family_of_image != NO_FAMILY
        whole = np.bincount(self._family_of_image[seen], weights[seen], minlength=families)
        keys = of_patient[seen] * families + self._family_of_image[seen]
        pairs, back = np.unique(keys, return_inverse=True)
        of_pair = np.bincount(back, weights[seen])
        own = np.searchsorted(pairs, cases.patient_of[known] * families + family_of[known])
        self._chance = np.zeros(len(family_of))
        self._chance[known] = whole[family_of[known]] - of_pair[own]
        self._others = cases.patients - 1

    def answerable(self, queries: Ints) -> Ints:
        """Those of the queries that have something to find."""
        found: Ints = queries[(self.family_of[queries] != NO_FAMILY) & (self._total[queries] > 0)]
        return found

    def measured(self, queries: Ints, leads: Ints) -> dict[str, Floats]:
        """By metric, float[b], of rankings int[b, p], rows of the images that stand for the patients."""
        relevant = self._family_of_image[leads] == self.family_of[queries][:, None]
        total = self._total[queries]
        return {
            **{f"P@{k}": precision(relevant, k) for k in PRECISIONS},
            "MRR": reciprocal_rank(relevant, total=total),
            f"R@{DEPTH}": recall(relevant, DEPTH, total=total),
        }

    def expected(self, queries: Ints) -> dict[str, Floats]:
        """What random orders are expected to reach, float[q] a metric; MRR's is given for patients of one family."""
        found, n = self._chance[queries], self._others
        return {
            **{f"P@{k}": found / n * min(k, n) / k for k in PRECISIONS},
            "MRR": first_rank(found, n),
            f"R@{DEPTH}": found / n * min(DEPTH, n) / self._total[queries],
        }
