"""Abstention: what is gained by answering only where the first result is near enough.

The risk-coverage curve of selective classification (El-Yaniv and Wiener, JMLR 2010; Geifman and El-Yaniv, NeurIPS
2017): queries are answered from the surest down, and at each coverage the share of wrong answers among them is the
risk.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from retrieval.evaluation_results import RiskCoverage
from retrieval.metrics import Bools, Floats

COVERAGES: Final = (100, 95, 90, 80)
POINTS: Final = 101
"""Of a curve that is drawn."""


def risk_coverage(channel: str, sure: Floats, right: Bools) -> RiskCoverage:
    """The curve of q >= 1 queries: how sure each is, float[q], and whether its answer is right, bool[q].

    Equally sure queries are answered in no order: between the ends of such a group the number of right answers grows
    evenly, as it does on average over random orders.
    """
    order = np.argsort(-sure, kind="stable")
    sure, right = sure[order], right[order]
    ends = np.append(np.flatnonzero(np.diff(sure)), len(sure) - 1) + 1
    answered = np.arange(1, len(sure) + 1)
    correct = np.interp(answered, np.append(0, ends), np.append(0, np.cumsum(right)[ends - 1]))
    accuracy = correct / answered
    counts = {str(percent): max(1, round(len(sure) * percent / 100)) for percent in COVERAGES}
    drawn = np.unique(np.linspace(1, len(sure), min(POINTS, len(sure))).round().astype(np.int64))
    return RiskCoverage(
        channel=channel,
        queries=len(sure),
        aurc=float(1 - accuracy.mean()),
        accuracy={name: float(accuracy[count - 1]) for name, count in counts.items()},
        thresholds={name: float(sure[count - 1]) for name, count in counts.items()},
        curve=tuple((float(count / len(sure)), float(accuracy[count - 1])) for count in drawn),
    )
