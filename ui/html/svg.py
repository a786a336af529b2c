"""The shapes of a chart. `templates/svg.html` writes them as SVG; coordinates are pixels, y downwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True)
class Line:
    """A straight line."""

    kind: ClassVar[str] = "line"
    x1: float
    y1: float
    x2: float
    y2: float
    stroke: str
    width: float = 1
    dashed: bool = False


@dataclass(frozen=True)
class Text:
    """A line of text at its baseline."""

    kind: ClassVar[str] = "text"
    x: float
    y: float
    words: str
    anchor: Literal["middle", "end"] = "middle"
    large: bool = False
    """Larger and darker than the text of a scale."""


@dataclass(frozen=True)
class Bar:
    """A filled rectangle."""

    kind: ClassVar[str] = "bar"
    x: float
    y: float
    width: float
    height: float
    fill: str
    opacity: float = 1


@dataclass(frozen=True)
class Dot:
    """A point of an estimate."""

    kind: ClassVar[str] = "dot"
    x: float
    y: float
    fill: str
    stroke: str


@dataclass(frozen=True)
class Curve:
    """Points joined by lines."""

    kind: ClassVar[str] = "curve"
    points: Sequence[tuple[float, float]]
    stroke: str


@dataclass(frozen=True)
class Group:
    """Shapes with one tooltip; empty: none."""

    kind: ClassVar[str] = "group"
    shapes: Sequence[Line | Text | Bar | Dot | Curve]
    title: str = ""


Shape = Line | Text | Bar | Dot | Curve | Group


@dataclass(frozen=True)
class Chart:
    """A picture of a width and a height, in pixels."""

    width: float
    height: float
    label: str
    """In words, for who cannot see it."""
    shapes: Sequence[Shape]
    shrinks: bool = False
    """Whether it may become narrower on a small screen."""
