"""The label of a case, and precision at k on lists of labels: for who ranks by other means than an archive's runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.statistics.estimate import Estimate, bootstrap_mean
from retrieval.statistics.metrics import precision


@dataclass(frozen=True)
class Label:
    """The ground truth of a case. A category means something only within its site's reporting system."""

    site: str
    category: str
    system: str = ""


@dataclass(frozen=True)
class Precision:
    """Precision at k of one way to search, and that of a random order."""

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

    Args:
        queries: the label of each query.
        results: of each query, the labels of its results, best first. An empty rank counts as a miss.
        archive: the label of everything that could have been returned. Chance is the expectation over its random
            orders: for each query, the relevant share of it.
        k: how many results count.
        seed: of the intervals (percentile bootstrap over queries, 2000 resamples).

    Raises ValueError where the lengths disagree or there is nothing to average.
    """
    if not queries or len(queries) != len(results):
        raise ValueError(f"{len(queries)} queries and {len(results)} results: give one result a query, at least one")
    if not archive or k < 1:
        raise ValueError(f"k is {k} and the archive has {len(archive)} entries: both must be at least 1")
    site, both = np.zeros((2, len(queries), k), dtype=bool)
    for i, (query, labels) in enumerate(zip(queries, results, strict=True)):
        for rank, label in enumerate(labels[:k]):
            site[i, rank], both[i, rank] = label.site == query.site, label == query
    sites, labels_of = Counter(label.site for label in archive), Counter(archive)
    share = min(k, len(archive)) / k / len(archive)
    return Precision(
        k=k,
        queries=len(queries),
        site=bootstrap_mean(precision(site, k), seed=seed),
        site_category=bootstrap_mean(precision(both, k), seed=seed),
        chance_site=float(np.mean([sites[query.site] * share for query in queries])),
        chance_site_category=float(np.mean([labels_of[query] * share for query in queries])),
    )
