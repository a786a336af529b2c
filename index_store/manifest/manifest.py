"""Read a manifest: a table of images with their cases, patients and reports.

Columns (see `COLUMNS`): `image` and `report` are required.

- `image` is a path below the manifest's folder (or the folder given as `images`); other paths are refused.
- `case` defaults to the image as written: an image without a case is its own case.
- `patient` defaults to the case: a case without a patient is its own patient.
- `report`, `patient`, `site`, `system`, `category`, `source`, `license` and `phantom` belong to the case. An empty cell
  takes the value from the case's other rows; rows that contradict the first one are refused.
- A key or label that is a placeholder (`N/A`, `unknown`, `-`) is an empty cell (`cells.py`), and counted in the notes.
- `image` may be a whole slide (`files/headers/slides.py`), or a folder with one DICOM series. `slide` then defaults
  to the file's name.
- `phantom` (true/false): the image was rendered by this software.
- `mpp` (µm a pixel; also `um_per_pixel`, `microns per pixel` …) or `objective` (`40x`) is the image's scale
  (`scale_cells.py`).
- Further columns become the image's attributes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index_store.errors import ManifestError
from index_store.files.headers.slides import is_slide
from index_store.manifest.cells import CellNotes
from index_store.manifest.keys import keys_alike, meant_columns, meant_notes, one_for_many, read_other_names
from index_store.manifest.scale_cells import ScaleCells
from index_store.manifest.table import Record, Table
from index_store.manifest.table_file import read_table
from index_store.records import ManifestRow, Problem

REQUIRED = ("image", "report")
CASE_COLUMNS = ("patient", "report", "site", "system", "category", "source", "license", "phantom")
IMAGE_COLUMNS = ("slide", "kind", "stain", "preparation")
COLUMNS = ("image", "case", *CASE_COLUMNS, *IMAGE_COLUMNS)

MAX_ROWS = 2_000_000
MAX_REPORT = 100_000
MAX_CELL = 4_000
"""Limits in characters: of a report, and of every other cell."""

_TRUTH = {"": "", "true": "true", "yes": "true", "1": "true", "false": "false", "no": "false", "0": "false"}


@dataclass(frozen=True)
class Manifest:
    """The usable rows, and the problems of the others."""

    path: Path
    rows: tuple[ManifestRow, ...]
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    """What was taken for something else than it says, such as placeholders for empty cells."""


def read_manifest(path: Path | str, *, images: Path | str | None = None, max_rows: int = MAX_ROWS) -> Manifest:
    """Read a CSV (separated by comma, semicolon, tab or bar), JSON-lines or .xlsx manifest.

    UTF-8 (with or without a byte order mark), and UTF-16 and UTF-32 with one, are recognised; anything else is read as
    Windows-1252, with a problem that says so.

    Args:
        images: the folder that the images' paths are relative to; by default the manifest's own.

    Raises:
        ManifestError: the file is no table, lacks a required column, or is too long. What is wrong with single rows
            is in `Manifest.problems` and stops nothing.
    """
    path = Path(path)
    table = read_table(path, wanted=COLUMNS, max_rows=max_rows)
    read_other_names(table)
    missing = [column for column in REQUIRED if column not in table.columns]
    if missing:
        meant = meant_columns(table, COLUMNS)
        named = "; ".join(f"`{name[:40]}` may be meant as `{meant[name]}`" for name in meant if meant[name] in missing)
        raise ManifestError(
            f"{path.name} has no column {' and no column '.join(missing)}. Columns found: {columns_found(table)}. "
            f"{f'{named}: rename it. ' if named else ''}"
            f"Required: {', '.join(REQUIRED)}; known besides: {', '.join(c for c in COLUMNS if c not in REQUIRED)}."
        )
    root = Path(images) if images is not None else path.parent
    if not root.is_dir():
        raise ManifestError(f"The images' folder {root} is not there. Name an existing folder.")
    reader = _RowReader(path.name, root.resolve(), table.columns)
    for record in table.records:
        reader.take(record)
    rows = reader.finish()
    notes = (*table.notes, *meant_notes(table, (*COLUMNS, *reader.scale_columns)), *reader.notes)
    return Manifest(path, rows, (*table.problems, *reader.problems), notes)


def columns_found(table: Table) -> str:
    """Column names for a message. Where none is known, the first row may hold data, which messages must not repeat."""
    if not set(COLUMNS) & set(table.columns):
        return "none that is known (is there a header line?)"
    return ", ".join(column[:40] for column in table.columns[:20])


class Refusal(Exception):
    """Why a row cannot be used: what is wrong, and what to do about it."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice


@dataclass(frozen=True)
class _Draft:
    """A row that is valid by itself; its case's other rows are not known yet."""

    line: int
    path: Path
    case: str
    cells: dict[str, str]
    mpp: float | None
    mpp_source: str


class _RowReader:
    """Turns records into rows: checks each by itself, then completes it by the other rows of its case."""

    def __init__(self, name: str, root: Path, columns: Sequence[str]) -> None:
        self.problems: list[Problem] = []
        self._name = name
        self._root = root
        self._drafts: list[_Draft] = []
        self._cases: dict[str, dict[str, tuple[str, int]]] = {}  # case -> column -> (value, line it stands on)
        self._seen: dict[tuple[str, Path], int] = {}
        self._cells = CellNotes()
        self._scales = ScaleCells(columns)
        self._names: dict[Path, dict[str, list[str]]] = {}  # folder -> name composed (NFC) -> names as they stand there

    def take(self, record: Record) -> None:
        with self._judging(record.line):
            draft = self._draft(record)
            self._join_case(draft)
            self._drafts.append(draft)

    def finish(self) -> tuple[ManifestRow, ...]:
        rows = []
        for draft in self._drafts:
            with self._judging(draft.line):
                rows.append(self._row(draft))
        return tuple(rows)

    @property
    def scale_columns(self) -> tuple[str, ...]:
        """Columns that give a scale, however they are spelt; `mpp`, where there is one."""
        return (*self._scales.columns, *(["mpp"] if self._scales.columns else []))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken for something else than it says."""
        given = [(draft.line, draft.cells) for draft in self._drafts]
        alike = (note for column in ("case", "patient") for note in keys_alike(column, given))
        return (*self._cells.notes(), *alike, *one_for_many(given), *self._scales.notes())

    @contextmanager
    def _judging(self, line: int) -> Iterator[None]:
        try:
            yield
        except Refusal as refusal:
            self.problems.append(Problem(f"{self._name}, line {line}", refusal.what, refusal.advice))

    def _draft(self, record: Record) -> _Draft:
        for column, value in record.cells.items():
            check_text(column, value.strip())
        cells = self._cells.cleaned(record.line, record.cells)
        image = cells.get("image", "")
        if not image:
            raise Refusal("has no image", "Write the image's path.")
        cells["phantom"] = _truth(cells.get("phantom", ""))
        try:
            mpp, mpp_source = self._scales.scale(record.line, cells)
        except ValueError as error:
            raise Refusal(str(error), "Write the number alone, as in 0.25, or leave the cell empty.") from error
        kept = {column: value for column, value in cells.items() if column not in self._scales.mpp_columns}
        return _Draft(record.line, self._resolve(image), cells.get("case") or image, kept, mpp, mpp_source)

    def _resolve(self, image: str) -> Path:
        if image.startswith(("\\\\", "//")):  # another machine's share: looking would connect to it
            raise Refusal("names an image on another machine", "Copy it below the images' folder.")
        try:
            # Some manifests come from Windows.
            written = image if (self._root / image).exists() else image.replace("\\", "/")
            path = (self._root / written).resolve()
            is_file = path.is_file()
            if not is_file and not written.isascii() and (other := self._in_other_form(written)) is not None:
                path, is_file = other.resolve(), other.is_file()
        except (OSError, RuntimeError) as error:  # a name too long, a folder locked, links in a circle
            reason = getattr(error, "strerror", "") or type(error).__name__  # the error itself quotes the path
            raise Refusal(f"names an image that cannot be reached ({reason})", "Check the path.") from error
        if not path.is_relative_to(self._root):
            raise Refusal(
                "names an image outside the images' folder", "Copy it there, or name the folder that holds all."
            )
        if not is_file and not is_slide(path):
            if path.is_dir():
                raise Refusal("names a folder and no image", "Write a row for each picture in it.")
            if "://" in image:
                raise Refusal("names an address, and nothing is fetched", "Download it below the images' folder.")
            raise Refusal("names an image that is not there", "Check the path, or name the images' folder.")
        return path

    def _in_other_form(self, written: str) -> Path | None:
        """The file whose name is the same in another form of Unicode: macOS takes letters and accents apart (NFD)."""
        here = self._root
        for part in Path(written).parts:
            if part == ".." or Path(written).is_absolute():
                return None
            if not (here / part).exists():
                if here not in self._names:
                    self._names[here] = {}
                    for file in here.iterdir():
                        self._names[here].setdefault(unicodedata.normalize("NFC", file.name), []).append(file.name)
                found = self._names[here].get(unicodedata.normalize("NFC", part), [])
                if len(found) != 1:
                    return None
                part = found[0]  # goes on under the name that is there
            here /= part
        return here

    def _join_case(self, draft: _Draft) -> None:
        known = self._cases.setdefault(draft.case, {})
        given = {column: draft.cells[column] for column in CASE_COLUMNS if draft.cells.get(column)}
        for column, value in given.items():
            if column in known and known[column][0] != value:
                raise Refusal(
                    f"gives its case another {column} than line {known[column][1]}",
                    "Make the two the same, or name two cases.",
                )
        seen = self._seen.setdefault((draft.case, draft.path), draft.line)
        if seen != draft.line:
            raise Refusal(f"repeats line {seen} (same case, same image)", "Remove one of the two.")
        for column, value in given.items():
            known.setdefault(column, (value, draft.line))

    def _row(self, draft: _Draft) -> ManifestRow:
        case_values = {column: value for column, (value, _) in self._cases[draft.case].items()}
        if not case_values.get("report"):
            raise Refusal("has no report", "Write the report (or a line that says there is none).")
        patient, phantom = case_values.pop("patient", draft.case), case_values.pop("phantom", "")
        given: dict[str, Any] = {**case_values, **{column: draft.cells.get(column, "") for column in IMAGE_COLUMNS}}
        slide = is_slide(draft.path)
        if slide:
            given["slide"] = given["slide"] or draft.path.stem
        return ManifestRow(
            line=draft.line,
            image=draft.cells["image"],
            path=draft.path,
            case=draft.case,
            patient=patient,
            phantom={"true": True, "false": False}.get(phantom),
            attributes={name: value for name, value in draft.cells.items() if name not in COLUMNS and value},
            mpp=draft.mpp,
            mpp_source=draft.mpp_source,
            derived=None,
            is_slide=slide,
            **given,
        )


def check_text(column: str, value: str) -> None:
    """Raise `Refusal` where a cell is too long, or is not valid text."""
    limit = MAX_REPORT if column == "report" else MAX_CELL
    if max(len(value), len(column)) > limit:
        raise Refusal(f"has more than {limit} characters in column {column[:40]}", "Shorten it.")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise Refusal(f"has half a character (a lone surrogate) in column {column}", "Export the file again.")
    if "\0" in value:
        raise Refusal(f"has a NUL character in column {column}", "Remove it.")


def _truth(value: str) -> str:
    try:
        return _TRUTH[value.lower()]
    except KeyError:
        raise Refusal("says neither true nor false in column phantom", "Write true or false.") from None
