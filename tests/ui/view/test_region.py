"""The frame around the part of an image that is searched by."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image

from retrieval import Query
from ui.pictures.sizes import png_bytes
from ui.view.region import FRAME, framed_png


def test_the_frame_lies_around_the_chosen_part() -> None:
    query = Query(image=png_bytes(PIL.Image.new("RGB", (301, 151), "white")))
    framed = np.asarray(PIL.Image.open(io.BytesIO(framed_png(query, None, (25, 75), (20, 50)))).convert("RGB"))
    assert framed.shape == (151, 301, 3)
    rows, columns = np.nonzero((framed == np.array(list(bytes.fromhex(FRAME[1:])))).all(axis=2))
    # 25 and 75 % of the last column, 300; 20 and 50 % of the last row, 150.
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (75, 225, 30, 75)
    assert (framed[50, 90] == 255).all(), "and what is inside is seen"
