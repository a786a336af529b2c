"""The labels of an archive by what they mean: one entry a concept for filters, and filters that find every spelling.

The archive keeps what was written. Here its combinations of site, system and category are read once (a few hundred,
however many cases it has), and again when it has changed. A known label is shown by the vocabulary's name, another one
by its most frequent spelling.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from retrieval.language.concepts import (
    category_concept,
    image_concept,
    known_category,
    plain,
    site_concept,
    system_concept,
)
from retrieval.language.vocabulary import vocabulary

if TYPE_CHECKING:
    from index_store import Archive, CaseFilter

Labels = tuple[str, str, str]
"""Site, system and category."""
FIELDS: Final = {"site": "sites", "system": "systems", "category": "categories"}
"""Field of a facet -> field of `CaseFilter`."""
IMAGE_FIELDS: Final = {"stain": "stains", "preparation": "preparations", "kind": "kinds", "source": "sources"}
"""The same of the facets that no report tells."""


@dataclass(frozen=True)
class Facet:
    """One concept that cases can be filtered by."""

    name: str
    """How it is shown, and a value for `CaseFilter`."""
    cases: int
    written: tuple[str, ...]
    """How the archive's cases write it, most frequent first."""

    @property
    def others(self) -> tuple[str, ...]:
        """The spellings beside the shown one."""
        return tuple(word for word in self.written if word != self.name)


class ArchiveLabels:
    """The labels of an archive, given by the number of cases of each combination as written (`Archive.labels`)."""

    def __init__(self, counts: Mapping[Labels, int]) -> None:
        self._counts = dict(counts)
        spelt: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for (site, system, category), cases in counts.items():
            of_site, of_system = site_concept(site), system_concept(system, site)
            spelt["site", of_site][site.strip()] += cases
            spelt["system", of_system][system.strip()] += cases
            spelt["category", of_site, of_system, category_concept(site, system, category)][category.strip()] += cases
        self._spelling = {key: _most_frequent(words) for key, words in spelt.items()}
        self._shown = {labels: self._show(*labels) for labels in counts}
        self._shown_categories = {_squeezed(category) for _, _, category in self._shown.values()}

    @property
    def written(self) -> tuple[Labels, ...]:
        """The combinations that occur, as written."""
        return tuple(self._counts)

    def shown(self, site: str, system: str, category: str) -> Labels:
        """The labels of a case as they are shown: the same for all that mean the same.

        Where a case names no system, it is that of its site.
        """
        return self._shown.get((site, system, category)) or self._show(site, system, category)

    def facets(self) -> dict[str, tuple[Facet, ...]]:
        """Of site, system and category what occurs, each concept once, most frequent first."""
        found: dict[str, tuple[Facet, ...]] = {}
        for position, field in enumerate(FIELDS):
            cases: Counter[str] = Counter()
            written: dict[str, Counter[str]] = defaultdict(Counter)
            also: dict[str, list[tuple[Labels, int]]] = defaultdict(list)
            for labels, count in self._counts.items():
                if name := self._shown[labels][position] if _is_said(labels, position) else "":
                    cases[name] += count
                    if plain(labels[position]):
                        written[name][labels[position].strip()] += count
                    also[_squeezed(labels[position])].append((labels, count))
            if field == "category":  # "V" of a site without a system also finds the "V" of the thyroid
                for name in cases:
                    beside = (n for labels, n in also[_squeezed(name)] if self._shown[labels][position] != name)
                    cases[name] += sum(beside)
            order = sorted(cases, key=lambda name: (-cases[name], name))
            found[field] = tuple(Facet(name, cases[name], tuple(_by_frequency(written[name]))) for name in order)
        return found

    def meant(self, where: CaseFilter | None) -> CaseFilter | None:
        """The same filter over the labels as written, whose values find every spelling of what they mean.

        A value that is shown as such finds what is shown under it; any other finds what it means within each system. A
        filter that finds no further spelling is returned as it is.
        """
        if where is None or not any(getattr(where, field) for field in FIELDS.values()):
            return where
        found = {labels for labels in self._counts if self._matches(labels, where)}
        if not found or found == {labels for labels in self._counts if _as_written(labels, where)}:
            return where
        values: dict[str, Any] = {
            field: tuple(sorted({labels[position] for labels in found})) if getattr(where, field) else ()
            for position, field in enumerate(FIELDS.values())
        }
        by_values = dataclasses.replace(where, **values)
        if found == {labels for labels in self._counts if _as_written(labels, by_values)}:
            return by_values
        # "V" is one category of the thyroid and another of an effusion: only the combinations say which is meant.
        return dataclasses.replace(where, sites=(), systems=(), categories=(), labels=tuple(sorted(found)))

    def named(self, field: str, value: str) -> str:
        """The facet's name of a value of a filter, or the value where none means the same."""
        from index_store import CaseFilter

        wanted: dict[str, Any] = {FIELDS[field]: (value,)}
        where = CaseFilter(**wanted)
        position = list(FIELDS).index(field)
        return next((self._shown[labels][position] for labels in self._counts if self._matches(labels, where)), value)

    def has(self, field: str, value: str) -> bool:
        """Whether a case has a site, system or category that means the same as a value of a filter."""
        from index_store import CaseFilter

        wanted: dict[str, Any] = {FIELDS[field]: (value,)}
        where = CaseFilter(**wanted)
        return any(self._matches(labels, where) for labels in self._counts)

    def _show(self, site: str, system: str, category: str) -> Labels:
        of_site, of_system = site_concept(site), system_concept(system, site)
        known = known_category(site, system, category)
        key = ("category", of_site, of_system, category_concept(site, system, category))
        return (
            of_site if of_site in _names() else self._spelling.get(("site", of_site), site.strip()),
            of_system if vocabulary().system(of_system) else self._spelling.get(("system", of_system), system.strip()),
            known.name if known else self._spelling.get(key, category.strip()),
        )

    def _matches(self, labels: Labels, where: CaseFilter) -> bool:
        site, system, _ = labels
        if where.sites and site_concept(site) not in map(site_concept, where.sites):
            return False
        if where.systems and not (
            _is_said(labels, 1)
            and system_concept(system, site) in {system_concept(name, site) for name in where.systems}
        ):
            return False
        return not where.categories or any(self._means(labels, name) for name in where.categories)

    def _means(self, labels: Labels, name: str) -> bool:
        site, system, category = labels
        wanted = _squeezed(name)
        if wanted in self._shown_categories:
            return wanted in (_squeezed(self._shown[labels][2]), _squeezed(category))
        return category_concept(site, system, name) == category_concept(site, system, category)


_KNOWN: Final[WeakKeyDictionary[Archive, tuple[int, ArchiveLabels]]] = WeakKeyDictionary()
_READING: Final = threading.Lock()


def archive_labels(archive: Archive) -> ArchiveLabels:
    """The labels of an archive as it is now, read again only when it has changed."""
    with _READING:
        revision = archive.revision
        known = _KNOWN.get(archive)
        if known is None or known[0] != revision:
            known = _KNOWN[archive] = revision, ArchiveLabels(archive.labels())
        return known[1]


def meant_filter(archive: Archive, where: CaseFilter | None) -> CaseFilter | None:
    """`ArchiveLabels.meant` for an archive, and every spelling of its stains, preparations, kinds and sources.

    Reads nothing where the filter names no value.
    """
    if where is None:
        return where
    if any(getattr(where, field) for field in IMAGE_FIELDS.values()):
        where = _images_meant(archive.facets(), where)
    if not any(getattr(where, field) for field in FIELDS.values()):
        return where
    return archive_labels(archive).meant(where)


def values_without_cases(archive: Archive, where: CaseFilter) -> dict[str, tuple[str, ...]]:
    """By facet the values of a filter that no case of the archive has, in any spelling."""
    facets, labels = archive.facets(), archive_labels(archive)
    concepts = {facet: {image_concept(facet, value) for value in facets[facet]} for facet in IMAGE_FIELDS}
    absent = {
        facet: tuple(value for value in getattr(where, field) if not labels.has(facet, value))
        for facet, field in FIELDS.items()
    } | {
        facet: tuple(value for value in getattr(where, field) if image_concept(facet, value) not in concepts[facet])
        for facet, field in IMAGE_FIELDS.items()
    }
    return {facet: values for facet, values in absent.items() if values}


def _images_meant(facets: Mapping[str, Mapping[str, int]], where: CaseFilter) -> CaseFilter:
    values: dict[str, Any] = {}
    for facet, field in IMAGE_FIELDS.items():
        given = getattr(where, field)
        wanted = {image_concept(facet, value) for value in given}
        found = {value for value in facets[facet] if image_concept(facet, value) in wanted}
        if found - set(given):
            values[field] = (*given, *sorted(found - set(given)))
    return dataclasses.replace(where, **values) if values else where


def _as_written(labels: Labels, where: CaseFilter) -> bool:
    wanted = (getattr(where, field) for field in FIELDS.values())
    return all(not values or value in values for value, values in zip(labels, wanted, strict=True))


def _is_said(labels: Labels, position: int) -> bool:
    """Whether a case has a site, a system or a category; one with a category and no system has its site's."""
    return bool(plain(labels[position]) or (position == 1 and plain(labels[2])))


def _squeezed(label: str) -> str:
    return plain(label).replace(" ", "")


def _by_frequency(words: Counter[str]) -> list[str]:
    return sorted(words, key=lambda word: (-words[word], word))


def _most_frequent(words: Counter[str]) -> str:
    return _by_frequency(words)[0]


@cache
def _names() -> frozenset[str]:
    sites = vocabulary().sites
    return frozenset((*(site.name for site in sites), *(names[0] for site in sites for names in site.specimens)))
