"""The vocabulary of cytology: sites, reporting systems, their categories and tiers, read from vocabulary.toml.

    Vocabulary ── Site             an anatomical site of specimens, and the words for it
               ├─ ReportingSystem  for one or more sites, with its published source
               │  └─ Category      one of the system's categories, in its order, with its tier and words
               └─ LookAlikes       categories of one system that are confused with each other, with the source

A tier (`Vocabulary.tiers`, in order) is a rough scale across systems. It is used for ordinal measures within one
system; categories of two systems are never the same.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Site:
    """A site by the name it has in manifests. Where a specimen names several, the highest `rank` is meant."""

    name: str
    aliases: tuple[str, ...]
    rank: int = 1
    names: tuple[str, ...] = ()
    """Other names of the site itself, in manifests."""
    specimens: tuple[tuple[str, ...], ...] = ()
    """Parts of the site and kinds of specimen that stay apart from each other: of each its names."""
    hints: tuple[str, ...] = ()
    """Words of a specimen that tell the site where none of `aliases` of any site stands in it."""


@dataclass(frozen=True)
class Category:
    """One category of a system. `aliases` and `codes` are names of it; `findings` are diagnoses that belong in it."""

    name: str
    tier: str
    codes: tuple[str, ...] = ()
    """Abbreviations, which match in this case only."""
    numbers: tuple[str, ...] = ()
    """Numbers of the category, as they follow "Bethesda", "Milan", "category" …"""
    aliases: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    """Those of `findings` by which a query means the category."""
    narrower: tuple[str, ...] = ()
    """Those of `codes`, `aliases` and `synonyms` that name a part of the category only."""
    any_malignancy: bool = False
    """Every malignancy of the site belongs here, unless another category names it."""
    takes_suspicion: bool = False
    """A suspected malignancy belongs here; may be left out where only one category's tier is "suspicious"."""
    if_suspected: str = ""
    """The category meant where this one is suspected only; empty: that of a suspected malignancy."""
    if_not_excluded: str = ""
    """The category meant where this one "cannot be excluded"; empty: the system's only indeterminate one."""


@dataclass(frozen=True)
class ReportingSystem:
    """A reporting system: its categories in its own order, which is ordinal but for categories of glandular cells."""

    name: str
    sites: tuple[str, ...]
    source: str
    categories: tuple[Category, ...]
    doi: str = ""
    confirmed: str = ""
    """What of the source was confirmed on a page that is not ours: "doi", "reference", or "" for nothing."""
    numbered_by: tuple[str, ...] = ()
    """Names that are followed by a category's number."""
    site_cues: tuple[str, ...] = ()
    """Words that imply the first of `sites` where a report names no specimen."""

    def category(self, name: str) -> Category | None:
        """The category of that name, code or alias (in any case); None where the system has none."""
        wanted = name.strip().casefold()
        for category in self.categories:
            if wanted == category.name.casefold():
                return category
        for category in self.categories:
            if any(wanted == word.casefold() for word in (*category.codes, *category.aliases)):
                return category
        return None

    def of_tier(self, tier: str) -> tuple[Category, ...]:
        """The system's categories of a tier."""
        return tuple(category for category in self.categories if category.tier == tier)


@dataclass(frozen=True)
class LookAlikes:
    """Categories of one system that are confused with each other, with the reason that the source reports."""

    system: str
    categories: tuple[str, ...]
    why: str
    source: str
    doi: str = ""
    confirmed: str = ""
    """As of `ReportingSystem`."""


@dataclass(frozen=True)
class Vocabulary:
    """All of vocabulary.toml. Raises `ValueError` where its parts do not fit together."""

    version: int
    tiers: tuple[str, ...]
    """From "non-diagnostic" to "malignant", in order."""
    sites: tuple[Site, ...]
    systems: tuple[ReportingSystem, ...]
    malignancy: tuple[str, ...]
    """Words for a malignancy, whatever category it has in a system."""
    not_malignancy: tuple[str, ...]
    """Names of benign diseases that contain such a word."""
    neoplasia: tuple[str, ...]
    """Words for a neoplasm: negated, they exclude a malignancy; affirmed, the neoplasm may be benign."""
    look_alikes: tuple[LookAlikes, ...] = ()
    synonyms: tuple[tuple[str, ...], ...] = ()
    """Diagnoses that have several names, each with its names: a query by one of them finds the others."""
    names_at_site: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    """By site, groups of those names that are of another diagnosis where a text names other sites alone."""
    stains: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Of each stain its other names; so `preparations`, and `kinds` of images."""
    preparations: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kinds: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sites = [site.name for site in self.sites]
        _require_unique("site", sites)
        _require_unique("system", [system.name for system in self.systems])
        _require_unique("site with a system", [site for system in self.systems for site in system.sites])
        for system in self.systems:
            names = [category.name for category in system.categories]
            _require_unique(f"category in {system.name}", names)
            for wrong in (set(system.sites) - set(sites)) | ({c.tier for c in system.categories} - set(self.tiers)):
                raise ValueError(f"The system {system.name} names {wrong!r}, which the vocabulary does not have.")
            for category in system.categories:
                unknown = set(category.synonyms) - set(category.findings)
                if unknown:
                    raise ValueError(f"{min(unknown)!r} is a synonym of {category.name} and none of its findings.")
                for other in (category.if_suspected, category.if_not_excluded):
                    if other and other not in names:
                        raise ValueError(
                            f"{category.name} of {system.name} refers to {other!r}, which the system does not have."
                        )
        for group in self.look_alikes:
            of_system = self.system(group.system)
            known = [category.name for category in of_system.categories] if of_system else []
            _require_unique(f"look-alike in one group of {group.system}", group.categories)
            if len(group.categories) < 2 or not set(group.categories) <= set(known):
                raise ValueError(
                    f"The look-alikes {', '.join(group.categories)} must be two or more categories of {group.system}."
                )

    def site(self, words: str) -> Site | None:
        """The site with that name or alias (in any case), or that of a specimen with that name."""
        wanted = " ".join(unicodedata.normalize("NFKC", words).split())
        for site in self.sites:
            named = (site.name, *site.names, *(name for names in site.specimens for name in names))
            if wanted.casefold() in {name.casefold() for name in named}:
                return site
        return next((site for site in self.sites if word_pattern(site.aliases).fullmatch(wanted)), None)

    def system(self, name: str) -> ReportingSystem | None:
        """The reporting system of that name (in any case)."""
        wanted = name.strip().casefold()
        return next((system for system in self.systems if system.name.casefold() == wanted), None)

    def system_of(self, site: str) -> ReportingSystem | None:
        """The reporting system of a site, by its name; None for a site the vocabulary does not know."""
        return next((system for system in self.systems if site in system.sites), None)

    def categories(self, *, tier: str) -> tuple[tuple[ReportingSystem, Category], ...]:
        """All categories of a tier, each with its system."""
        return tuple((system, category) for system in self.systems for category in system.of_tier(tier))

    def groups_of(self, system: str, category: str) -> tuple[LookAlikes, ...]:
        """The groups of look-alikes that contain a category, given by its name, code or alias."""
        of_system = self.system(system)
        known = of_system.category(category) if of_system else None
        if of_system is None or known is None:
            return ()
        return tuple(g for g in self.look_alikes if g.system == of_system.name and known.name in g.categories)

    def tier_rank(self, system: str, category: str) -> int | None:
        """The position of a category's tier in `tiers`, from 0; None for an unknown system or category."""
        of_system = self.system(system)
        known = of_system.category(category) if of_system else None
        return self.tiers.index(known.tier) if known else None


def look_alikes(system: str, category: str) -> tuple[str, ...]:
    """The categories that a category of a system is confused with, in the system's order; none for an unknown one.

    `vocabulary().groups_of` gives the same with the sources.
    """
    of_system = vocabulary().system(system)
    known = of_system.category(category) if of_system else None
    if of_system is None or known is None:
        return ()
    names = {name for group in vocabulary().groups_of(system, category) for name in group.categories}
    return tuple(c.name for c in of_system.categories if c.name in names and c.name != known.name)


@cache
def vocabulary() -> Vocabulary:
    """The vocabulary that comes with the software."""
    return read_vocabulary(Path(__file__).with_name("vocabulary.toml"))


def read_vocabulary(path: Path) -> Vocabulary:
    """Read a vocabulary file.

    Raises `ValueError` (`tomllib.TOMLDecodeError` is one) for a file that is no vocabulary, `OSError` where it cannot
    be read.
    """
    with path.open("rb") as file:
        document: dict[str, Any] = tomllib.load(file)
    try:
        systems = [
            {**system, "categories": tuple(Category(**_frozen(category)) for category in system["categories"])}
            for system in document.pop("systems")
        ]
        return Vocabulary(
            sites=tuple(Site(**_frozen(site)) for site in document.pop("sites")),
            systems=tuple(ReportingSystem(**_frozen(system)) for system in systems),
            look_alikes=tuple(LookAlikes(**_frozen(group)) for group in document.pop("look_alikes", [])),
            **_frozen(document),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is no vocabulary: {error}. Compare it with the one that is shipped.") from error


@cache
def word_pattern(words: tuple[str, ...], *, exact_case: bool = False) -> re.Pattern[str]:
    """A pattern that finds any of the words, as vocabulary.toml writes them, and of several the longest."""
    ordered = sorted(words, key=len, reverse=True)
    if not ordered:
        return re.compile(r"(?!)")
    flags = re.NOFLAG if exact_case else re.IGNORECASE
    # Where none begins, `re` would try each of them without regard to case.
    begins = "" if "*" in (first := {word[0] for word in words}) else f"(?=[{re.escape(''.join(sorted(first)))}])"
    return re.compile(rf"(?<!\w){begins}(?:{'|'.join(_written(word) for word in ordered)})(?!\w)", flags)


def _written(word: str) -> str:
    pattern = re.escape(word).replace(r"\*", r"\w*")
    pattern = pattern.replace(r"\-", r"[\s\-]?").replace(r"\ ", r"[\s\-]+")
    pattern = re.sub("tumor", "tumou?r", pattern)
    return pattern if word.endswith("*") else pattern + "s?"


def _frozen(table: dict[str, Any]) -> dict[str, Any]:
    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    return {name: frozen(value) for name, value in table.items()}


def _require_unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"The vocabulary has the {what} {name!r} twice. Remove one.")
        seen.add(name)
