"""Training pairs: an image, its report, and its patient."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image

from generation.provenance import text_sha256
from generation.worker_pool import workers

ATTRIBUTES = ("site", "system", "category", "stain", "kind", "license", "source", "phantom")
"""The attributes that a model card counts images by."""


@dataclass(frozen=True)
class TrainingPair:
    """One image and its report. `content` is the SHA-256 of the image file, `load` decodes it (RGB).

    `load` raises `TrainingDataError` if the file cannot be read; such a pair is left out and counted.
    """

    content: str
    patient: str
    report: str = field(repr=False)
    load: Callable[[], Image.Image] = field(repr=False)
    case: str = ""
    """The specimen that several images share; empty for an image of its own specimen."""
    patient_named: bool = True
    """Whether somebody named the patient. If not, `patient` stands for the case or the image alone."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    """The given ones of ATTRIBUTES, by name."""
    derive: Callable[[], Mapping[str, str]] | None = field(default=None, repr=False)
    """Reads those that are not given from the report: some milliseconds, so that it is done where they are shown."""

    size: Callable[[], tuple[int, int] | None] | None = field(default=None, repr=False)
    """Reads width and height without decoding, as far as they can be read; without it the image is loaded for them."""

    @property
    def title(self) -> str:
        """Site and category, as far as they are given."""
        return title_of(self.attributes)

    def labelled(self) -> dict[str, str]:
        """The given and the derived attributes."""
        return {**(self.derive() if self.derive is not None else {}), **self.attributes}


@dataclass(frozen=True)
class PairCounts:
    """Counts of a set of pairs, without a word of any report or the name of any patient."""

    images: int
    patients: int
    """Different ones. Without `patients_named` these are cases, or images that belong to none."""
    patients_named: bool
    """Whether every image's patient was named."""
    reports: int
    """Different ones."""
    values: Mapping[str, Mapping[str, int]]
    """Images by value, for each of ATTRIBUTES that any has; most frequent first."""


def title_of(attributes: Mapping[str, str]) -> str:
    """Site and category, as far as they are known."""
    return " · ".join(attributes[name] for name in ("site", "category") if attributes.get(name))


def count_pairs(pairs: Sequence[TrainingPair]) -> PairCounts:
    """Count images, patients, different reports, and images by attribute, given or read from the report."""
    values, labelled = {}, labelled_pairs(pairs)
    for name in ATTRIBUTES:
        counted = Counter(attributes.get(name, "") for attributes in labelled)
        if set(counted) - {""}:
            values[name] = dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
    return PairCounts(
        images=len(pairs),
        patients=len({pair.patient for pair in pairs}),
        patients_named=patients_named(pairs),
        reports=len({pair.report for pair in pairs}),
        values=values,
    )


def labelled_pairs(pairs: Sequence[TrainingPair]) -> list[dict[str, str]]:
    """Each pair's attributes, given or read from its report, by worker processes where there are many reports."""
    reading = {(pair.report, title_of(pair.attributes)): pair.derive for pair in pairs if pair.derive is not None}
    with workers(len(reading), probe=next(iter(reading.values()), None)) as pool:
        read = dict(zip(reading, pool.map(_read, reading.values(), chunksize=64), strict=True))
    return [{**read.get((pair.report, title_of(pair.attributes)), {}), **pair.attributes} for pair in pairs]


def _read(derive: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
    return derive()


def patients_named(pairs: Iterable[TrainingPair]) -> bool:
    """Whether every image's patient was named: only then is anything said of patients."""
    return all(pair.patient_named for pair in pairs)


def data_fingerprint(pairs: Iterable[TrainingPair]) -> str:
    """SHA-256, in hex, over contents, patients and reports, whatever their order."""
    lines = sorted(text_sha256(f"{pair.content}\0{pair.patient}\0{pair.report}") for pair in pairs)
    return text_sha256("\n".join(lines))
