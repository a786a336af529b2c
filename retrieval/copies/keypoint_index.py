"""Which of many pictures share keypoints with one: an inverted file over all their descriptors (FAISS).

    keypoints of a picture, and of its mirror image ─► the nearest of all references' ─► a vote each ─► few references

The time for one picture grows with the square root of the number of references, and the votes are only a proposal:
`retrieval.copies.overlap` decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from retrieval.copies.fingerprint import FingerprintStore
from retrieval.copies.keypoints import DIMENSIONS, MIRRORED, Array, Keypoints
from retrieval.copies.overlap import LEAST_ALIKE

NEIGHBOURS: Final = 5
"""Descriptors that each keypoint votes for."""
LEAST_VOTES: Final = 3
PROPOSED: Final = 5
_EXACT: Final = 20_000
"""Up to so many descriptors are compared with all: there is too little to learn clusters from."""
_PROBES: Final = 12
_TRAINED: Final = 64
"""Descriptors a cluster that the clusters are learned from."""
_BLOCK: Final = 1024


class KeypointIndex:
    """The descriptors of the references `keys` of a store, numbered in their order."""

    def __init__(self, store: FingerprintStore, keys: Sequence[str]) -> None:
        import faiss

        counts = np.array([store.count(key) for key in keys], dtype=np.int64)
        self._owner = np.repeat(np.arange(len(keys)), counts)
        total = int(counts.sum())
        if total <= _EXACT:
            self._index: Any = faiss.IndexFlatIP(DIMENSIONS)
        else:
            lists = round(4 * total**0.5)
            self._index = faiss.index_factory(DIMENSIONS, f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
            self._index.cp.seed = 0
            sample = np.random.default_rng(0).permutation(len(keys))
            enough = np.searchsorted(np.cumsum(counts[sample]), lists * _TRAINED) + 1
            self._index.train(_descriptors(store, [keys[row] for row in sorted(sample[:enough])]))
            self._index.nprobe = _PROBES
        for start in range(0, len(keys), _BLOCK):
            self._index.add(_descriptors(store, keys[start : start + _BLOCK]))

    def proposals(self, pictures: Sequence[Keypoints]) -> list[list[int]]:
        """For each picture the references that share most keypoints with it, at most `PROPOSED`, most votes first."""
        both = [part for picture in pictures for part in (picture.descriptors, picture.descriptors[:, MIRRORED])]
        if not sum(map(len, both)) or not self._index.ntotal:
            return [[] for _ in pictures]
        alike, found = self._index.search(np.ascontiguousarray(np.concatenate(both)), NEIGHBOURS)
        proposed, end = [], 0
        for picture in pictures:
            votes: dict[int, int] = {}
            for _ in range(2):
                rows = slice(end, end + len(picture))
                end += len(picture)
                owner = np.where((found[rows] >= 0) & (alike[rows] >= LEAST_ALIKE), self._owner[found[rows]], -1)
                owner.sort(axis=1)  # a reference has one vote of each keypoint
                owner[:, 1:][owner[:, 1:] == owner[:, :-1]] = -1
                names, counts = np.unique(owner[owner >= 0], return_counts=True)
                for name, count in zip(names.tolist(), counts.tolist(), strict=True):
                    votes[name] = max(votes.get(name, 0), count)
            ranked = sorted(votes, key=lambda name: (-votes[name], name))
            proposed.append([name for name in ranked[:PROPOSED] if votes[name] >= LEAST_VOTES])
        return proposed


def _descriptors(store: FingerprintStore, keys: Sequence[str]) -> Array:
    """float32[n, 128]: all descriptors of these pictures."""
    return np.concatenate([store.keypoints(key).descriptors for key in keys])
