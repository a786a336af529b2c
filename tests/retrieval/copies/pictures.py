"""Pictures with detail at many places: no patient's."""

from __future__ import annotations

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter


def field(seed: int) -> PIL.Image.Image:
    """A 4:3 field of cells with nuclei, grains and a stain that varies, 400 × 300."""
    rng = np.random.default_rng(seed)
    image = PIL.Image.new("RGB", (400, 300), (225, 215, 230))
    pen = PIL.ImageDraw.Draw(image)
    for _ in range(60):
        x, y, wide, high = *rng.uniform((0, 0), (400, 300)), *rng.uniform(8, 40, 2)
        pen.ellipse((x - wide, y - high, x + wide, y + high), fill=tuple(rng.integers(120, 220, 3).tolist()))
        wide, high = wide * rng.uniform(0.2, 0.6), high * rng.uniform(0.2, 0.6)
        pen.ellipse((x - wide, y - high, x + wide, y + high), fill=tuple(rng.integers(20, 130, 3).tolist()))
    return image.filter(PIL.ImageFilter.GaussianBlur(1.2))
