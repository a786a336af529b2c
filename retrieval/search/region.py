"""A rectangle of a query's image."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from retrieval.errors import QueryError

if TYPE_CHECKING:
    import PIL.Image

SMALLEST: Final = 8
"""Pixels a side, as of a picture that is added."""


@dataclass(frozen=True)
class Region:
    """A rectangle of an image, as fractions of its width and height: 0 is left and top, 1 right and bottom."""

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        values = dataclasses.astuple(self)
        ordered = 0 <= self.left < self.right <= 1 and 0 <= self.top < self.bottom <= 1
        if not (all(math.isfinite(value) for value in values) and ordered):
            raise QueryError(
                f"The region {values} is none: left and top must lie below right and bottom, all from 0 to 1."
            )

    def cut(self, image: PIL.Image.Image) -> PIL.Image.Image:
        """This part of the image. Raises QueryError where it has fewer than `SMALLEST` pixels a side."""
        # A fraction that stands for a whole pixel may lie a hair below it: 0.29 of 100 pixels is 28.999….
        left, top = (math.floor(side + 1e-6) for side in (self.left * image.width, self.top * image.height))
        right, bottom = round(self.right * image.width), round(self.bottom * image.height)
        if min(right - left, bottom - top) < SMALLEST:
            raise QueryError(
                f"The region has {max(0, right - left)} × {max(0, bottom - top)} pixels of the image's {image.width} × "
                f"{image.height}: too few to compare ({SMALLEST} a side at least). Choose a larger one."
            )
        return image.crop((left, top, right, bottom))
