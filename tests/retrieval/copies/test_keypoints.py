"""Keypoints beside a plain count of them, place by place and number by number, after Lowe's paper."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter, minimum_filter

from retrieval.copies.keypoints import grey_picture, keypoints
from tests.retrieval.copies.pictures import field

Floats = npt.NDArray[np.float64]


def levels_of(grey: Floats) -> Floats:
    """The picture, which is blurred to 1.6 pixels, and five times more: to 1.6 * 2^(k/3) each."""
    sigmas = [1.6 * 2 ** (k / 3) for k in range(6)]
    levels = [grey]
    for before, after in pairwise(sigmas):
        levels.append(gaussian_filter(levels[-1], math.sqrt(after**2 - before**2), truncate=3, mode="nearest"))
    return np.stack(levels)


def extrema_of(levels: Floats) -> list[tuple[float, Floats]]:
    """Strength and level, y, x of each extremum in 3 × 3 × 3 differences that is no edge."""
    d = levels[1:] - levels[:-1]
    high = (d == maximum_filter(d, 3)) & (d > 0.004)
    low = (d == minimum_filter(d, 3)) & (d < -0.004)
    found = []
    for z, y, x in np.argwhere(high | low):
        if not (0 < z < len(d) - 1 and 4 <= y < d.shape[1] - 4 and 4 <= x < d.shape[2] - 4):
            continue
        cube = d[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2]
        slope = np.array([cube[2, 1, 1] - cube[0, 1, 1], cube[1, 2, 1] - cube[1, 0, 1], cube[1, 1, 2] - cube[1, 1, 0]])
        ends = np.array([cube[2, 1, 1] + cube[0, 1, 1], cube[1, 2, 1] + cube[1, 0, 1], cube[1, 1, 2] + cube[1, 1, 0]])
        curve = ends - 2 * cube[1, 1, 1]
        mixed = (cube[1, 2, 2] - cube[1, 2, 0] - cube[1, 0, 2] + cube[1, 0, 0]) / 4
        least, most = sorted(np.abs(bent := np.linalg.eigvalsh([[curve[1], mixed], [mixed, curve[2]]])))
        if bent[0] * bent[1] > 0 and most < 10 * least:
            found.append((abs(cube[1, 1, 1]), np.array([z, y, x]) + np.clip(-slope / 2 / curve, -0.5, 0.5)))
    return found


def gradients(level: Floats, y: Floats, x: Floats) -> tuple[Floats, Floats]:
    """Down and to the right, between pixels; beyond the picture those of its edge."""
    down, right = np.gradient(level)
    return (
        map_coordinates(down, [y, x], order=1, mode="nearest"),
        map_coordinates(right, [y, x], order=1, mode="nearest"),
    )


def angles_of(level: Floats, y: float, x: float, sigma: float) -> list[float]:
    """The directions of most of the gradients around a place, of 36 and refined by a parabola."""
    v, u = np.mgrid[-6:7, -6:7] * 0.75
    gy, gx = gradients(level, y + sigma * v, x + sigma * u)
    votes = np.hypot(gy, gx) * np.exp(-(u**2 + v**2) / 4.5)
    histogram = np.zeros(36)
    for direction, vote in zip(np.degrees(np.arctan2(gy, gx)).ravel(), votes.ravel(), strict=True):
        histogram[round(direction / 10) % 36] += vote
    for _ in range(3):
        histogram = np.array([(histogram[k - 1] + histogram[k] + histogram[(k + 1) % 36]) / 3 for k in range(36)])
    found = []
    for k, middle in enumerate(histogram):
        left, right = histogram[k - 1], histogram[(k + 1) % 36]
        if middle >= 0.8 * histogram.max() and middle > left and middle >= right:
            found.append(math.radians(10 * (k + (left - right) / (2 * (left - 2 * middle + right)))))
    return found


def descriptor_of(level: Floats, y: float, x: float, sigma: float, angle: float) -> Floats:
    """4 × 4 cells, three sigmas wide each, of 8 directions: rooted, and of length one."""
    v, u = (np.mgrid[0:16, 0:16] - 7.5) * 15 / 16
    cosine, sine = math.cos(angle), math.sin(angle)
    gy, gx = gradients(level, y + sigma * (sine * u + cosine * v), x + sigma * (cosine * u - sine * v))
    force = np.hypot(gy, gx) * np.exp(-(u**2 + v**2) / 72)
    turn = (np.arctan2(gy, gx) - angle) * 4 / math.pi % 8
    cells = np.zeros((4, 4, 8))
    for row in range(4):
        for column in range(4):
            near = np.maximum(0, 1 - abs(v / 3 - row + 1.5)) * np.maximum(0, 1 - abs(u / 3 - column + 1.5))
            for k in range(8):
                apart = np.minimum(abs(turn - k), 8 - abs(turn - k))
                cells[row, column, k] = (force * near * np.maximum(0, 1 - apart)).sum()
    cut = np.minimum(cells.ravel() / np.linalg.norm(cells), 0.2)
    return np.asarray(np.sqrt(cut / cut.sum()))


def plain_extrema(grey: Floats) -> list[tuple[float, int, Floats, Floats]]:
    """Strength, step in pixels, levels of the octave, and place of each extremum of four octaves, strongest first."""
    first, found = gaussian_filter(grey, math.sqrt(1.6**2 - 0.5**2), truncate=3, mode="nearest"), []
    for step in (1, 2, 4, 8):
        levels = levels_of(first)
        found += [(strength, step, levels, at) for strength, at in extrema_of(levels)]
        first = levels[3][::2, ::2]
    return sorted(found, key=lambda each: -each[0])


@pytest.mark.parametrize(("size", "pale", "most"), [((300, 300), 0, 160), ((300, 300), 0.8, 160), ((400, 300), 0, 213)])
def test_keypoints_are_those_of_a_plain_count(size: tuple[int, int], pale: float, most: int) -> None:
    """All of a square that has fewer than 160; of a longer picture as many more as it is longer, the strongest."""
    image = PIL.Image.blend(field(3).crop((0, 0, *size)), PIL.Image.new("RGB", size, "white"), pale)
    found = keypoints(image)
    plain = [
        (step, levels[round(z)], y, x, sigma, angle)
        for _, step, levels, (z, y, x) in plain_extrema(grey_picture(image).astype(np.float64))
        for sigma in [1.6 * 2 ** (z / 3)]
        for angle in angles_of(levels[round(z)], y, x, sigma)
    ]
    assert len(plain) > most or size == (300, 300)
    assert len(found) == min(len(plain), most)
    for row, (step, level, y, x, sigma, angle) in enumerate(plain[:most]):
        place = [(x * step + 0.5) / 192, (y * step + 0.5) / 192, sigma * step / 192, angle]
        assert found.places[row] == pytest.approx(place, abs=1e-3)
        if row % 6 == 0:
            assert np.abs(found.descriptors[row] - descriptor_of(level, y, x, sigma, angle)).max() < 0.01


@pytest.mark.parametrize(
    ("size", "side", "shape"),
    [((30, 40), 96, (128, 96)), ((300, 100), 10, (10, 30)), ((1000, 100), 10, (10, 80)), ((7, 90), 20, (160, 20))],
)
def test_a_grey_picture_keeps_its_shape_and_a_strip_is_squeezed(
    size: tuple[int, int], side: int, shape: tuple[int, int]
) -> None:
    """At most eight times as long as it is wide; grey values from 0 to 1."""
    grey = grey_picture(PIL.Image.new("RGB", size, (102, 102, 102)), side)
    assert grey.shape == shape
    assert np.allclose(grey, 0.4)
