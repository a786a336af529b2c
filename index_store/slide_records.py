"""Slides among the records: of which slides a case has fields, and where on its slide a field lies.

The slide itself stays where it is. An archive keeps of it what is here, and an overview.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class SlidePlace:
    """Where on which slide an image was cut out. Lengths are in pixels of level 0."""

    slide: str
    """The slide's fingerprint (see `slides/readers/fingerprint.py`)."""
    x: int
    """Of the upper left corner."""
    y: int
    width: int
    height: int
    level: int
    """At which it was read, from 0."""
    plane: int = 0
    """The focal plane, from 0."""


@dataclass(frozen=True)
class CaseSlide:
    """A slide of which a case has fields."""

    fingerprint: str
    format: str
    """As the reader calls it: "aperio", "DICOM" …"""
    width: int
    """In pixels of level 0."""
    height: int
    mpp: float | None
    """µm a pixel of level 0."""
    planes: int
    """Focal planes."""
    choices: Mapping[str, bool] = field(default_factory=dict)
    """The settings by which fields were chosen, as JSON, and whether all of them were stored."""
    notes: tuple[str, ...] = ()
    """What could not be read of it, as sentences."""
    overview: Path | None = None
    """A picture of the whole slide, at most 1,024 px wide or high; never of its label."""
    overview_sha256: str = ""


@dataclass(frozen=True)
class SlideCut:
    """What is stored of a slide together with the first of its fields."""

    case: str
    """The case's key."""
    slide: CaseSlide
    """Without its overview."""
    settings: str
    """By which fields were chosen, as JSON: `PlannedSlide.settings`."""
    chosen: tuple[SlidePlace, ...]
    """All of them, so that an interrupted addition goes on where it was."""
    overview: bytes = b""
    """A JPEG without metadata; empty where none could be read."""
