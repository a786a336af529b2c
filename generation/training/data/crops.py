"""How an image becomes a square of the size that is trained, and what SDXL is told of it.

The short side is scaled to the size, and a square cut out of the long one: in the centre, or anywhere. SDXL is told the
truth of it (micro-conditioning, Podell et al. 2023, arXiv:2307.01952, section 2.2): the size of the picture before it
was scaled, where the square was cut, and how large it is, so that it need not learn that cells are cut off at edges, or
that small pictures are soft. A smear has no up: views beside the first may be turned by quarters and mirrored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps


@dataclass(frozen=True)
class View:
    """A square of `size` pixels. All pairs are (height, width), `corner` is (top, left) in the scaled picture."""

    image: Image.Image
    original_size: tuple[int, int]
    corner: tuple[int, int]
    size: int

    @property
    def time_ids(self) -> tuple[int, ...]:
        """The six numbers in SDXL's order: original size, corner of the crop, target size."""
        return (*self.original_size, *self.corner, self.size, self.size)


def views(
    image: Image.Image, content: str, *, size: int, count: int, crop: str = "centre", turns: bool = True
) -> Iterator[View]:
    """`count` views of an RGB image: the first upright from the centre, the others as `crop` and `turns` say, at random
    but the same for the same `content` (hex). Where neither allows another one, the first is the only one."""
    yield _cut(image, size, 0.5)
    if crop == "centre" and not turns:
        return
    rng = np.random.default_rng(int(content[:16], 16))
    for _ in range(count - 1):
        mirrored, quarters, place = bool(rng.integers(2)), int(rng.integers(4)), float(rng.random())
        seen = image
        if turns:
            seen = ImageOps.mirror(seen) if mirrored else seen
            seen = seen.rotate(90 * quarters, expand=True) if quarters else seen
        yield _cut(seen, size, place if crop == "random" else 0.5)


def _cut(image: Image.Image, size: int, place: float) -> View:
    """`place`: where along the long side, 0 to 1."""
    width, height = image.size
    scale = size / min(width, height)
    scaled = max(size, round(width * scale)), max(size, round(height * scale))
    left, top = round((scaled[0] - size) * place), round((scaled[1] - size) * place)
    seen = image.resize(scaled, Image.Resampling.LANCZOS).crop((left, top, left + size, top + size))
    return View(seen, (height, width), (top, left), size)
