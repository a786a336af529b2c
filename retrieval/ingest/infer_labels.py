"""Site, system and category of manifest rows without them, extracted from the report and marked as derived.

A value that was given, in this manifest or an earlier one, always wins. A case ends up the same whether a value was
given at once or after another had been derived: derived values are derived again from what is known by then.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.language.english import is_english
from retrieval.language.label_reader import LABELS, LabelReader

if TYPE_CHECKING:
    from index_store import Archive, CaseLabels, ManifestRow


def infer_labels(
    archive: Archive | None, rows: Sequence[ManifestRow], *, work: Path | None = None
) -> list[ManifestRow]:
    """The rows in their order, with empty sites, systems and categories filled from their reports where possible.

    `ManifestRow.derived` of each names what was filled; it is empty where nothing was. Without an archive nothing is
    known but the rows.

    Args:
        work: folder that keeps what was read (`LabelReader`).
    """
    stored = {} if archive is None else archive.case_labels({row.case for row in rows})
    known = [_known(row, stored.get(row.case)) for row in rows]
    reader = LabelReader(work)
    reader.read_all((row.report, labels) for row, labels in zip(rows, known, strict=True))
    return [_derived(row, reader.missing(row.report, **labels)) for row, labels in zip(rows, known, strict=True)]


def not_english(rows: Sequence[ManifestRow]) -> tuple[str, ...]:
    """A note on the rows without a category whose report is not in English, so that none is read from it; else ()."""
    from index_store import lines_text

    english: dict[str, bool] = {}
    lines: dict[str, list[int]] = {}
    for row in rows:
        if not row.category and row.report.strip():
            if row.report not in english:
                english[row.report] = is_english(row.report)
            if not english[row.report]:
                lines.setdefault(row.case, []).append(row.line)
    if not lines:
        return ()
    reports = "1 report is" if len(lines) == 1 else f"{len(lines)} reports are"
    where = lines_text(sorted(line for of_case in lines.values() for line in of_case))
    return (
        f"{reports} in another language than English ({where}): no category was read there. Give the categories in the "
        "manifest, or translate the reports.",
    )


def _known(row: ManifestRow, stored: CaseLabels | None) -> dict[str, str]:
    """What is given of the row's labels, now or by an earlier manifest."""
    given = {name: getattr(row, name) for name in LABELS}
    if stored is None:
        return given
    kept = {name: getattr(stored, name) for name in LABELS if name not in stored.derived}
    return {name: value or kept.get(name, "") for name, value in given.items()}


def _derived(row: ManifestRow, read: dict[str, str]) -> ManifestRow:
    return dataclasses.replace(
        row,
        site=read.get("site", row.site),
        system=read.get("system", row.system),
        category=read.get("category", row.category),
        derived=tuple(read),
    )
