"""Regions: from pixels of a picture to fractions of a query, and back to the same pixels."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from retrieval import QueryError
from ui.view.viewer.component import Box
from ui.view.viewer.region import box_of, region_of


@pytest.mark.parametrize("size", [(100, 70), (1280, 960), (127, 333)])
def test_a_region_is_cut_at_the_pixels_that_were_drawn(size: tuple[int, int]) -> None:
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    image = PIL.Image.fromarray(pixels)
    for x in range(0, width - 8, 7):
        box = Box(x, x * (height - 9) // width, 9 + x % 3, 9)
        box = Box(box.x, box.y, min(box.width, width - box.x), min(box.height, height - box.y))
        region = region_of(box, width, height)
        cut = np.asarray(region.cut(image))
        assert np.array_equal(cut, pixels[box.y : box.y + box.height, box.x : box.x + box.width]), box
        assert box_of(region, width, height) == box


def test_a_region_beyond_the_picture_is_refused() -> None:
    with pytest.raises(QueryError, match="region"):
        region_of(Box(90, 0, 20, 20), 100, 100)
