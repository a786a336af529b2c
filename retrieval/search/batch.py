"""Many queries at once, ranked as `ranking.rank_images` and `answer.fused_cases` rank: one entry a patient, where its
best image or report stands; the own patient is left out; equal scores are ordered by image id.

`CaseSearch` answers one query and asks the archive for as many images as it needs. An evaluation needs all
patients in order for thousands of queries: here that is one matrix product, one grouped minimum and one sort a
block. A test holds the two to the same answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Ints, Vectors
from retrieval.encoder.vectors import mean_query
from retrieval.search.fusion import Fused, FusionRule, fuse

Keys = npt.NDArray[np.uint64]

_LAST: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_LOW: Final = np.uint64(0xFFFF_FFFF)
_PLACE: Final = np.uint64(0xFF_FFFF)
"""The bits that give way to a place in an order: 28 bits of a double's mantissa are left, so that sums of the same
ranks in another order are equal."""


class Candidates:
    """The p patients of a pool, and the items (images, or reports) by which one channel compares them."""

    def __init__(self, items: Ints, patients: Ints, images: Ints) -> None:
        """`items`, int[m], says which columns of the channel's scores compete; `patients`, int[m], whose they are;
        `images`, int[m], which image stands for each: lower numbers go first where scores are equal.
        """
        order = np.argsort(patients, kind="stable")  # a patient's best is then a minimum over a run of columns
        self.columns = items[order]
        self.images = images[order]
        self.patients, self._starts = np.unique(patients[order], return_index=True)

    def places(self, scores: Vectors, own: Ints) -> Places:
        """Where a channel's scores float32[b, all items] put the patients, for queries of the patients int[b].

        The own patient must be of the pool. -inf is a score that was not given.
        """
        return self.item_places(scores[:, self.columns], own)

    def fused_items(self, rule: FusionRule, channels: Mapping[str, Vectors], own: Ints) -> Fused:
        """Channels joined item by item, over all items of other patients: float[b, m], in the order of `columns`."""
        patient_of = np.repeat(self.patients, np.diff([*self._starts, len(self.columns)]))
        mine = patient_of[np.newaxis] == own[:, np.newaxis]
        others = {name: np.where(mine, -np.inf, scores[:, self.columns]) for name, scores in channels.items()}
        return fuse(rule, others, pool=len(self.columns))

    def item_places(self, scores: Vectors, own: Ints) -> Places:
        """As `places`, of scores float32[b, m] in the order of `columns`."""
        keys = np.minimum.reduceat(_keys(scores, self.images), self._starts, axis=1)
        rows, mine = np.arange(len(own)), np.searchsorted(self.patients, own)
        best = _scores(keys)
        best[rows, mine] = -np.inf
        images = (keys & _LOW).astype(np.int64)
        keys[rows, mine] = _LAST
        return Places(best, images, keys)


@dataclass(frozen=True, eq=False)
class Places:
    """What one way to rank says of every patient of a pool, for b queries."""

    scores: npt.NDArray[np.floating]
    """float[b, p]; -inf for the query's own patient, and where there is none."""
    images: Ints
    """int[b, p], the image that stands for the patient."""
    keys: Keys
    """uint64[b, p], in the order of the ranking; the own patient has the greatest."""

    @cached_property
    def order(self) -> Ints:
        """int[b, p - 1], the other patients, best first."""
        return np.argsort(self.keys, axis=1)[:, :-1]

    @cached_property
    def leads(self) -> Ints:
        """int[b, p - 1], the other patients' images, best first."""
        return np.take_along_axis(self.images, self.order, axis=1)

    @property
    def top(self) -> npt.NDArray[np.floating]:
        """float[b], the best score."""
        return np.take_along_axis(self.scores, self.order[:, :1], axis=1)[:, 0]


def fused_places(rule: FusionRule, channels: Mapping[str, Places]) -> Places:
    """Channels over the same pool, joined by `fuse`."""
    return joined_places(fuse(rule, {name: places.scores for name, places in channels.items()}), channels)


def joined_places(fused: Fused, channels: Mapping[str, Places]) -> Places:
    """The ranking that a fusion of these channels makes.

    Equal scores, and patients in no channel's first places, are ordered as the first channel orders them. The image
    that stands for a patient is that of the channel that added most to its score, the first of equals.
    """
    first = next(iter(channels.values()))
    parts = np.stack([fused.parts[name] for name in channels])
    images = np.stack([places.images for places in channels.values()])
    position = np.empty(first.keys.shape, dtype=np.uint64)
    ranked = np.argsort(first.keys, axis=1)
    numbers = np.broadcast_to(np.arange(ranked.shape[1], dtype=np.uint64), ranked.shape)
    np.put_along_axis(position, ranked, numbers, axis=1)
    bits = (fused.scores + 0.0).view(np.uint64)
    keys = (~_ascending(bits) & ~_PLACE) | position
    leading = np.take_along_axis(images, parts.argmax(axis=0)[None], axis=0)[0]
    return Places(fused.scores, leading, keys)


def mean_queries(vectors: Vectors, case_of: Ints, cases: int) -> Vectors:
    """What each case asks by, float32[cases, d]: the normalised mean of its images' vectors float32[m, d].

    Raises EncodingError where a case's vectors cancel each other out.
    """
    order = np.argsort(case_of, kind="stable")
    runs = np.split(vectors[order], np.searchsorted(case_of[order], np.arange(1, cases)))
    return np.concatenate([mean_query(rows) for rows in runs])


def _keys(scores: Vectors, images: Ints) -> Keys:
    """One number for score and image that sorts as they do: the higher score first, then the lower image.

    The bits of a float32 order as integers do once negative numbers are turned over (IEEE 754); those of the
    score stand above those of the image's row. One plain sort of integers is several times faster than sorting
    by two keys.
    """
    bits = (scores + np.float32(0)).view(np.uint32)  # + 0: minus zero and zero are one score
    negative = (bits.view(np.int32) >> 31).view(np.uint32)  # all ones below zero
    keys = (bits ^ (~negative & np.uint32(0x7FFF_FFFF))).astype(np.uint64)  # descending
    keys <<= np.uint64(32)
    keys |= images.astype(np.uint64)
    return keys


def _scores(keys: Keys) -> Vectors:
    """The scores that `_keys` was given."""
    descending = (keys >> np.uint64(32)).astype(np.uint32)
    negative = (descending.view(np.int32) >> 31).view(np.uint32)
    return (descending ^ (~negative & np.uint32(0x7FFF_FFFF))).view(np.float32)


def _ascending(bits: Keys) -> Keys:
    return np.where(bits >> np.uint64(63), ~bits, bits | np.uint64(1 << 63))
