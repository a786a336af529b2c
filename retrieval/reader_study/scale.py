"""What readers are asked: COIN's two axes, five steps each.

COIN's authors had experts rate generated images for anatomic and for diagnostic authenticity (abstract of "A Generative
Foundation Model for Scalable Cytology Image Synthesis in AI-Powered Diagnostics", Clinical Cancer Research). The scale
that they used was not at hand: the five steps and their words are ours, and figures are not to be compared with theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Axis:
    """One question with its steps, from 1 upwards."""

    name: str
    title: str
    question: str
    without_labels: str
    """The question where a study does not show what is stated."""
    steps: tuple[str, ...]


SCALE: Final = (
    Axis(
        "anatomic",
        "Anatomic authenticity",
        "Could this be a real specimen?",
        "Could this be a real specimen?",
        ("impossible", "unlikely", "undecided", "plausible", "convincing"),
    ),
    Axis(
        "diagnostic",
        "Diagnostic authenticity",
        "Does it show what is stated?",
        "Does it show a recognisable diagnosis?",
        ("not at all", "hardly", "partly", "mostly", "fully"),
    ),
)
