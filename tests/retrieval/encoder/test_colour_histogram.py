"""The colour histogram: a unit vector that knows colours and nothing of where they are."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from retrieval.encoder.colour_histogram import ColourHistogram, colour_histogram


def test_it_is_a_unit_vector_of_the_colours_shares() -> None:
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    pixels[0, 0] = (255, 0, 0)
    vector = colour_histogram(pixels)
    assert vector.shape == (8**3,)
    assert vector.dtype == np.float32
    assert (vector**2)[[0, 7 * 8 * 8]].tolist() == pytest.approx([0.75, 0.25])
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_moved_pixels_change_nothing_and_other_colours_do() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    moved = pixels[::-1, ::-1].reshape(30, 20, 3)
    np.testing.assert_array_equal(colour_histogram(pixels), colour_histogram(moved))
    assert colour_histogram(pixels) @ colour_histogram(pixels // 2) < 0.9


def test_each_colour_has_its_place() -> None:
    """Red counts most, then green, then blue, each in steps of 32."""
    for colour, place in (((0, 0, 31), 0), ((0, 0, 32), 1), ((0, 64, 0), 16), ((96, 33, 255), 3 * 64 + 8 + 7)):
        assert np.flatnonzero(colour_histogram(np.array([[colour]], dtype=np.uint8))).tolist() == [place]


def test_it_stands_where_an_encoder_does() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (2, 6, 5, 3), dtype=np.uint8)
    prepared = [ColourHistogram().prepare(PIL.Image.fromarray(each), 0.5) for each in pixels]
    rows = ColourHistogram().encode_prepared(prepared)
    np.testing.assert_array_equal(rows, [colour_histogram(each) for each in pixels])
    assert rows.shape == (2, ColourHistogram.dim)
