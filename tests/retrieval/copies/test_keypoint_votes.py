"""Votes of keypoints by made-up descriptors, each like none but its own; and what packing leaves of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from retrieval.copies import keypoint_index
from retrieval.copies.fingerprint import Fingerprint, FingerprintStore, packed, unpacked
from retrieval.copies.keypoint_index import KeypointIndex
from retrieval.copies.keypoints import MIRRORED, Keypoints

RNG = np.random.default_rng(2)


def sparse(count: int) -> npt.NDArray[np.float32]:
    """Unit rows that are not negative, as descriptors are, and of which no two are alike."""
    rows = np.where(RNG.random((count, 128)) < 0.1, RNG.random((count, 128)), 0)
    rows[np.arange(count), RNG.permutation(128)[np.arange(count) % 128]] += 1
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def points(descriptors: npt.NDArray[np.float32]) -> Keypoints:
    return Keypoints(np.zeros((len(descriptors), 4), np.float32), descriptors)


def stored(references: list[npt.NDArray[np.float32]]) -> tuple[FingerprintStore, list[str]]:
    store, keys = FingerprintStore(None), [f"{number:064x}" for number in range(len(references))]
    store.put(keys, [Fingerprint(np.zeros((1, 256), bool), points(each)) for each in references])
    return store, keys


def like(rows: npt.NDArray[np.float32], product: float) -> npt.NDArray[np.float32]:
    """Rows with this scalar product with these."""
    other = RNG.normal(size=rows.shape)
    other -= (other * rows).sum(axis=1, keepdims=True) * rows
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return (product * rows + np.sqrt(1 - product**2) * other).astype(np.float32)


def test_references_are_proposed_by_votes_three_at_least_and_five_at_most() -> None:
    own = sparse(30)
    shared = [3, 4, 2, 5, 4, 3, 6]
    starts = np.cumsum([0, *shared])
    references = [own[start:end] for start, end in pairwise(starts)]
    index = KeypointIndex(*stored(references))
    assert index.proposals([points(own)]) == [[6, 3, 1, 4, 0]]
    assert index.proposals([points(own[:3]), points(own[:2]), points(own[:0])]) == [[0], [], []]
    assert index.proposals([points(own[:3][:, MIRRORED])]) == [[0]], "of its mirror image, too"
    # Votes of both views are not added up.
    mixed = np.concatenate([own[:2], own[2:3][:, MIRRORED]])
    assert index.proposals([points(mixed)]) == [[]]
    assert KeypointIndex(*stored([own[:0]])).proposals([points(own)]) == [[]]


@pytest.mark.parametrize(("product", "votes"), [(0.82, True), (0.78, False)])
def test_descriptors_vote_where_they_are_alike(product: float, votes: bool) -> None:
    own = sparse(3)
    index = KeypointIndex(*stored([own]))
    assert index.proposals([points(like(own, product))]) == ([[0]] if votes else [[]])


def test_a_keypoint_votes_for_the_five_nearest_and_once_for_a_reference() -> None:
    own = sparse(3)
    nearer = [like(own, product) for product in (0.98, 0.97, 0.96, 0.95, 0.94, 0.93)]
    index = KeypointIndex(*stored([*nearer[:1], np.concatenate([own, nearer[1]]), *nearer[2:]]))
    assert index.proposals([points(own)]) == [[0, 1, 2, 3]], "of reference 1 two are among the five"
    twice = KeypointIndex(*stored([np.concatenate([own[:2], own[:2]])]))
    assert twice.proposals([points(own)]) == [[]], "two keypoints are two votes"


def test_many_descriptors_are_searched_by_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found as among all; of another picture nothing is."""
    own = sparse(640)
    store = stored([own[start : start + 10] for start in range(0, 640, 10)])
    monkeypatch.setattr(keypoint_index, "_EXACT", 639)
    monkeypatch.setattr(keypoint_index, "_BLOCK", 7)
    monkeypatch.setattr(keypoint_index, "_TRAINED", 5)
    index = KeypointIndex(*store)
    pictures = [points(own[start : start + 10]) for start in (0, 310, 630)]
    assert [found[:1] for found in index.proposals([*pictures, points(sparse(10))])] == [[0], [31], [63], []]


def test_packing_keeps_descriptors_to_a_part_in_512() -> None:
    own = points(np.concatenate([sparse(20), np.eye(2, 128, dtype=np.float32), np.zeros((1, 128), np.float32)]))
    places, small = packed(own)
    assert places is own.places
    assert small.dtype == np.uint8
    assert np.array_equal(small, np.minimum(np.round(own.descriptors * 512), 255))
    back = unpacked((places, small)).descriptors
    assert np.linalg.norm(back[:-1], axis=1) == pytest.approx(np.ones(22), abs=1e-6)
    assert not back[-1].any()
    low = own.descriptors[:20].max(axis=1) < 0.49
    assert np.abs(back[:20][low] - own.descriptors[:20][low]).max(initial=0) < 2 / 512
