"""Rows by category: beside the plain ranking, the nearest cases of each category of one reporting system.

The hits of a plain ranking may all be of one category. A gallery shows the nearest cases of every category, as the
image collections of digital cytology do, so that a reader can compare; and the look-alikes of one category side by
side. It is a comparison and no vote: each row shows its category's nearest cases, however dissimilar they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from retrieval.arrays import Vectors
from retrieval.errors import QueryError
from retrieval.language.archive_labels import Labels, archive_labels
from retrieval.language.concepts import known_category, site_concept, system_concept
from retrieval.language.vocabulary import Category, LookAlikes, ReportingSystem, vocabulary
from retrieval.search.results import RankedCase
from retrieval.search.results_assembly import nearest_cases

if TYPE_CHECKING:
    from index_store import Archive, CaseFilter


IN_A_ROW: Final = 4


@dataclass(frozen=True)
class CategoryRow:
    """The nearest cases of one category, one for each patient, most similar first."""

    category: str
    tier: str
    cases: tuple[RankedCase, ...]
    available: int
    """Number of patients in the archive with this category (and of the gallery's site)."""


@dataclass(frozen=True)
class Gallery:
    """The nearest cases of each category of a reporting system, a row for each category."""

    system: str
    site: str
    """The site of all rows; empty: all sites of the system."""
    rows: tuple[CategoryRow, ...]
    """All categories of the system, in its order."""
    category: str
    """The category whose look-alikes are shown: the query's, or that of the nearest case; empty where none is known."""
    look_alikes: tuple[CategoryRow, ...]
    """That category and its look-alikes, in the system's order; empty where it has none. Rows of `rows`."""
    sources: tuple[LookAlikes, ...]
    """The published sources that report them as look-alikes."""

    @property
    def without_cases(self) -> tuple[str, ...]:
        """The categories that the archive has no case of."""
        return tuple(row.category for row in self.rows if not row.available)


def gallery(
    archive: Archive,
    query: Vectors,
    *,
    fingerprint: str,
    system: str,
    site: str = "",
    category: str = "",
    m: int = IN_A_ROW,
    where: CaseFilter | None = None,
) -> Gallery:
    """The m nearest cases of each category of a reporting system, by one filtered search for each category.

    The archive may write a category in any way that `known_category` reads.

    Args:
        query: float32[1, d], a unit row.
        fingerprint: the encoder's fingerprint.
        system: the reporting system, by its name in the vocabulary.
        site: only cases of this site. A case that names no system is one of its site's.
        category: the query's category, whose look-alikes are shown; empty: that of the nearest case.
        m: cases in a row, at most.
        where: further restrictions, such as leaving out the query's patient.

    Raises:
        QueryError: the vocabulary does not have the system, the site belongs to another system, or m is below 1.
    """
    of_system = vocabulary().system(system)
    if of_system is None:
        known = ", ".join(known.name for known in vocabulary().systems)
        raise QueryError(f"There is no reporting system '{system}': choose one of {known}.")
    if m < 1:
        raise QueryError(f"{m} cases in a row are too few: choose at least 1.")
    within = _within(archive, of_system, site, where)
    patients, labels = _by_category(archive, of_system, within)
    rows = tuple(
        CategoryRow(
            category=category.name,
            tier=category.tier,
            cases=_nearest(archive, query, within, labels[category.name], m, fingerprint)
            if within and labels[category.name]
            else (),
            available=patients[category.name],
        )
        for category in of_system.categories
    )
    chosen = known_category(site, of_system.name, category) if category else _nearest_category(rows, of_system)
    groups = vocabulary().groups_of(of_system.name, chosen.name) if chosen else ()
    alike = {name for group in groups for name in group.categories}
    return Gallery(
        system=of_system.name,
        site=site,
        rows=rows,
        category=chosen.name if chosen else "",
        look_alikes=tuple(row for row in rows if row.category in alike),
        sources=groups,
    )


def _within(archive: Archive, system: ReportingSystem, site: str, where: CaseFilter | None) -> CaseFilter | None:
    """`where`, narrowed to the system and site; None where nothing can match."""
    from index_store import CaseFilter

    where = where or CaseFilter()
    of_site = vocabulary().site(site)
    expected = vocabulary().system_of(of_site.name) if of_site else None
    if expected is not None and expected.name != system.name:
        raise QueryError(f"The site '{site}' is reported in {expected.name}, not in {system.name}: choose one of them.")
    labels = {
        labels
        for labels in archive_labels(archive).written
        if known_category(*labels)
        and (not site or site_concept(labels[0]) == site_concept(site))
        and system_concept(labels[1], labels[0]) == system.name
    }
    labels &= set(where.labels or labels)
    return dataclasses.replace(where, labels=tuple(sorted(labels))) if labels else None


def _by_category(
    archive: Archive, system: ReportingSystem, within: CaseFilter | None
) -> tuple[dict[str, int], dict[str, set[Labels]]]:
    """By category's name in the vocabulary: its number of patients, and the labels that the archive writes for it."""
    patients: dict[str, set[int]] = {category.name: set() for category in system.categories}
    labels: dict[str, set[Labels]] = {category.name: set() for category in system.categories}
    if within is not None:
        table = archive.image_table(within)
        for written, rows in table.by_labels():
            if category := known_category(*written):
                patients[category.name].update(table.patients[rows].tolist())
                labels[category.name].add(written)
    return {name: len(ids) for name, ids in patients.items()}, labels


def _nearest(
    archive: Archive, query: Vectors, within: CaseFilter, labels: set[Labels], m: int, fingerprint: str
) -> tuple[RankedCase, ...]:
    of_category = dataclasses.replace(within, labels=tuple(sorted(labels)))
    return nearest_cases(archive, query, m, where=of_category, fingerprint=fingerprint)


def _nearest_category(rows: Sequence[CategoryRow], system: ReportingSystem) -> Category | None:
    """The category of the nearest case of all rows; None without a case."""
    filled = [row for row in rows if row.cases]
    nearest = max(filled, key=lambda row: row.cases[0].score, default=None)
    return system.category(nearest.category) if nearest else None
