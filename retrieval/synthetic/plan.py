"""Which images a synthetic set is to have: of each row of the table, with which seeds, in which class's folder."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from generation import text_sha256
from index_store.records import Problem
from retrieval.errors import SyntheticSetError

if TYPE_CHECKING:
    from index_store import ReportRow

SPLIT: Final = "train"
UNLABELLED: Final = "unlabelled"
"""The class folder of rows without a category."""
_LONGEST: Final = 80


@dataclass(frozen=True)
class Share:
    """One of `of` shares of the reports, from 1: those whose hash leaves `number` - 1 when divided."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise SyntheticSetError(f"There is no share {self.number} of {self.of}: name one from 1/{self.of} on.")

    def holds(self, report_sha256: str) -> bool:
        return int(report_sha256, 16) % self.of == self.number - 1


@dataclass(frozen=True)
class SetImage:
    """An image that belongs to the set: of which row, with which seed, in which class."""

    row: ReportRow
    report_sha256: str
    seed: int
    folder: str
    """Of its class, below `train`."""

    @property
    def name(self) -> str:
        # The report's hash, not its words: file names end up in listings and logs.
        return f"{self.report_sha256[:16]}-{self.seed}.png"

    @property
    def path(self) -> str:
        """Below the set's folder."""
        return f"{SPLIT}/{self.folder}/{self.name}"


def plan_images(rows: Sequence[ReportRow], *, per_report: int, seed: int) -> tuple[SetImage, ...]:
    """The images of these rows: `per_report` each, no two with both report and seed the same."""
    if per_report < 1:
        raise SyntheticSetError(f"{per_report} images a report were asked for: at least 1 is needed.")
    folders = class_folders(class_of(row) for row in rows)
    turn: Counter[str] = Counter()
    images = []
    for row in rows:
        sha256 = text_sha256(row.report)
        first = seed + first_seed(sha256) + turn[sha256] * per_report
        turn[sha256] += 1
        folder = folders[class_of(row)]
        images += [SetImage(row, sha256, one, folder) for one in range(first, first + per_report)]
    return tuple(images)


def first_seed(report_sha256: str) -> int:
    """The first seed of a report, from 0 to 2**32 - 1."""
    return int(report_sha256[:8], 16)


def class_of(row: ReportRow) -> str:
    """The class of a row in words; empty where it has no category."""
    category = row.cells.get("category", "")
    return class_name(row.cells.get("site", ""), category) if category else ""


def class_name(site: str, category: str) -> str:
    """A category with its site, where that is known: it means something only there."""
    return f"{site} {category}".strip()


def class_folders(classes: Iterable[str]) -> dict[str, str]:
    """A folder's name for each class: its letters, digits, + and -, the rest as _. Classes that this makes equal get
    the beginning of their hash."""
    known = sorted(set(classes))
    plain = {name: re.sub(r"[^\w+-]+", "_", name).strip("_")[:_LONGEST] or "_" for name in known if name}
    often = Counter(folder.casefold() for folder in [*plain.values(), UNLABELLED])
    for name, folder in plain.items():
        if often[folder.casefold()] > 1:
            plain[name] = f"{folder}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return {"": UNLABELLED, **plain}


@dataclass(frozen=True)
class SetSummary:
    """What a set holds after a run."""

    folder: Path
    images: int
    """In the classes."""
    drawn: int
    """By this run."""
    reports: int
    """Rows of the table that were drawn."""
    distinct_reports: int
    classes: Mapping[str, int]
    """Images by class folder."""
    exact_duplicates: int
    """Dropped: the same pixels as an earlier image."""
    near_duplicates: int
    """Kept and marked: within the perceptual threshold of an earlier image."""
    set_aside: int
    """Images of earlier runs that the table no longer asks for; in `dropped/`."""
    seconds: float
    skipped: tuple[Problem, ...]
    """Every row that was not drawn, and why."""

    @property
    def images_per_second(self) -> float:
        return self.drawn / self.seconds if self.seconds else 0.0
