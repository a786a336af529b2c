"""Rows by category: beside the plain ranking, the nearest cases of each category of one reporting system.

A plain ranking shows what is nearest, which may be of one category throughout. A gallery shows the nearest of every
category, as the image collections of digital cytology do, so that a reader can compare; and the look-alikes of one
category side by side. It is a comparison and no vote: each row shows the best that its category has, however far.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from retrieval.arrays import Vectors
from retrieval.errors import QueryError
from retrieval.language.vocabulary import Category, LookAlikes, ReportingSystem, vocabulary
from retrieval.search.results import RankedCase
from retrieval.search.results_assembly import nearest_cases

if TYPE_CHECKING:
    from index_store import Archive, Case, CaseFilter


IN_A_ROW: Final = 4


@dataclass(frozen=True)
class CategoryRow:
    """The nearest cases of one category, one a patient."""

    category: str
    tier: str
    cases: tuple[RankedCase, ...]
    available: int
    """Patients that the archive has for this row."""


@dataclass(frozen=True)
class Gallery:
    """One row a category."""

    system: str
    site: str
    """Where the rows are of one site; empty: of all sites of the system."""
    rows: tuple[CategoryRow, ...]
    """All categories of the system, in its order."""
    category: str
    """The category whose look-alikes are shown: the query's, or that of the nearest case; empty where none is known."""
    look_alikes: tuple[CategoryRow, ...]
    """That category and its look-alikes, in the system's order; empty where it has none. Rows of `rows`."""
    sources: tuple[LookAlikes, ...]
    """What says that they look alike."""

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
    cases: Sequence[Case] | None = None,
) -> Gallery:
    """The best m cases of each category of a reporting system, by one filtered search a category.

    Args:
        query: float32[1, d], a unit row.
        system: the reporting system, by its name in the vocabulary. site: only cases of this site. Cases that name no
            system take part where their site is asked for.
        category: the query's, where it is known; else that of the nearest case is taken for the look-alikes.
        where: further restrictions, such as leaving out the query's own patient.
        cases: `archive.cases()`, where the caller has read them; they are read here otherwise, those of the system.

    A category is found by whatever name, code or alias of it the archive uses. Raises QueryError for a system that the
    vocabulary does not have, for a site of another system, and for an m below 1.
    """
    of_system = vocabulary().system(system)
    if of_system is None:
        known = ", ".join(known.name for known in vocabulary().systems)
        raise QueryError(f"There is no reporting system '{system}': choose one of {known}.")
    if m < 1:
        raise QueryError(f"{m} cases a row were asked for: ask for at least 1.")
    within = _within(archive, of_system, site, where)
    patients, named = _held(archive, of_system, within, cases)
    rows = tuple(
        CategoryRow(
            category=category.name,
            tier=category.tier,
            cases=_nearest(archive, query, within, named[category.name], m, fingerprint)
            if within and named[category.name]
            else (),
            available=len(patients[category.name]),
        )
        for category in of_system.categories
    )
    chosen = of_system.category(category) if category else _of_the_nearest(rows, of_system)
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
    asked = vocabulary().system_of(site)
    if asked is not None and asked.name != system.name:
        raise QueryError(f"The site '{site}' is reported in {asked.name}, not in {system.name}: ask for one of them.")
    names = {name for name in archive.facets()["system"] if vocabulary().system(name) is system}
    if site and asked:
        names.add("")
    systems = names & set(where.systems) if where.systems else names
    sites = {site} & set(where.sites) if site and where.sites else {site} if site else set(where.sites)
    if not systems or (where.sites and not sites):
        return None
    return dataclasses.replace(where, systems=tuple(sorted(systems)), sites=tuple(sorted(sites)))


def _held(
    archive: Archive, system: ReportingSystem, within: CaseFilter | None, cases: Sequence[Case] | None
) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """By category: the patients that there are, and the words that the archive has for it."""
    patients: dict[str, set[str]] = {category.name: set() for category in system.categories}
    words: dict[str, set[str]] = {category.name: set() for category in system.categories}
    if within is not None:
        for case, _ in within.permitted_images(archive.cases(within) if cases is None else cases):
            if found := system.category(case.category):
                patients[found.name].add(case.patient)
                words[found.name].add(case.category)
    return patients, words


def _nearest(
    archive: Archive, query: Vectors, within: CaseFilter, categories: set[str], m: int, fingerprint: str
) -> tuple[RankedCase, ...]:
    here = dataclasses.replace(within, categories=tuple(sorted(categories)))
    return nearest_cases(archive, query, m, where=here, fingerprint=fingerprint)


def _of_the_nearest(rows: Sequence[CategoryRow], system: ReportingSystem) -> Category | None:
    filled = [row for row in rows if row.cases]
    nearest = max(filled, key=lambda row: row.cases[0].score, default=None)
    return system.category(nearest.category) if nearest else None
