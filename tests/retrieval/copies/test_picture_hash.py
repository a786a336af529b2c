"""The squares of a picture that are hashed: how many, and which."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from retrieval.copies.picture_hash import hash_distance, hash_distances, orientation_hashes, picture_hash, window_hashes
from tests.retrieval.copies.pictures import field


@pytest.mark.parametrize(
    ("long", "short", "squares"),
    [(300, 300, 0), (301, 300, 2), (315, 300, 2), (316, 300, 3), (600, 300, 21), (930, 300, 43), (3000, 100, 64)],
)
def test_squares_lie_at_most_a_twentieth_apart_and_are_64_at_most(long: int, short: int, squares: int) -> None:
    for size in ((long, short), (short, long)):
        assert window_hashes(PIL.Image.new("RGB", size)).shape == (1 + squares, 256)


@pytest.mark.parametrize("upright", [False, True])
def test_each_square_is_hashed_where_it_lies(upright: bool) -> None:
    image = field(3).resize((200, 100))
    if upright:
        image = image.transpose(PIL.Image.Transpose.ROTATE_90)
    hashes = window_hashes(image)
    assert np.array_equal(hashes[0], picture_hash(image))
    for number, of_square in enumerate(hashes[1:]):
        at = 5 * number
        square = image.crop((0, at, 100, at + 100) if upright else (at, 0, at + 100, 100))
        assert (of_square != picture_hash(square)).sum() <= 8, number


def test_a_large_picture_is_reduced_to_squares_of_256_pixels() -> None:
    large = field(3).resize((1200, 900))
    assert (window_hashes(large) != window_hashes(field(3))).sum(axis=1).max() <= 8


def test_distances_are_counts_of_bits_that_differ() -> None:
    rng = np.random.default_rng(0)
    some, others = rng.random((3, 256)) < 0.5, rng.random((4, 256)) < 0.5
    counted = [[sum(a != b for a, b in zip(one, other, strict=True)) for other in others] for one in some]
    assert hash_distances(some, others).tolist() == counted
    assert hash_distance(some, others[1]) == min(row[1] for row in counted)


def test_the_first_of_the_orientations_is_the_picture_as_it_is() -> None:
    image = field(5)
    hashes = orientation_hashes(image)
    assert hashes.shape == (8, 256)
    assert np.array_equal(hashes[0], picture_hash(image))
    turned = picture_hash(image.transpose(PIL.Image.Transpose.ROTATE_90))
    assert hash_distance(hashes[1:], turned) <= 8
    assert hash_distance(hashes[:1], turned) > 60
