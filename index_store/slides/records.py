"""What is known about a slide before a pixel of it is shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Final

OPENSLIDE: Final = "OpenSlide"
DICOM: Final = "DICOM"
PLANES: Final = "TIFF of focal planes"


@dataclass(frozen=True)
class Level:
    """One resolution of the pyramid."""

    width: int
    height: int
    downsample: float
    """Pixels of level 0 for one of this level."""


@dataclass(frozen=True)
class SlideInfo:
    """A slide's geometry and scale. Nothing in it names a patient, a file or a folder."""

    reader: str
    """`OPENSLIDE`, `DICOM` or `PLANES`."""
    format: str
    """The scanner's format as the reader calls it: "aperio", "generic-tiff", "DICOM" …"""
    levels: tuple[Level, ...]
    """From the finest to the coarsest."""
    mpp: float | None
    """µm a pixel of level 0, or None where it is unknown, not square or implausible (a note says which)."""
    objective: float | None
    planes: tuple[float | None, ...]
    """Focal planes in their order: their height in µm, or None where the file gives none. One at least."""
    fingerprint: str
    """Of the content (`readers/fingerprint.py`); the same wherever the slide lies and whatever it is called."""
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """In pixels of level 0."""
        return self.levels[0].width

    @property
    def height(self) -> int:
        """In pixels of level 0."""
        return self.levels[0].height

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> SlideInfo:
        """The inverse of `as_dict`. Raises KeyError or TypeError for anything else."""
        known = {field.name: values[field.name] for field in fields(cls)}
        known["levels"] = tuple(Level(**level) for level in known["levels"])
        return cls(**{**known, "planes": tuple(known["planes"]), "notes": tuple(known["notes"])})
