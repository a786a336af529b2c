"""Site, system and category of manifest rows without them, extracted from the report and marked as derived.

A value that was given, in this manifest or an earlier one, always wins. A case ends up the same whether a value was
given at once or after another had been derived: derived values are derived again from what is known by then.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval.language.english import is_english
from retrieval.language.label_extraction import ReportReading, read_report
from retrieval.language.vocabulary import vocabulary

if TYPE_CHECKING:
    from index_store import Archive, CaseLabels, ManifestRow

LABELS = ("site", "system", "category")


def infer_labels(archive: Archive | None, rows: Sequence[ManifestRow]) -> list[ManifestRow]:
    """The rows in their order, with empty sites, systems and categories filled from their reports where possible.

    `ManifestRow.derived` of each names what was filled; it is empty where nothing was. Without an archive nothing is
    known but the rows.
    """
    stored = {} if archive is None else archive.case_labels({row.case for row in rows})
    reader = LabelReader()
    return [_derived(row, stored.get(row.case), reader) for row in rows]


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


def missing_labels(report: str, site: str, system: str, category: str) -> dict[str, str]:
    """`LabelReader.missing` of one report, for worker processes."""
    return LabelReader().missing(report, site=site, system=system, category=category)


class LabelReader:
    """Reads site, system and category from reports, equal reports once."""

    def __init__(self) -> None:
        self._readings: dict[tuple[str, str, str], ReportReading] = {}

    def missing(self, report: str, *, site: str, system: str, category: str) -> dict[str, str]:
        """The values that are not given and can be extracted from the report, given the others."""
        if site and category:  # a system is derived with its category only
            return {}
        known = vocabulary()
        known_site, known_system = known.site(site) if site else None, known.system(system) if system else None
        reading = self._read(report, known_site.name if known_site else site, system)
        if known_system is not None and reading.site and reading.site not in known_system.sites:
            return {}  # the report is of another site than the system: one of the two is wrong
        read: dict[str, str] = {}
        if not site and reading.site:
            read["site"] = reading.site
        if not category and reading.category and reading.system:
            if not system:
                read["system"] = reading.system
            read["category"] = reading.category
        return read

    def _read(self, report: str, site: str, system: str) -> ReportReading:
        key = report, site, system
        if key not in self._readings:
            self._readings[key] = read_report(report, site=site, system=system)
        return self._readings[key]


def _derived(row: ManifestRow, stored: CaseLabels | None, reader: LabelReader) -> ManifestRow:
    given = {name: getattr(row, name) for name in LABELS}
    if stored is not None:
        kept = {name: getattr(stored, name) for name in LABELS if name not in stored.derived}
        given = {name: value or kept.get(name, "") for name, value in given.items()}
    read = reader.missing(row.report, **given)
    return dataclasses.replace(
        row,
        site=read.get("site", row.site),
        system=read.get("system", row.system),
        category=read.get("category", row.category),
        derived=tuple(read),
    )
