"""The transform that keypoints agree on, by made-up keypoints of known places; and the pixels that it lays over."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from retrieval.copies.keypoints import MIRRORED, Keypoints
from retrieval.copies.overlap import Overlap, best_transform, laid_over

RNG = np.random.default_rng(4)
DESCRIPTORS = RNG.normal(size=(300, 128))
DESCRIPTORS /= np.linalg.norm(DESCRIPTORS, axis=1, keepdims=True)
"""None is like another, nor like another's mirror image."""
Floats = npt.NDArray[np.float64]


def scattered(count: int) -> Floats:
    """x, y, size, angle of so many places in the unit square; the last is in the middle of the others."""
    places = np.concatenate([RNG.uniform((0, 0, 0.02, -3), (1, 1, 0.04, 3), (count - 1, 4))])
    return np.vstack([places, [*places[:, :2].mean(axis=0), 0.03, 0.5]])


def moved(places: Floats, *, scale: float = 1.0, turn: float = 0.0, shift: complex = 0.3 - 0.1j) -> Floats:
    z = (places[:, 0] + 1j * places[:, 1]) * scale * np.exp(1j * turn) + shift
    # Angles come from 0 to 360° or from -180° to 180°.
    return np.stack([z.real, z.imag, places[:, 2] * scale, (places[:, 3] + turn) % (2 * np.pi)], axis=1)


def points(places: Floats, descriptors: Floats | None = None) -> Keypoints:
    numbers = DESCRIPTORS[: len(places)] if descriptors is None else descriptors
    return Keypoints(places.astype(np.float32), numbers.astype(np.float32))


def agreeing(picture: Keypoints, reference: Keypoints) -> int:
    found = best_transform(picture, reference)
    return 0 if found is None else found[1]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("scale", "turn"), [(1, 0), (0.3, 1), (3.9, -2), (1 / 3.9, 3)])
def test_the_transform_is_found(scale: float, turn: float, mirrored: bool) -> None:
    places = scattered(9)
    own, descriptors = places.copy(), DESCRIPTORS[:9].copy()
    if mirrored:  # the picture is the mirror image of what the reference shows
        own[:, 0], own[:, 3] = -places[:, 0], np.pi - places[:, 3]
        descriptors = descriptors[:, MIRRORED]
    found = best_transform(points(own, descriptors), points(moved(places, scale=scale, turn=turn)))
    assert found is not None
    matrix, pairs, told = found
    assert (pairs, told) == (9, mirrored)
    cosine, sine, side = scale * math.cos(turn), scale * math.sin(turn), -1 if mirrored else 1
    assert np.allclose(matrix, [[side * cosine, -sine, 0.3], [side * sine, cosine, -0.1]], atol=1e-4)


@pytest.mark.parametrize(
    ("count", "scale", "size", "enough"),
    [
        (4, 1, 1, True),
        (3, 1, 1, False),
        (9, 4.1, 4.1, False),
        (9, 1 / 4.1, 1 / 4.1, False),
        (9, 4.1, 3.9, False),  # as far apart as no keypoint is large
        (9, 1 / 4.1, 1 / 3.9, False),
        (9, 3.9, 4.1, False),
    ],
)
def test_four_pairs_are_enough_up_to_four_times_as_large(count: int, scale: float, size: float, enough: bool) -> None:
    places = scattered(count)
    reference = moved(places, scale=scale)
    reference[:, 2] = places[:, 2] * size
    assert agreeing(points(places), points(reference)) == (count if enough else 0)


@pytest.mark.parametrize("scale", [1.0, 2.0])
@pytest.mark.parametrize(
    ("change", "agrees"),
    [
        ((0.049, 0, 1, 0), True), ((0.053, 0, 1, 0), False), ((0, -0.049, 1, 0), True), ((0, -0.053, 1, 0), False),
        ((0, 0, 1, 19), True), ((0, 0, 1, 21), False), ((0, 0, 1, -19), True), ((0, 0, 1, -21), False),
    ],
)  # fmt: skip
def test_a_pair_agrees_near_the_place_and_the_turn(
    change: tuple[float, float, float, float], agrees: bool, scale: float
) -> None:
    """In short sides of the picture, and degrees; one pair more or less."""
    places = scattered(12)
    x, y, size, degrees = change
    reference = moved(places, scale=scale, turn=0.2)
    reference[-1] = moved((places + np.array([x, y, 0, np.radians(degrees)]))[-1:], scale=scale, turn=0.2)[0]
    reference[-1, 2] *= size
    assert agreeing(points(places), points(reference)) == 11 + agrees


@pytest.mark.parametrize(("size", "agrees"), [(1.45, True), (1 / 1.45, True), (1.55, False), (1 / 1.55, False)])
def test_four_pairs_agree_on_the_size(size: float, agrees: bool) -> None:
    places = scattered(4)
    reference = moved(places)
    reference[0, 2] *= size
    assert agreeing(points(places), points(reference)) == (4 if agrees else 0)


@pytest.mark.parametrize(("alike", "counts"), [(0.8, True), (0.79, False)])
def test_descriptors_are_of_one_place_from_four_fifths_on(alike: float, counts: bool) -> None:
    places = scattered(4)
    own, reference = np.eye(8, 128), alike * np.eye(8, 128) + math.sqrt(1 - alike**2) * np.eye(8, 128, 20)
    assert agreeing(points(places, own[:4]), points(moved(places), reference[:4])) == 4 * counts


def test_each_keypoint_has_one_partner_and_each_place_one_voice() -> None:
    places = scattered(4)
    beside = np.vstack([places, places[:1] + np.array([0.02, 0, 0, 0])])
    # The fifth resembles the first of the reference less than the first itself does.
    fifth = 0.9 * DESCRIPTORS[0] + math.sqrt(0.19) * DESCRIPTORS[9]
    assert agreeing(points(beside, np.vstack([DESCRIPTORS[:4], fifth])), points(moved(places))) == 4
    # Another keypoint that far away is a witness of its own; another direction of the same is none.
    assert agreeing(points(beside), points(moved(beside))) == 5
    two = np.vstack([places[:3], places[:1] + np.array([0, 0, 0, 1])])
    assert agreeing(points(two), points(moved(two))) == 0
    two = np.vstack([places, places[:1] + np.array([0, 0, 0, 1])])
    assert agreeing(points(two), points(moved(two))) == 4
    assert best_transform(points(places[:0]), points(places)) is None
    assert best_transform(points(places), points(places[:0])) is None


def test_the_picture_as_it_is_comes_before_its_mirror_image() -> None:
    """As many pairs speak for the one as for the other; with one more, the mirror image."""
    places = scattered(9)
    reference = places.copy()
    reference[:4] = moved(places[:4])
    descriptors = np.vstack([DESCRIPTORS[:4], DESCRIPTORS[4:9][:, MIRRORED]])
    own = places.copy()
    own[4:, 0], own[4:, 3] = -places[4:, 0], np.pi - places[4:, 3]
    even = best_transform(points(own[:8], descriptors[:8]), points(reference[:8]))
    more = best_transform(points(own, descriptors), points(reference))
    assert even is not None
    assert more is not None
    assert (even[1:], more[1:]) == ((4, False), (5, True))


def test_the_eighty_pairs_most_alike_are_looked_at() -> None:
    places = np.array([(x / 10, y / 10, 0.03, 0.5) for x in range(10) for y in range(10)])
    reference = moved(places)
    less = np.arange(0, 100, 5)
    reference[less, 0] += 0.5
    alike = DESCRIPTORS[:100].copy()
    alike[less] = 0.9 * alike[less] + math.sqrt(0.19) * DESCRIPTORS[200 + less]
    assert agreeing(points(places), points(reference, alike)) == 80
    assert agreeing(points(places), points(moved(places))) == 80


@pytest.mark.parametrize(
    ("correlation", "share", "copied"),
    [(0.65, 0.2, True), (0.649, 0.2, False), (0.65, 0.199, False), (1.0, 1.0, True)],
)
def test_what_counts_as_copied(correlation: float, share: float, copied: bool) -> None:
    assert Overlap(4, correlation, share, False).copied == copied


def plainly_laid_over(picture: Floats, reference: Floats, matrix: Floats) -> tuple[float, float]:
    """Correlation and share, from the centre of each pixel; blur of what is seen only."""
    side, other = min(picture.shape), min(reference.shape)
    y, x = np.indices(picture.shape) + 0.5
    u, v = ((row[0] * x + row[1] * y) / side * other + row[2] * other - 0.5 for row in matrix)
    seen = (u >= 0) & (u <= reference.shape[1] - 1) & (v >= 0) & (v <= reference.shape[0] - 1)
    if seen.sum() < 0.2 * seen.size:
        return 0.0, 0.0
    fine = []
    for grey in (picture, map_coordinates(reference, [v, u], order=1, mode="nearest")):
        mean = gaussian_filter(seen * grey, 6) / np.maximum(gaussian_filter(seen.astype(float), 6), 1e-9)
        fine.append(np.where(seen, grey - mean, 0))
    one, two, both = (gaussian_filter(a * b, 8) for a, b in [(fine[0],) * 2, (fine[1],) * 2, fine])
    agree = seen & (both >= 0.65 * np.sqrt(one * two)) & (np.sqrt(np.maximum(one, 0)) > 0.002)
    if not agree.any():
        return 0.0, 0.0
    a, b = (each[agree] for each in fine)
    return float(a @ b / math.sqrt((a @ a) * (b @ b))), float(agree.mean())


def test_pixels_are_laid_over_as_a_plain_count_lays_them() -> None:
    """Of other sizes, turned, shifted by half or more, partly other, faint, and of noise that agrees by chance."""
    rng = np.random.default_rng(6)
    reference = gaussian_filter(rng.random((80, 100)), 1.0)
    other = gaussian_filter(rng.random((60, 72)), 1.0)
    found = []
    for scale, turn, x, y in [
        (1, 0, 0, 0), (0.7, 0.3, 0.1, 0), (1, 0, 0.6, 0), (1, 0, 0, -0.55), (1, 0, 0.99, 0), (1, 0, 0, -0.78),
        (1, 0, 0, -0.82), (0.5, -1, 0.2, 0.6),
    ]:  # fmt: skip
        cosine, sine = scale * math.cos(turn), scale * math.sin(turn)
        matrix = np.array([[cosine, -sine, x], [sine, cosine, y]])
        v, u = (np.indices((60, 72)) + 0.5) / 60
        at = [(row[0] * u + row[1] * v + row[2]) * 80 - 0.5 for row in (matrix[1], matrix[0])]
        copy = map_coordinates(reference, at, order=1, mode="nearest") + rng.normal(0, 0.01, (60, 72))
        half = np.where(np.arange(72) < 40, copy, other)
        for picture in (copy, half, 0.5 + 0.02 * copy, other, np.full((60, 72), 0.5), 0.5 + (half - 0.5) * 0.06):
            plain = plainly_laid_over(picture, reference, matrix)
            got = laid_over(picture.astype(np.float32), reference.astype(np.float32), matrix.astype(np.float32))
            assert got == pytest.approx(plain, abs=5e-3)
            found.append(got)
    correlation, share = np.array(found).T
    assert {*np.floor(share * 4)} == {0, 1, 2, 3, 4}
    assert (correlation[share > 0.1] > 0.6).all()
