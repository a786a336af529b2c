"""How good a ranking is, where relevance is known: precision at k with its interval, against chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from retrieval.statistics.metrics import precision

RESAMPLES: Final = 2000
CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Label:
    """What a case is known to be. A category means something only within its site's reporting system."""

    site: str
    category: str
    system: str = ""


@dataclass(frozen=True)
class Estimate:
    """A mean over queries with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Precision:
    """Precision at k of one way to search, and what a random order would reach."""

    k: int
    queries: int
    site: Estimate
    site_category: Estimate
    chance_site: float
    chance_site_category: float


def precision_at_k(
    queries: Sequence[Label],
    results: Sequence[Sequence[Label]],
    archive: Sequence[Label],
    *,
    k: int = 10,
    seed: int = 0,
) -> Precision:
    """P@k for the site alone and for site and category together.

    `results[i]` are the labels of what query i returned, best first; `archive` has one label for everything
    that could have been returned. A place left empty counts as a miss. Chance is the expectation over random
    orders of the archive: for each query, the relevant share of it. Intervals: percentile bootstrap over
    queries, 2000 resamples. Raises ValueError where the lengths disagree or there is nothing to average.
    """
    if not queries or len(queries) != len(results):
        raise ValueError(f"{len(queries)} queries and {len(results)} results: give one result a query, at least one")
    if not archive or k < 1:
        raise ValueError(f"k is {k} and the archive has {len(archive)} entries: both must be at least 1")
    site, both = np.zeros((2, len(queries), k), dtype=bool)
    for i, (query, found) in enumerate(zip(queries, results, strict=True)):
        for place, label in enumerate(found[:k]):
            site[i, place], both[i, place] = label.site == query.site, label == query
    sites, labels = Counter(label.site for label in archive), Counter(archive)
    share = min(k, len(archive)) / k / len(archive)
    return Precision(
        k=k,
        queries=len(queries),
        site=bootstrap_mean(precision(site, k), seed=seed),
        site_category=bootstrap_mean(precision(both, k), seed=seed),
        chance_site=float(np.mean([sites[q.site] * share for q in queries])),
        chance_site_category=float(np.mean([labels[q] * share for q in queries])),
    )


def bootstrap_mean(values: npt.NDArray[np.float64], *, seed: int = 0) -> Estimate:
    """Mean of float[n] with its percentile-bootstrap interval (Efron 1979), the same for the same seed."""
    draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    tail = (1 - CONFIDENCE) / 2 * 100
    low, high = np.percentile(values[draws].mean(axis=1), [tail, 100 - tail])
    return Estimate(mean=float(values.mean()), low=float(low), high=float(high))


def exact_interval(times: int, n: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper and Pearson, Biometrika 1934)."""
    from scipy.special import betaincinv

    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(times, n - times + 1, tail)) if times else 0.0
    return low, float(betaincinv(times + 1, n - times, 1 - tail)) if times < n else 1.0
