"""Many queries at once, ranked as a search ranks: one entry a patient, by its best image or report; the query's own
patient is left out; equal scores are ordered by image id.

`CaseSearch` answers one query and reads as many images of the archive as it needs. An evaluation needs all patients in
order for thousands of queries: here that is one matrix product, one grouped minimum and one sort a block. A test holds
the two to the same answers.

Scores and their tie-breakers are sorted together, as one integer each (`_sort_keys`): that is three to seven times
faster than `np.lexsort` over both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Bools, Ints, Vectors
from retrieval.encoder.vectors import mean_query
from retrieval.search.fusion import Fused, FusionRule, descending_bits, fuse, raised
from retrieval.search.reports.report_index import fuse_reports

Keys = npt.NDArray[np.uint64]

_LAST: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_LOW_32_BITS: Final = np.uint64(0xFFFF_FFFF)
_LOW_24_BITS: Final = np.uint64(0xFF_FFFF)


class Candidates:
    """The p candidate patients, and the items (images, or reports) by which one channel compares them."""

    def __init__(self, items: Ints, patients: Ints, images: Ints) -> None:
        """Group the items by patient.

        Args:
            items: int64[m], which columns of the channel's scores compete.
            patients: int64[m], the patient of each.
            images: int64[m], the image that represents each: lower numbers go first where scores are equal.
        """
        order = np.argsort(patients, kind="stable")  # a patient's best is then a minimum over a run of columns
        self.columns = items[order]
        self.images = images[order]
        self.patients, self._starts = np.unique(patients[order], return_index=True)

    def rank(self, scores: Vectors, own: Ints, first: Bools | None = None) -> BatchRanking:
        """Rank the patients by a channel's scores.

        Args:
            scores: float32[b, all items]; -inf where none is given.
            own: int64[b], each query's patient, one of the candidates: it is left out.
            first: bool[b, all items], reports that contain the query's words: they come before the others.
        """
        scores = scores[:, self.columns]
        if first is None:
            return self.rank_items(scores, own)
        others = np.where(self._is_own(own), -np.inf, scores)
        return self.rank_items(raised(others, first[:, self.columns]), own, first[:, self.columns])

    def rank_items(self, scores: Vectors, own: Ints, first: Bools | None = None) -> BatchRanking:
        """As `rank`, of scores float32[b, m] in the order of `columns`, in which `first`, bool[b, m], are raised."""
        keys = np.minimum.reduceat(_sort_keys(scores, self.images), self._starts, axis=1)
        best, images = _scores_of(keys), (keys & _LOW_32_BITS).astype(np.int64)
        queries, own_columns = np.arange(len(own)), np.searchsorted(self.patients, own)
        best[queries, own_columns] = -np.inf
        keys[queries, own_columns] = _LAST
        if first is not None:
            first = np.logical_or.reduceat(first & np.isfinite(scores), self._starts, axis=1)
            first[queries, own_columns] = False
        return BatchRanking(best, images, keys, first)

    def fused_reports(self, rule: FusionRule, ways: Mapping[str, Vectors], own: Ints, first: Bools) -> Fused:
        """Join the ways to compare reports, over all of other patients: float[b, m], in the order of `columns`.

        Args:
            ways: as of `fuse_reports`, float32[b, all items].
            first: bool[b, all items].
        """
        is_own = self._is_own(own)
        others = {name: np.where(is_own, -np.inf, scores[:, self.columns]) for name, scores in ways.items()}
        return fuse_reports(rule, others, first[:, self.columns] & ~is_own)

    def _is_own(self, own: Ints) -> Bools:
        """bool[b, m], the items of each query's patient."""
        patient_of = np.repeat(self.patients, np.diff([*self._starts, len(self.columns)]))
        return np.asarray(patient_of[np.newaxis] == own[:, np.newaxis], dtype=bool)


@dataclass(frozen=True, eq=False)
class BatchRanking:
    """How one channel, or a fusion, ranks the p candidate patients for b queries."""

    scores: npt.NDArray[np.floating]
    """float[b, p]; -inf for the query's patient, and where there is none."""
    images: Ints
    """int64[b, p], the image that represents the patient."""
    keys: Keys
    """uint64[b, p], ascending in the order of the ranking; the own patient has the greatest."""
    first: Bools | None = None
    """bool[b, p], patients that come first because a report of theirs contains the query's words; None: none does."""

    @cached_property
    def order(self) -> Ints:
        """int64[b, p - 1], the other patients, best first."""
        return np.argsort(self.keys, axis=1)[:, :-1]

    @cached_property
    def ranked_images(self) -> Ints:
        """int64[b, p - 1], the images that stand for the other patients, best first."""
        return np.take_along_axis(self.images, self.order, axis=1)

    @property
    def top(self) -> npt.NDArray[np.floating]:
        """float[b], the best score."""
        return np.take_along_axis(self.scores, self.order[:, :1], axis=1)[:, 0]


def fused_ranking(rule: FusionRule, channels: Mapping[str, BatchRanking]) -> BatchRanking:
    """Fuse the rankings of channels over the same candidates."""
    fused = fuse(rule, {name: ranking.scores for name, ranking in channels.items()}, first=first_of(channels))
    return ranking_of(fused, channels, rule.shares(tuple(channels)))


def first_of(channels: Mapping[str, BatchRanking]) -> dict[str, Bools]:
    """By channel, bool[b, p], the patients that it puts first."""
    return {name: ranking.first for name, ranking in channels.items() if ranking.first is not None}


def ranking_of(fused: Fused, channels: Mapping[str, BatchRanking], shares: Mapping[str, float]) -> BatchRanking:
    """The ranking by the scores of a fusion of these channels with these shares.

    Equal scores, and patients beyond every channel's first ranks, are ordered as the first channel orders them. The
    image that represents a patient is that of the channel that added most to its score, the first of equals; of a
    patient that comes first, that of the channel which puts it there.
    """
    first = next(iter(channels.values()))
    leading = fused.leading(shares)
    parts = np.stack(
        [
            np.where(leading[name], np.inf, fused.parts[name]) if name in leading else fused.parts[name]
            for name in channels
        ]
    )
    images = np.stack([ranking.images for ranking in channels.values()])
    representatives = np.take_along_axis(images, parts.argmax(axis=0)[None], axis=0)[0]
    positions = np.argsort(np.argsort(first.keys, axis=1), axis=1).astype(np.uint64)  # in the first channel's ranking
    # The position takes the last 24 bits. 28 of the score's mantissa are left, so that sums of the same parts in
    # another order are equal scores.
    keys = (descending_bits((fused.scores + 0.0).view(np.uint64)) & ~_LOW_24_BITS) | positions
    ahead = np.logical_or.reduce(list(leading.values())) if leading else None
    return BatchRanking(fused.scores, representatives, keys, ahead)


def mean_queries(vectors: Vectors, case_of: Ints, cases: int) -> Vectors:
    """What each case queries by, float32[cases, d]: the normalised mean of its images' vectors.

    Args:
        vectors: float32[m, d], of images.
        case_of: int64[m], the case of each.

    Raises:
        EncodingError: a case's vectors cancel each other out.
    """
    order = np.argsort(case_of, kind="stable")
    runs = np.split(vectors[order], np.searchsorted(case_of[order], np.arange(1, cases)))
    return np.concatenate([mean_query(rows) for rows in runs])


def _sort_keys(scores: Vectors, images: Ints) -> Keys:
    """Integers that sort by score, descending, and then by image, ascending: uint64[b, m].

    The upper half holds the score's bits (`descending_bits`), the lower half the image's row.

    Args:
        scores: float32[b, m].
        images: int64[m], below 2**32.
    """
    bits = (scores + np.float32(0)).view(np.uint32)  # + 0: minus zero and zero are equal scores
    return (descending_bits(bits).astype(np.uint64) << np.uint64(32)) | images.astype(np.uint64)


def _scores_of(keys: Keys) -> Vectors:
    """The scores float32[b, m] that `_sort_keys` was given."""
    return descending_bits((keys >> np.uint64(32)).astype(np.uint32)).view(np.float32)
