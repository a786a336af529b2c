"""What is in a phantom's field."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Morphology:
    """What is in the smear, as a pathologist would tabulate it. Lengths in µm, of the cells the report is about.

    `kind` is what the picture shows of it: a field, or one cell.
    """

    site: str
    system: str
    category: str
    finding: str
    stain: str
    preparation: str
    kind: str
    cell: str
    nuclear_diameter: float
    nc_ratio: float
    chromasia: float
    irregularity: float
    arrangement: str
    cellularity: int
    background: tuple[str, ...]
