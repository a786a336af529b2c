"""Agreement among the nearest patients: the distribution of their reported categories, for each reporting system.

This describes retrieved cases and is no statement about the query: cases agree with each other for many reasons, and
where an archive has almost only one category, its cases agree on it for every query.

    Agreement ── SystemAgreement    one for each reporting system, the query's first; systems are never mixed
                 └─ CategoryShare   each category of the system in its order, also those without a case
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from retrieval.language.concepts import known_category, site_concept, system_concept
from retrieval.language.vocabulary import Category, ReportingSystem, vocabulary
from retrieval.search.results import RankedCase

if TYPE_CHECKING:
    from index_store import Case

_NON_DIAGNOSTIC: Final = 0


@dataclass(frozen=True)
class CategoryShare:
    """One category of a system and the retrieved patients that have it."""

    category: str
    tier: str
    patients: int
    share: float
    """Of the system's patients; 0 where there are none."""
    weighted: float | None
    """Its share of the sum of similarities (negative ones count as 0); None where no similarities were given."""


@dataclass(frozen=True)
class SystemAgreement:
    """What the retrieved patients of one reporting system were reported as."""

    system: str
    sites: tuple[str, ...]
    """Of the retrieved cases, most frequent first."""
    patients: int
    categories: tuple[CategoryShare, ...]
    """All of the system's, in its order."""
    entropy_bits: float | None
    """Shannon entropy of the categories: 0 where all agree. None without a patient."""
    entropy: float | None
    """The same in units of its maximum, log2 of the number of the system's categories: from 0 to 1."""
    lowest_tier: str | None
    highest_tier: str | None
    """Of the graded patients, that is, without those reported as non-diagnostic. None where there are none."""
    tiers_apart: int | None
    """Steps between the lowest and the highest tier."""
    tier_deviation: float | None
    """Mean absolute deviation of the tiers from their median, in steps."""
    non_diagnostic: int
    """Patients without a place on the ordinal scale: non-diagnostic is no step below negative."""
    derived: int
    """Patients whose category was extracted from the report's text and not given."""

    @property
    def words(self) -> str:
        """In one sentence."""
        if not self.patients:
            return f"None of the retrieved cases was reported in {self.system}."
        by_count = sorted((share for share in self.categories if share.patients), key=lambda share: -share.patients)
        counts = ", ".join(f"{share.category} {share.patients}" for share in by_count)
        noun = "case" if self.patients == 1 else "cases"
        return f"Agreement among {self.patients} retrieved {noun} reported in {self.system}: {counts}."


@dataclass(frozen=True)
class Agreement:
    """Agreement among retrieved cases, separately for each reporting system."""

    systems: tuple[SystemAgreement, ...]
    """The query's first (even where no case has it), then by the number of patients, descending."""
    asked: str
    """The query's reporting system; empty where it is not known: the most frequent system is then the first."""
    patients: int
    """All retrieved patients, including those that no system counts."""
    without_category: int
    unknown_system: int
    """Patients with a category of a system that the vocabulary does not have."""
    unknown_category: int
    """Patients with a category that their system does not have."""

    @property
    def leading(self) -> SystemAgreement | None:
        """The first system: the query's, or else the most frequent; None without any."""
        return self.systems[0] if self.systems else None


@dataclass(frozen=True)
class _Counted:
    """A patient that one system counts."""

    category: Category
    site: str
    similarity: float | None
    derived: bool


def agreement(cases: Sequence[RankedCase | Case], *, system: str = "", site: str = "") -> Agreement:
    """Agreement among retrieved cases, nearest first.

    Args:
        cases: a patient with several cases counts once for each system, by its nearest case.
        system: the query's reporting system: that of the query case, or as `read_report` extracts it.
        site: the query's site, where only that is known: its reporting system is then the query's.
    """
    known = vocabulary()
    of_query = known.system(system_concept(system, site))
    by_system: dict[str, dict[str, _Counted]] = {of_query.name: {}} if of_query else {}
    problems: dict[str, set[str]] = {"category": set(), "system": set(), "name": set()}
    counted: set[str] = set()
    for entry in cases:
        case, similarity = (entry.case, entry.similarity) if isinstance(entry, RankedCase) else (entry, None)
        of_system = known.system(system_concept(case.system, case.site))
        category = known_category(case.site, case.system, case.category) if of_system else None
        if of_system is None or category is None:
            missing = "category" if not case.category else "name" if of_system else "system"
            problems[missing].add(case.patient)
            continue
        counted.add(case.patient)
        patients = by_system.setdefault(of_system.name, {})
        patients.setdefault(
            case.patient, _Counted(category, site_concept(case.site), similarity, "category" in case.derived)
        )
    names = sorted(by_system, key=lambda name: (of_query is None or name != of_query.name, -len(by_system[name]), name))
    everybody = counted.union(*problems.values())
    without = problems["category"] - counted
    unknown_system = problems["system"] - counted - without
    return Agreement(
        systems=tuple(_of_system(known.system(name), list(by_system[name].values())) for name in names),
        asked=of_query.name if of_query else "",
        patients=len(everybody),
        without_category=len(without),
        unknown_system=len(unknown_system),
        unknown_category=len(problems["name"] - counted - without - unknown_system),
    )


def _of_system(system: ReportingSystem | None, patients: list[_Counted]) -> SystemAgreement:
    assert system is not None  # its name came from the vocabulary
    tiers = vocabulary().tiers
    counts = Counter(patient.category.name for patient in patients)
    weights: dict[str, float] | None = None
    if all(patient.similarity is not None for patient in patients):
        weights = dict.fromkeys(counts, 0.0)
        for patient in patients:
            weights[patient.category.name] += max(0.0, patient.similarity or 0.0)
    total = sum(weights.values()) if weights else 0.0
    shares = tuple(
        CategoryShare(
            category=category.name,
            tier=category.tier,
            patients=counts[category.name],
            share=counts[category.name] / len(patients) if patients else 0.0,
            weighted=weights.get(category.name, 0.0) / total if weights and total else None,
        )
        for category in system.categories
    )
    bits = _entropy([share.share for share in shares]) if patients else None
    ranks = np.array([tiers.index(patient.category.tier) for patient in patients], dtype=np.int64)
    graded = ranks[ranks != _NON_DIAGNOSTIC]
    return SystemAgreement(
        system=system.name,
        sites=tuple(site for site, _ in Counter(patient.site for patient in patients).most_common()),
        patients=len(patients),
        categories=shares,
        entropy_bits=bits,
        entropy=None if bits is None else bits / float(np.log2(len(system.categories))),
        lowest_tier=tiers[graded.min()] if len(graded) else None,
        highest_tier=tiers[graded.max()] if len(graded) else None,
        tiers_apart=int(graded.max() - graded.min()) if len(graded) else None,
        tier_deviation=float(np.abs(graded - np.median(graded)).mean()) if len(graded) else None,
        non_diagnostic=int((ranks == _NON_DIAGNOSTIC).sum()),
        derived=sum(patient.derived for patient in patients),
    )


def _entropy(shares: Sequence[float]) -> float:
    """Shannon (1948), in bits."""
    return abs(float(-sum(share * np.log2(share) for share in shares if share)))
