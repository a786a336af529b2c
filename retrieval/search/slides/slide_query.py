"""A slide, or a part of one, as part of a query: plain values, which can be kept."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final

from retrieval.errors import QueryError

BEST, EVEN, MEAN, MEDIAN = "best", "even", "mean", "median"
MATCHES: Final = (EVEN, MEAN, MEDIAN, BEST)
"""How a patient's score is made of each query field's best match among the patient's images: the mean of what is
expected of equally many images of each (`many_vectors.joined`), the mean of the best, their median (Yottixel: Kalra et
al., Medical Image Analysis 65, 2020, the median of minimal distances), or the best pair alone."""
FIELDS: Final = 64
"""Fields of a slide that query, by default: as many as are cut out of a slide that is added."""
MOST_FIELDS: Final = 256
"""Time and memory of a search grow with them."""


@dataclass(frozen=True)
class SlideArea:
    """A rectangle of a slide, its corner counted from the upper left."""

    x: float
    y: float
    width: float
    height: float
    in_um: bool = False
    """Whether the four are in µm; otherwise in pixels of level 0, as viewers give them."""

    def __post_init__(self) -> None:
        sides = (self.x, self.y, self.width, self.height)
        if (
            not all(type(side) in (int, float) and math.isfinite(side) for side in sides)
            or type(self.in_um) is not bool
        ):
            raise QueryError(f"The region {self} is none: give four finite numbers, x, y, width and height.")
        if min(self.x, self.y) < 0:
            raise QueryError(f"The region {self} begins left of the slide or above it: x and y are at least 0.")
        if min(self.width, self.height) <= 0:
            raise QueryError(f"The region {self} is empty: its width and its height must be above 0.")
        if max(sides) > 1e9:
            raise QueryError(f"The region {self} is larger than any slide: choose one that lies on it.")

    def __str__(self) -> str:
        sides = (self.x, self.y, self.width, self.height)
        return ", ".join(f"{side:.12g}" for side in sides) + (" µm" if self.in_um else "")

    def box(self, mpp: float | None) -> tuple[int, int, int, int]:
        """x, y, width, height in pixels of level 0, of `mpp` µm each; only an area in pixels does without."""
        if not self.in_um:
            return round(self.x), round(self.y), round(self.width), round(self.height)
        assert mpp is not None
        left, top = round(self.x / mpp), round(self.y / mpp)
        return left, top, round(self.width / mpp), round(self.height / mpp)


@dataclass(frozen=True)
class SlideQuery:
    """A slide that queries by its chosen fields, or by one part of it."""

    path: str
    """Where the slide lies: it is read when the query is run, and no pixel of it is kept with the query."""
    at: SlideArea | None = None
    """This part of it only, as one image; None: its chosen fields."""
    fields: int = FIELDS
    """How many fields are chosen, at most."""
    match: str = EVEN
    """One of `MATCHES`."""

    def __post_init__(self) -> None:
        if type(self.path) is not str or not self.path.strip():
            raise QueryError("The query's slide has no path: name its file, or the folder of its DICOM series.")
        if type(self.fields) is not int or not 1 <= self.fields <= MOST_FIELDS:
            raise QueryError(f"{self.fields} fields of a slide cannot query: choose 1 to {MOST_FIELDS}.")
        if self.match not in MATCHES:
            raise QueryError(f"There is no way '{self.match}' to compare slides: choose {', '.join(MATCHES)}.")


def slide_query_from_dict(values: dict[str, Any]) -> SlideQuery:
    """The inverse of `dataclasses.asdict`. Raises TypeError for anything else, and QueryError."""
    area = values.get("at")
    return SlideQuery(**{**values, "at": None if area is None else SlideArea(**area)})


def without_place(query: SlideQuery, name: str) -> dict[str, Any]:
    """For JSON that others may see: the name in the place of the path."""
    return {**dataclasses.asdict(query), "path": name}
