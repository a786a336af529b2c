"""The colour histogram: a unit vector that knows colours and nothing of where they are."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.encoder.colour_histogram import BINS, colour_histogram


def test_it_is_a_unit_vector_of_the_colours_shares() -> None:
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    pixels[0, 0] = (255, 0, 0)
    vector = colour_histogram(pixels)
    assert vector.shape == (BINS**3,)
    assert vector.dtype == np.float32
    assert (vector**2)[[0, 7 * BINS * BINS]].tolist() == pytest.approx([0.75, 0.25])
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_moved_pixels_change_nothing_and_other_colours_do() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    moved = pixels[::-1, ::-1].reshape(30, 20, 3)
    np.testing.assert_array_equal(colour_histogram(pixels), colour_histogram(moved))
    assert colour_histogram(pixels) @ colour_histogram(pixels // 2) < 0.9
