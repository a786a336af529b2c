"""A real archive whose vectors the test chooses: no model is needed to say what lies near what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from index_store import Archive
from index_store.records import ManifestRow

FINGERPRINT = "vectors of the test"


def archive_of(
    folder: Path, rows: Sequence[dict[str, str]], vectors: np.ndarray, *, fingerprint: str = FINGERPRINT
) -> Archive:
    """An archive with one image a row, and its vector, float32[len(rows), d], by the encoder of this fingerprint.

    A row names at least `case`; the patient is the case where it names none. Any column of a manifest may be named.
    """
    (folder / "images").mkdir(parents=True)
    archive = Archive.create(folder / "archive")
    archive.use_encoder(fingerprint, name="no model", dim=vectors.shape[1])
    add_rows(archive, folder / "images", rows, vectors, fingerprint=fingerprint)
    return archive


def add_rows(
    archive: Archive,
    folder: Path,
    rows: Sequence[dict[str, str]],
    vectors: np.ndarray,
    *,
    first: int = 0,
    fingerprint: str = FINGERPRINT,
) -> None:
    """Add such rows; their pictures, which begin with that of number `first`, are made in the folder."""
    made = []
    for number, row in enumerate(rows, start=first):
        path = folder / f"{number}.png"
        PIL.Image.new("RGB", (8, 8), (number % 256, number // 256 % 256, 90)).save(path)
        given = {"patient": row["case"], "report": f"Report of {row['case']}", **row}
        attributes = {name: given.pop(name) for name in ("derived",) if name in given}
        made.append(ManifestRow(number, path.name, path, phantom=None, attributes=attributes, **given))  # type: ignore[arg-type]
    items = [planned.load() for planned in archive.pending(made).new]
    assert len(items) == len(rows)
    archive.add(items, vectors, fingerprint=fingerprint, in_place=True)
