"""Duplicates within a set: the same pixels, and nearly the same picture."""

from __future__ import annotations

import io
from unittest import mock

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.phantom import phantom_cases
from retrieval.copies.picture_hash import HASH_BITS, NEAR_COPY_BITS
from retrieval.generated.near_duplicate import BLOCK, ImageHashes, NearestReference, find_duplicates, hash_image
from tests.retrieval.conftest import speckled


def jpeg(image: PIL.Image.Image) -> PIL.Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    return PIL.Image.open(file).convert("RGB")


def test_copies_are_told_from_near_ones_and_from_others() -> None:
    first, second, third = (phantom.render() for phantom in phantom_cases(3, seed=5, split="held-out"))
    hashes = [hash_image(image) for image in (first, second, first.copy(), jpeg(first), third, jpeg(second), second)]
    found = find_duplicates(hashes)
    assert found.exact == {2: 0, 6: 1}
    assert found.near == {3: 0, 5: 1}


def test_of_two_near_ones_the_first_is_named() -> None:
    image = speckled(1, size=64)
    hashes = [hash_image(one) for one in (speckled(2, size=64), image, jpeg(image), jpeg(jpeg(image)))]
    assert find_duplicates(hashes).near == {2: 1, 3: 1}


def test_a_picture_is_compared_with_those_of_earlier_blocks() -> None:
    hashes = [hash_image(speckled(seed, size=64)) for seed in range(3)]
    many = [
        hashes[0],
        *[ImageHashes(str(i), ~hashes[0].bits) for i in range(BLOCK)],
        ImageHashes("late", hashes[0].bits),
        hashes[1],
    ]
    near = find_duplicates(many).near
    assert near[BLOCK + 1] == 0
    assert BLOCK + 2 not in near
    assert {near[place] for place in range(2, BLOCK + 1)} == {1}


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_it_finds_what_a_comparison_of_all_with_all_finds(seed: int, count: int, families: int) -> None:
    """Pictures of a few families, some of the same hash, some about the threshold apart, across blocks."""
    random = np.random.default_rng(seed)
    parents = random.random((families, HASH_BITS)) < 0.5
    bits = [
        parents[random.integers(families)] ^ (random.random(HASH_BITS) < random.choice([0, 0.1, 0.17, 0.3]))
        for _ in range(count)
    ]
    hashes = [ImageHashes(str(random.integers(count)), row) for row in bits]
    exact: dict[int, int] = {}
    near: dict[int, int] = {}
    for later, image in enumerate(hashes):
        same = [place for place in range(later) if hashes[place].pixels == image.pixels]
        like = [
            place
            for place in range(later)
            if place not in exact and (hashes[place].bits != image.bits).sum() <= NEAR_COPY_BITS
        ]
        if same:
            exact[later] = same[0]
        elif like:
            near[later] = like[0]
    with (
        mock.patch("retrieval.generated.near_duplicate.BLOCK", 8),
        mock.patch("retrieval.generated.near_duplicate._FEW", 3),
    ):
        found = find_duplicates(hashes)
    assert (found.exact, found.near) == (exact, near)


def test_size_belongs_to_the_pixels() -> None:
    wide, high = PIL.Image.new("RGB", (8, 4), "white"), PIL.Image.new("RGB", (4, 8), "white")
    assert hash_image(wide).pixels != hash_image(high).pixels
    assert find_duplicates([]).exact == {}


@pytest.mark.parametrize(("apart", "alike"), [(60, True), (61, False)])
def test_the_threshold_itself_is_alike(apart: int, alike: bool) -> None:
    assert NearestReference("case", 1, 0.9, apart).near_copy == alike
    bits = np.random.default_rng(0).random(HASH_BITS) < 0.5
    other = bits ^ (np.arange(HASH_BITS) < apart)
    assert find_duplicates([ImageHashes("one", bits), ImageHashes("other", other)]).near == ({1: 0} if alike else {})
