"""The field's retrieval metrics, for many queries at once, on results that are already in order.

Every function takes results best first, one row a query. How equal scores were ordered is therefore decided
before: by whoever ranked (`CaseSearch`: the lower image id first), and never averaged over here.

A query without any relevant entry could not have been answered: recall, average precision and nDCG would
divide by nothing, and give NaN for it, as does the reciprocal rank, so that a mean taken by accident is seen.
Leave such queries out, as trec_eval does, and say how many they were. (scikit-learn gives 0 there.)

Definitions: Manning, Raghavan and Schütze, Introduction to Information Retrieval (2008), chapter 8; nDCG as
Järvelin and Kekäläinen (2002), with linear gains; majority vote as in Yottixel (Kalra et al., 2020).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Bools, Floats, Ints


def precision(relevant: Bools, k: int) -> Floats:
    """P@k, float[n], of bool[n, m]: the relevant share of the first k. A place left empty counts as a miss."""
    return relevant[:, :k].sum(axis=1) / k


def recall(relevant: Bools, k: int, *, total: Ints | None = None) -> Floats:
    """R@k, float[n], of bool[n, m]: how much of all that is relevant stands among the first k.

    `total`, int[n], is how many relevant entries there are; without it, those of the row.
    """
    return _ratio(relevant[:, :k].sum(axis=1), _total(relevant, total))


def average_precision(relevant: Bools, *, total: Ints | None = None) -> Floats:
    """AP, float[n], of bool[n, m]: the mean of the precision at each relevant entry, over the whole row.

    A relevant entry of the `total` that the row does not hold contributes 0.
    """
    precisions = np.cumsum(relevant, axis=1) / np.arange(1, relevant.shape[1] + 1)
    return _ratio(np.where(relevant, precisions, 0.0).sum(axis=1), _total(relevant, total))


def reciprocal_rank(relevant: Bools, *, total: Ints | None = None) -> Floats:
    """RR, float[n], of bool[n, m]: 1 / rank of the first relevant entry, 0 where the row has none of the
    `total`.
    """
    first = 1.0 / (1 + relevant.argmax(axis=1)) if relevant.shape[1] else np.zeros(len(relevant))
    return np.where(_total(relevant, total) > 0, np.where(relevant.any(axis=1), first, 0.0), np.nan)


def ndcg(gains: Floats, k: int, *, ideal: Floats | None = None) -> Floats:
    """nDCG@k, float[n], of gains float[n, m] >= 0: DCG with discount 1 / log2(rank + 1) over that of the best
    order.

    `ideal`, float[n, m'], holds the gains (in any order) that the best order would choose from; without it,
    those of the row.
    """
    best = _largest(gains if ideal is None else ideal, k)
    return _ratio(_dcg(gains[:, :k]), _dcg(best))


def majority_vote(labels: Ints, k: int) -> Ints:
    """The most frequent label, int[n], among the first k of int[n, m]; of equally frequent ones the nearest. -1 where
    nothing was ranked (m = 0).
    """
    if not labels.shape[1]:
        return np.full(len(labels), -1, dtype=np.int64)
    heads = labels[:, :k]
    votes = (heads[:, :, None] == heads[:, None, :]).sum(axis=2)
    return np.take_along_axis(heads, votes.argmax(axis=1)[:, None], axis=1)[:, 0]


def discounts(k: int) -> Floats:
    """What each of the first k ranks counts in DCG: 1 / log2(rank + 1), float[k]."""
    return 1.0 / np.log2(np.arange(2, k + 2))


def _dcg(gains: Floats) -> Floats:
    return gains @ discounts(gains.shape[1])


def _largest(values: Floats, k: int) -> Floats:
    """The k largest of each row, largest first."""
    if values.shape[1] > k:  # O(m) a row instead of sorting all of it
        values = np.partition(values, -k, axis=1)[:, -k:]
    return -np.sort(-values, axis=1)


def _total(relevant: Bools, total: Ints | None) -> Ints:
    return relevant.sum(axis=1) if total is None else total


def _ratio(part: npt.NDArray, whole: npt.NDArray) -> Floats:
    nothing = np.full(len(part), np.nan)
    return np.divide(part, whole, out=nothing, where=whole > 0)
