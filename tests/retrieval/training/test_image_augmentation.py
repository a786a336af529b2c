"""Augmentation against the same thing done image by image in numpy and scipy, with the same random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates, uniform_filter
from scipy.spatial.transform import Rotation

from retrieval.training.image_augmentation import cover, refocus, restain, reword, turn_and_scale, two_views

N = 40


def images(height: int, width: int) -> torch.Tensor:
    return torch.rand(N, 3, height, width, generator=torch.Generator().manual_seed(8))


class Drawn:
    """The random numbers that the product draws, in its order."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        return np.asarray(low + torch.rand(shape, generator=self.generator).numpy() * (high - low), dtype=np.float64)

    def normal(self, *shape: int) -> np.ndarray:
        return np.asarray(torch.randn(shape, generator=self.generator).numpy(), dtype=np.float64)


def agree(found: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)


def test_images_are_mirrored_turned_scaled_and_shifted_within_themselves() -> None:
    pixels, side, whole = images(9, 9), 6, 9
    drawn = Drawn(1)
    angles = drawn.uniform(0, 2 * np.pi, N)
    zooms = np.exp(drawn.uniform(np.log(0.66), np.log(1.15), N))
    mirrored = drawn.uniform(0, 1, N) < 0.5
    shifts = drawn.uniform(-1, 1, N, 2)
    assert zooms.max() > 1 and 0 < mirrored.sum() < N
    expected = np.empty((N, 3, side, side))
    for i in range(N):
        turn = Rotation.from_euler("z", angles[i]).as_matrix()[:2, :2]
        for row in range(side):
            for column in range(side):
                at = np.array([column - (side - 1) / 2, row - (side - 1) / 2])  # in pixels from the centre
                if mirrored[i]:
                    at[0] = -at[0]
                x, y = zooms[i] * (turn @ at) + shifts[i] * max(1 - zooms[i], 0.05) * whole / 2 + (whole - 1) / 2
                for channel in range(3):
                    plane = pixels[i, channel].numpy()
                    expected[i, channel, row, column] = map_coordinates(plane, [[y], [x]], order=1, mode="reflect")[0]
    agree(turn_and_scale(pixels, torch.Generator().manual_seed(1), side), expected)


def test_stains_are_turned_about_grey_mixed_scaled_and_shifted_in_optical_density() -> None:
    pixels = images(2, 3)
    pixels[0] = 0.0  # black is as dark as 1 of 255
    drawn = Drawn(2)
    hues, depths = drawn.uniform(-0.5, 0.5, N), drawn.uniform(0.4, 1.6, N)
    grey = drawn.uniform(0, 1, N) < 0.08
    mixing = 0.05 * drawn.normal(N, 3, 3)
    scales = drawn.uniform(0.65, 1.5, N, 1) * drawn.uniform(0.85, 1.15, N, 3)
    offsets = drawn.uniform(-0.08, 0.1, N, 1) + drawn.uniform(-0.05, 0.05, N, 3)
    assert 0 < grey.sum() < N / 4
    expected = np.empty(pixels.shape)
    for i in range(N):
        turn = Rotation.from_rotvec(hues[i] * np.ones(3) / np.sqrt(3)).as_matrix()
        for row in range(2):
            for column in range(3):
                density = -np.log(np.maximum(pixels[i, :, row, column].numpy(), 1 / 255))
                mean = np.full(3, density.mean())
                turned = mean + (0 if grey[i] else depths[i]) * (turn @ density - mean)
                made = scales[i] * (turned + mixing[i] @ turned) + offsets[i]
                expected[i, :, row, column] = np.clip(np.exp(-made), 0, 1)
    assert (expected == 1).any()
    agree(restain(pixels, torch.Generator().manual_seed(2)), expected)


def test_focus_is_a_blur_of_a_share_and_noise() -> None:
    pixels = images(5, 7)
    drawn = Drawn(3)
    amounts = np.clip(drawn.uniform(-0.6, 1.4, N), 0, 1)
    noise = drawn.normal(*pixels.shape)
    levels = drawn.uniform(0, 0.02, N)
    assert {0.0, 1.0} < set(amounts)
    inside = uniform_filter(np.ones((5, 7)), 3, mode="constant")
    expected = np.empty(pixels.shape)
    for i in range(N):
        for channel in range(3):
            plane = softer = pixels[i, channel].numpy().astype(np.float64)
            for _ in range(2):
                softer = uniform_filter(softer, 3, mode="constant") / inside
            expected[i, channel] = (1 - amounts[i]) * plane + amounts[i] * softer + levels[i] * noise[i, channel]
    agree(refocus(pixels, torch.Generator().manual_seed(3)), expected)


def test_a_square_of_some_views_is_hidden_by_their_mean() -> None:
    pixels, height, width = images(5, 7), 5, 7
    drawn = Drawn(4)
    sides, hidden = drawn.uniform(0.15, 0.5, N), drawn.uniform(0, 1, N) < 0.4
    down, right = drawn.uniform(0, 1, N), drawn.uniform(0, 1, N)
    expected = pixels.numpy().astype(np.float64)
    for i in np.flatnonzero(hidden):
        mean = expected[i].mean((1, 2))
        for row in range(height):
            for column in range(width):
                if max(abs(row / (height - 1) - down[i]), abs(column / (width - 1) - right[i])) < sides[i] / 2:
                    expected[i, :, row, column] = mean
    changed = (expected != pixels.numpy()).any((1, 2, 3))
    assert 0 < changed.sum() < N
    agree(cover(pixels, torch.Generator().manual_seed(4)), expected)


def test_half_of_the_pairs_of_views_show_the_same_place() -> None:
    pixels, generator = images(6, 6), torch.Generator().manual_seed(5)
    first, second = (turn_and_scale(pixels, generator, 4) for _ in range(2))
    stays = torch.rand(N, 1, 1, 1, generator=generator) < 0.5
    assert N / 4 < stays.sum() < 3 * N / 4
    second[stays.flatten()] = first[stays.flatten()]
    expected = cover(refocus(restain(torch.cat([first, second]), generator), generator), generator)
    agree(two_views(pixels, torch.Generator().manual_seed(5), 4), expected.numpy())


class Chosen:
    """A random generator that returns what a test wants."""

    def __init__(self, numbers: list[float], sentence: int, loss: int) -> None:
        self._numbers, self._sentence, self._loss = numbers, sentence, loss

    def random(self) -> float:
        return self._numbers.pop(0)

    def shuffle(self, sentences: list[str]) -> None:
        sentences.reverse()

    def integers(self, count: int) -> int:
        return min(self._sentence, count - 1)

    def choice(self, losses: list[float], *, p: list[float]) -> float:
        assert sum(p) == pytest.approx(1)
        assert dict(zip(losses, p, strict=True)) == {0.0: 0.4, 0.08: 0.25, 0.2: 0.2, 0.35: 0.15}
        return losses[self._loss]


@pytest.mark.parametrize(
    ("report", "numbers", "loss", "expected"),
    [
        ("A b. C d", [0.3, 0.2, 0, 0, 0, 0], 0, "A b. C d"),  # no sentence moved or removed, nothing lost
        ("A b. C d", [0.29, 0.2, 0, 0, 0, 0], 0, "C d. A b"),
        ("A b. C d", [0.3, 0.19, 0, 0], 0, "A b"),
        ("A b. . C d", [0.29, 0.19, 0, 0], 0, "C d"),  # an empty sentence is none
        ("A b", [0.0, 0.0], 0, "A b"),  # one sentence stays
        ("A b c d e", [0.07, 0.08, 0.09, 0.3, 0.0], 1, "b c d"),
        ("A b c d e", [0.19, 0.2, 0.21, 0.3, 0.0], 2, "b c d"),
        ("A b c d e", [0.34, 0.35, 0.36, 0.4, 0.0], 3, "b c d"),
        ("A b", [0.1, 0.1], 3, "A b"),  # never all
    ],
)
def test_words_are_lost_and_sentences_moved_or_removed(
    report: str, numbers: list[float], loss: int, expected: str
) -> None:
    rng: Any = Chosen([*numbers], sentence=1, loss=loss)
    assert reword(report, rng) == expected
