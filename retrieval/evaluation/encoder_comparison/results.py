"""What a comparison of two encoders returns: plain frozen records that are printed, plotted and written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from retrieval.statistics.estimate import Estimate

if TYPE_CHECKING:
    from index_store import EncoderInfo, Role

COMPARED: Final = ("P@1", "P@10", "mAP")
DECIDED_BY: Final = "P@10"
"""The metric by which one of two is called better: how much of the first page of a search is right."""


@dataclass(frozen=True)
class ComparedPart:
    """The whole archive (`site` None), or one of its sites. Every score is a mean over its categories."""

    site: str | None
    categories: int
    queries: int
    patients: int
    first: Mapping[str, Estimate]
    """By name, those of COMPARED."""
    second: Mapping[str, Estimate]
    difference: Mapping[str, Estimate]
    """The second minus the first, in the same queries; its interval is by sign flips of patients."""


@dataclass(frozen=True)
class ComparedSearch:
    """One way to search, by either encoder."""

    role: Role
    """Whose encoder it takes."""
    name: str
    parts: tuple[ComparedPart, ...]
    """The whole archive first, then the sites in alphabetical order; none where there is one site."""
    better: str
    """The fingerprint of the better encoder: the interval of the difference in `DECIDED_BY` over the whole archive
    excludes 0. Empty: neither is."""


@dataclass(frozen=True)
class RoleVerdict:
    """Which of the two encoders is better for a role."""

    role: Role
    better: str
    """Its fingerprint: it is better in one search of the role, and worse in none. Empty: neither is, or it was not
    compared."""
    words: str


@dataclass(frozen=True)
class EncoderComparison:
    """How two encoders find an archive's own cases."""

    archive: str
    first: EncoderInfo
    second: EncoderInfo
    roles: Mapping[Role, str]
    """By role, the fingerprint of the encoder that the archive uses now."""
    cases: int
    patients: int
    images: int
    phantoms: int
    """Of the cases, how many are rendered phantoms without a patient."""
    derived: int
    """Of the cases, how many have a category that was extracted from their report."""
    sampled: int | None
    """How many cases were queries, where not all were."""
    question: str
    """What makes a result relevant, in words."""
    seed: int
    resamples: int
    metrics: tuple[str, ...]
    decided_by: str
    notes: tuple[str, ...]
    searches: tuple[ComparedSearch, ...]
    verdicts: tuple[RoleVerdict, ...]
    """One for each role."""
