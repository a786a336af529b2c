"""The interval of a mean over few clusters, such as patients, whose images are no independent evidence.

Resampling clusters with replacement (the bootstrap) gives intervals that are too narrow where there are few: of three
patients it called three in ten differences sure where there was none. Here the mean is taken over subsets of the
clusters, each drawn with probability 1/2: their means are typical values (Hartigan, JASA 64, 1969). The interval holds
0 exactly where the sign-flip permutation test of the same clusters finds no difference, so that its error is at most
5 % for any number of clusters, as long as a cluster's deviation is as likely upwards as downwards.
`python -m benchmarks.no_effect` prints how often a difference is called sure where there is none.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
FEWEST_CLUSTERS = 6
"""Fewer clusters say nothing at 95 %: by chance alone all five of five differ the same way in one of 16 cases, all six
of six in one of 32."""
_SUBSETS = 1999
PORTIONS = 10
"""In which subsets are taken, so that those of 10,000 clusters need 16 MB at a time."""


def cluster_interval(sums: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The 95 % interval of the ratio of two sums over n clusters: its lower and its upper end, float[...].

    Of fewer than `FEWEST_CLUSTERS` clusters there is none: it reaches from minus to plus infinity.

    Args:
        sums: float[..., n], such as each patient's sum over images.
        weights: float[n], above 0, such as the number of these images.
    """
    clusters = sums.shape[-1]
    if clusters < FEWEST_CLUSTERS:
        everything = np.full(sums.shape[:-1], np.inf)
        return -everything, everything
    parts = np.array_split(subsets(clusters), PORTIONS)
    ratios = np.concatenate([_ratio(sums, weights, part.T.astype(np.float64)) for part in parts], axis=-1)
    kept_out = int((1 - CONFIDENCE) / 2 * (ratios.shape[-1] + 1))
    ratios.partition((kept_out - 1, -kept_out), axis=-1)
    return ratios[..., kept_out - 1], ratios[..., -kept_out]


def _ratio(sums: Floats, weights: Floats, chosen: Floats) -> Floats:
    ratio: Floats = (sums @ chosen) / (weights @ chosen)
    return ratio


@functools.lru_cache(maxsize=8)
def subsets(clusters: int) -> NDArray[np.bool_]:
    """Subsets of the clusters, bool[s, n], none empty: all that there are, or 1999 random ones."""
    if 2**clusters - 1 <= _SUBSETS:
        numbers = np.arange(1, 2**clusters)
        return (numbers[:, None] >> np.arange(clusters)) % 2 == 1
    rng = np.random.default_rng(0)
    chosen = rng.random((_SUBSETS, clusters)) < 0.5
    while len(empty := np.flatnonzero(~chosen.any(axis=1))):
        chosen[empty] = rng.random((len(empty), clusters)) < 0.5
    return chosen
