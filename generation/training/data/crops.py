"""Crops of an image for training, and SDXL's size conditioning for them.

The image is scaled until it covers a square, or a rectangle (`buckets`), which is cut out: in the centre, or at
random. SDXL is conditioned on this (micro-conditioning, Podell et al. 2023, arXiv:2307.01952, section 2.2): on the size
of the image before it was scaled, the corner of the crop and its size, so that it does not learn that cells are cut off
at edges, or that small images are blurred. A smear has no upright position: views beside the first may be turned by
quarters and mirrored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps


@dataclass(frozen=True)
class View:
    """What was cut out. `original_size` is (height, width), `corner` is (top, left) in the scaled image."""

    image: Image.Image
    original_size: tuple[int, int]
    corner: tuple[int, int]

    @property
    def time_ids(self) -> tuple[int, ...]:
        """The six numbers in SDXL's order: original size, corner of the crop, target size."""
        return (*self.original_size, *self.corner, self.image.height, self.image.width)


def views(
    image: Image.Image,
    content: str,
    numbers: Collection[int],
    *,
    size: int | tuple[int, int],
    crop: str = "centre",
    turns: bool = True,
) -> Iterator[View]:
    """The views of an RGB image with these numbers, in ascending order; view 0 is upright from the centre.

    The others are random, but the same for the same `content` (hex): from anywhere if `crop` is "random", turned and
    mirrored if `turns`. If neither holds, all are like the first. `size` is a square's edge, or width and height; in a
    rectangle that is no square images are turned by half turns only, which keep their shape.
    """
    shape = (size, size) if isinstance(size, int) else size
    if 0 in numbers:
        yield _cut(image, shape, 0.5)
    rng = np.random.default_rng(int(content[:16], 16))
    for number in range(1, max(numbers, default=0) + 1):
        mirrored, quarters, position = bool(rng.integers(2)), int(rng.integers(4)), float(rng.random())
        if number not in numbers:
            continue
        turned = image
        if turns:
            turned = ImageOps.mirror(turned) if mirrored else turned
            quarters = quarters if shape[0] == shape[1] else 2 * (quarters % 2)
            turned = turned.rotate(90 * quarters, expand=True) if quarters else turned
        yield _cut(turned, shape, position if crop == "random" else 0.5)


def _cut(image: Image.Image, shape: tuple[int, int], position: float) -> View:
    """Cut a rectangle (width, height) at a position along the side that is too long, 0 to 1."""
    width, height = image.size
    scale = max(shape[0] / width, shape[1] / height)
    scaled = max(shape[0], round(width * scale)), max(shape[1], round(height * scale))
    left, top = round((scaled[0] - shape[0]) * position), round((scaled[1] - shape[1]) * position)
    cut = image.resize(scaled, Image.Resampling.LANCZOS).crop((left, top, left + shape[0], top + shape[1]))
    return View(cut, (height, width), (top, left))
