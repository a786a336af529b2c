"""What abstention costs and gains: curves over the threshold below which a search says "no comparable case".

Selective prediction: Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, NeurIPS 2017; the area
under the risk-coverage curve (AURC): Geifman, Uziel and El-Yaniv, ICLR 2019 (arXiv 1805.08206).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.arrays import Floats


@dataclass(frozen=True, eq=False)
class AbstentionCurve:
    """Queries of what the archive knows and of what it lacks, as the threshold rises."""

    thresholds: Floats
    """float[t], ascending: every similarity that occurs."""
    flagged_unknown: Floats
    """float[t], share of the unknown below the threshold: rightly called not comparable."""
    flagged_known: Floats
    """float[t], share of the known below it: false alarms."""
    auroc: float
    """Probability that an unknown query is less similar than a known one, ties counting half."""


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """The risk of the queries that are answered, as the threshold falls and more of them are."""

    thresholds: Floats
    """float[t], descending."""
    coverage: Floats
    """float[t], share of the queries that is answered, up to 1."""
    risk: Floats
    """float[t], mean loss of the answered ones."""
    aurc: float
    """Mean risk over the coverages 1/n … 1. Compare with `risk[-1]`: what abstention by chance would give."""


def abstention_curve(known: Floats, unknown: Floats) -> AbstentionCurve:
    """From the similarities of queries of what the archive holds, float[n], and of what it lacks, float[m].

    Raises ValueError where one of them is empty.
    """
    if not len(known) or not len(unknown):
        raise ValueError(f"{len(known)} known and {len(unknown)} unknown queries: at least one of each is needed")
    known, unknown = np.sort(known), np.sort(unknown)
    thresholds = np.unique(np.concatenate([known, unknown]))
    below = np.searchsorted(known, unknown, side="left")
    equal = np.searchsorted(known, unknown, side="right") - below
    return AbstentionCurve(
        thresholds=thresholds,
        flagged_unknown=np.searchsorted(unknown, thresholds, side="left") / len(unknown),
        flagged_known=np.searchsorted(known, thresholds, side="left") / len(known),
        auroc=float(1 - (below + 0.5 * equal).sum() / (len(known) * len(unknown))),
    )


def risk_coverage(similarities: Floats, losses: Floats) -> RiskCoverage:
    """From each query's similarity and its loss (1 - P@k, or 1 where the vote was wrong), float[n] each.

    Queries of equal similarity are answered together, so that their order makes no difference. Raises ValueError where
    there is no query, or the lengths differ.
    """
    if not len(similarities) or len(similarities) != len(losses):
        raise ValueError(f"{len(similarities)} similarities and {len(losses)} losses: give one of each a query")
    thresholds, group = np.unique(-similarities, return_inverse=True)
    sizes = np.bincount(group)
    mean_losses = np.bincount(group, losses) / sizes
    order = np.sort(group)
    running = np.cumsum(mean_losses[order]) / np.arange(1, len(losses) + 1)
    ends = np.cumsum(sizes) - 1
    return RiskCoverage(
        thresholds=-thresholds,
        coverage=(ends + 1) / len(losses),
        risk=running[ends],
        aurc=float(running.mean()),
    )
