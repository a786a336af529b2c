"""The images that a synthetic set is to have: for each row of the table its seeds and its class's folder."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from generation import text_sha256
from index_store.manifest.cells import is_placeholder
from index_store.records import Problem
from retrieval.errors import SyntheticSetError
from retrieval.language.label_reader import LABELS, LabelReader

if TYPE_CHECKING:
    from index_store import ReportRow, ReportTable

SPLIT: Final = "train"
UNLABELLED: Final = "unlabelled"
"""The class folder of rows without a category."""
FLAT: Final = 20_000
"""Images of a set above which a class's folder has folders by the first digits of the reports' hashes."""
DERIVED: Final = "labels_from_report"
"""Column that names what was read from the row's report."""
_LONGEST: Final = 80


def with_labels(table: ReportTable, work: Path | None = None) -> ReportTable:
    """The table with site, system and category read from the reports of rows that do not give them, as `coin add` does
    it; the column `labels_from_report` says which. A placeholder ("N/A") is an empty cell.

    Args:
        work: folder that keeps what was read (`LabelReader`).
    """
    reader, rows = LabelReader(work), []
    given = [
        {name: cell for name, cell in row.cells.items() if name not in LABELS or not is_placeholder(cell)}
        for row in table.rows
    ]
    known = [{name: cells.get(name, "") for name in LABELS} for cells in given]
    reader.read_all((row.report, labels) for row, labels in zip(table.rows, known, strict=True))
    for row, cells, labels in zip(table.rows, given, known, strict=True):
        read = reader.missing(row.report, **labels)
        rows.append(dataclasses.replace(row, cells={**cells, **read, **({DERIVED: " ".join(read)} if read else {})}))
    new = [name for name in (*LABELS, DERIVED) if any(name in row.cells for row in rows)]
    columns = (*table.columns, *(name for name in new if name not in table.columns))
    return dataclasses.replace(table, columns=columns, rows=tuple(rows))


@dataclass(frozen=True)
class Share:
    """Share `number`, counted from 1, of `of` shares: the reports whose hash modulo `of` is `number` - 1."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise SyntheticSetError(f"There is no share {self.number} of {self.of}: name one from 1/{self.of} on.")

    def holds(self, report_sha256: str) -> bool:
        """Whether a report, by the hex digest of its hash, belongs to this share."""
        return int(report_sha256, 16) % self.of == self.number - 1


@dataclass(frozen=True)
class SetImage:
    """An image of the set: its row, its seed and its class's folder."""

    row: ReportRow
    report_sha256: str
    seed: int
    folder: str
    """Its folder below `train`: its class's or, in a large set, one below that."""

    @property
    def name(self) -> str:
        """Its file's name: the report's hash and not its words, since file names end up in listings and logs."""
        return f"{self.report_sha256[:16]}-{self.seed}.png"

    @property
    def path(self) -> str:
        """Below the set's folder."""
        return f"{SPLIT}/{self.folder}/{self.name}"


def plan_images(rows: Sequence[ReportRow], *, per_report: int, seed: int) -> tuple[SetImage, ...]:
    """The images of these rows: `per_report` each, no two with both report and seed the same."""
    if per_report < 1:
        raise SyntheticSetError(f"{per_report} images a report were requested: at least 1 is needed.")
    folders = class_folders(class_of(row) for row in rows)
    turn: Counter[str] = Counter()
    images = []
    for row in rows:
        sha256 = text_sha256(row.report)
        first = seed + first_seed(sha256) + turn[sha256] * per_report
        turn[sha256] += 1
        folder = folders[class_of(row)]
        if len(rows) * per_report > FLAT:  # folders of a hundred thousand files are slow to list and to copy
            folder = f"{folder}/{sha256[:2]}"
        images += [SetImage(row, sha256, seed, folder) for seed in range(first, first + per_report)]
    return tuple(images)


def first_seed(report_sha256: str) -> int:
    """The first seed of a report, from 0 to 2**32 - 1."""
    return int(report_sha256[:8], 16)


def class_of(row: ReportRow) -> str:
    """The class of a row in words; empty where it has no category."""
    category = row.cells.get("category", "")
    return class_name(row.cells.get("site", ""), category) if category else ""


def class_name(site: str, category: str) -> str:
    """A category with its site where that is known, since a category has a meaning only for its site."""
    return f"{site} {category}".strip()


def class_folders(classes: Iterable[str]) -> dict[str, str]:
    """A folder's name for each class: its letters, digits, + and -, and _ for the rest.

    Classes whose folders would be equal get the first digits of their hash as well.
    """
    known = sorted(set(classes))
    plain = {name: re.sub(r"[^\w+-]+", "_", name).strip("_")[:_LONGEST] or "_" for name in known if name}
    often = Counter(folder.casefold() for folder in [*plain.values(), UNLABELLED])
    for name, folder in plain.items():
        if often[folder.casefold()] > 1:
            plain[name] = f"{folder}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return {"": UNLABELLED, **plain}


@dataclass(frozen=True)
class SetSummary:
    """The contents of a set after a run."""

    folder: Path
    images: int
    """In the classes."""
    drawn: int
    """Generated by this run."""
    reports: int
    """Rows of the table that have images."""
    distinct_reports: int
    classes: Mapping[str, int]
    """Images by class folder."""
    exact_duplicates: int
    """Dropped: the same pixels as an earlier image."""
    near_duplicates: int
    """Kept and marked: within the perceptual threshold of an earlier image."""
    set_aside: int
    """Images of earlier runs whose row the table no longer has; in `dropped/`."""
    seconds: float
    skipped: tuple[Problem, ...]
    """Every row that has no images, and why."""

    @property
    def images_per_second(self) -> float:
        """Images generated a second; 0 where nothing was."""
        return self.drawn / self.seconds if self.seconds else 0.0
