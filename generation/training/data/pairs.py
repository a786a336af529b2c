"""What is learned from: an image, the report that was written of it, and whose it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from generation.provenance import text_sha256

ATTRIBUTES = ("site", "system", "category", "stain", "kind", "license", "source", "phantom")
"""What a model card counts by."""


@dataclass(frozen=True)
class TrainingPair:
    """One image and its report. `content` is the SHA-256 of the image file, `load` decodes it (RGB).

    `load` raises `TrainingDataError` where the file cannot be read; such a pair is left out and counted.
    """

    content: str
    patient: str
    report: str = field(repr=False)
    load: Callable[[], Image.Image] = field(repr=False)
    case: str = ""
    """The specimen, where several images are of one; empty where the image is one by itself."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """By name, those of ATTRIBUTES that are known."""

    @property
    def title(self) -> str:
        """Site and category, as far as they are known."""
        return " · ".join(self.attributes[name] for name in ("site", "category") if self.attributes.get(name))


@dataclass(frozen=True)
class PairCounts:
    """A set of pairs in figures, without a word of any report or the name of any patient."""

    images: int
    patients: int
    reports: int
    """Different ones."""
    values: Mapping[str, Mapping[str, int]]
    """Images by value, for each of ATTRIBUTES that any has; most frequent first."""


def count_pairs(pairs: Sequence[TrainingPair]) -> PairCounts:
    values = {}
    for name in ATTRIBUTES:
        counted = Counter(pair.attributes.get(name, "") for pair in pairs)
        if set(counted) - {""}:
            values[name] = dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
    return PairCounts(
        images=len(pairs),
        patients=len({pair.patient for pair in pairs}),
        reports=len({pair.report for pair in pairs}),
        values=values,
    )


def data_fingerprint(pairs: Iterable[TrainingPair]) -> str:
    """SHA-256, in hex, over contents, patients and reports, in no order: the same data give the same."""
    lines = sorted(text_sha256(f"{pair.content}\0{pair.patient}\0{pair.report}") for pair in pairs)
    return text_sha256("\n".join(lines))
