"""Every reference is compared: hashes of squares, keypoints by votes, and what the caller names besides."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from retrieval.copies import keypoint_index
from retrieval.copies.fingerprint import FingerprintStore, fingerprint
from retrieval.copies.keypoint_index import KeypointIndex
from retrieval.copies.picture_hash import NEAR_COPY_BITS, hash_distances, orientation_hashes, window_hashes
from retrieval.copies.reference_search import ReferenceSearch, searched
from tests.retrieval.copies.pictures import field

NAMES = [f"{number:064x}" for number in range(6)]


@pytest.fixture
def store(tmp_path: Path) -> FingerprintStore:
    made = FingerprintStore(tmp_path / "prints")
    for half in (NAMES[:2], NAMES[2:]):
        made.put(half, [fingerprint(field(int(name, 16))) for name in half])
    return made


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    for name in NAMES:
        field(int(name, 16)).save(tmp_path / f"{name}.png")
    return [tmp_path / f"{name}.png" for name in NAMES]


def test_the_squares_of_a_long_picture_are_recognised_by_their_hash() -> None:
    image = field(3)
    windows = window_hashes(image)
    assert len(windows) == 1 + 8
    for left in (0, 33, 71, 100):
        cut = image.crop((left, 0, left + 300, 300)).transpose(PIL.Image.Transpose.ROTATE_270)
        turned = orientation_hashes(cut)
        assert hash_distances(turned, windows).min() <= NEAR_COPY_BITS
        assert hash_distances(turned, windows[:1]).min() > NEAR_COPY_BITS  # the picture as a whole
    assert len(window_hashes(image.crop((0, 0, 300, 300)))) == 1


def test_a_part_is_found_among_all_references(store: FingerprintStore, paths: list[Path]) -> None:
    search = ReferenceSearch(store, NAMES, paths)
    copies = [field(number).crop((90, 40, 370, 250)) for number in (4, 1)]
    looked = [searched(picture) for picture in (*copies, field(50))]
    with ThreadPoolExecutor(1) as pool:
        first, second, other = search.match(looked, [0, 0, 0], pool)
    assert (first.reference, second.reference) == (4, 1)
    assert first.part is not None
    assert first.part.copied
    assert first.hash_distance > NEAR_COPY_BITS  # no whole picture, and no square of one
    assert other.part is None or not other.part.copied


def test_votes_find_the_same_in_clusters_as_among_all(store: FingerprintStore, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [searched(field(int(name, 16)).crop((50, 20, 330, 230))).keypoints for name in NAMES]
    exact = KeypointIndex(store, NAMES).proposals(points)
    monkeypatch.setattr(keypoint_index, "_EXACT", 0)
    clustered = KeypointIndex(store, NAMES).proposals(points)
    assert [found[0] for found in exact] == list(range(6))
    assert [found[0] for found in clustered] == list(range(6))


@pytest.mark.slow
def test_fingerprints_are_read_again_and_damaged_shards_are_passed_over(
    store: FingerprintStore, tmp_path: Path
) -> None:
    shards = sorted((tmp_path / "prints").glob("*.safetensors"))
    assert len(shards) == 2
    assert (tmp_path / "prints").stat().st_mode & 0o777 == 0o700
    again = FingerprintStore(tmp_path / "prints")
    held = FingerprintStore(None)
    held.put(NAMES, [fingerprint(field(int(name, 16))) for name in NAMES])
    for name in NAMES:
        own, read, kept = (one.keypoints(name) for one in (store, again, held))
        assert np.array_equal(own.descriptors, read.descriptors)
        assert np.array_equal(own.descriptors, kept.descriptors)
        assert np.array_equal(own.places, read.places)
        assert np.array_equal(again.windows(name), held.windows(name))
        assert again.count(name) == held.count(name) == len(own)
        true = fingerprint(field(int(name, 16))).keypoints.descriptors
        assert (own.descriptors * true).sum(axis=1).min() > 0.99
    shards[0].write_bytes(shards[0].read_bytes()[:100])
    left = FingerprintStore(tmp_path / "prints")
    assert sorted(name in left for name in NAMES) in ([False] * 2 + [True] * 4, [False] * 4 + [True] * 2)
