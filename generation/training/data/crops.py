"""Square crops of an image for training, and SDXL's size conditioning for them.

The short side is scaled to the size, and a square is cut out of the long one: in the centre, or at random. SDXL is
conditioned on this (micro-conditioning, Podell et al. 2023, arXiv:2307.01952, section 2.2): on the size of the image
before it was scaled, the corner of the crop and its size, so that it does not learn that cells are cut off at edges, or
that small images are blurred. A smear has no upright position: views beside the first may be turned by quarters and
mirrored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps


@dataclass(frozen=True)
class View:
    """A square of `size` pixels. Sizes are (height, width), `corner` is (top, left) in the scaled image."""

    image: Image.Image
    original_size: tuple[int, int]
    corner: tuple[int, int]
    size: int

    @property
    def time_ids(self) -> tuple[int, ...]:
        """The six numbers in SDXL's order: original size, corner of the crop, target size."""
        return (*self.original_size, *self.corner, self.size, self.size)


def views(
    image: Image.Image, content: str, numbers: Collection[int], *, size: int, crop: str = "centre", turns: bool = True
) -> Iterator[View]:
    """The views of an RGB image with these numbers, in ascending order; view 0 is upright from the centre.

    The others are random, but the same for the same `content` (hex): from anywhere if `crop` is "random", turned and
    mirrored if `turns`. If neither holds, all are like the first.
    """
    if 0 in numbers:
        yield _cut(image, size, 0.5)
    rng = np.random.default_rng(int(content[:16], 16))
    for number in range(1, max(numbers, default=0) + 1):
        mirrored, quarters, position = bool(rng.integers(2)), int(rng.integers(4)), float(rng.random())
        if number not in numbers:
            continue
        turned = image
        if turns:
            turned = ImageOps.mirror(turned) if mirrored else turned
            turned = turned.rotate(90 * quarters, expand=True) if quarters else turned
        yield _cut(turned, size, position if crop == "random" else 0.5)


def _cut(image: Image.Image, size: int, position: float) -> View:
    """Cut a square at a position along the long side, 0 to 1."""
    width, height = image.size
    scale = size / min(width, height)
    scaled = max(size, round(width * scale)), max(size, round(height * scale))
    left, top = round((scaled[0] - size) * position), round((scaled[1] - size) * position)
    square = image.resize(scaled, Image.Resampling.LANCZOS).crop((left, top, left + size, top + size))
    return View(square, (height, width), (top, left), size)
