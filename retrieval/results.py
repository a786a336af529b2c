"""What a search returns: plain frozen records that a view draws and `export` writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from generation import Generation
    from index_store import Case, CaseFilter, Image


@dataclass(frozen=True)
class Query:
    """What was asked."""

    kind: Literal["report", "image", "case"]
    text: str
    """The report of a report query, the report of the case of a case query; empty for an image."""
    label: str
    """What to call the query: a file's name, a case's key; empty for a report."""


@dataclass(frozen=True)
class Timing:
    """Seconds spent in each part of one search."""

    generate_s: float
    embed_s: float
    search_s: float

    @property
    def total_s(self) -> float:
        return self.generate_s + self.embed_s + self.search_s


@dataclass(frozen=True)
class RankedCase:
    """One patient among the results, shown by the case whose image came nearest to the query."""

    rank: int
    """From 1."""
    score: float
    """What the order was made by: the cosine similarity, or the fused reciprocal ranks."""
    similarity: float
    """Cosine similarity of the leading image to the query, in [-1, 1]."""
    case: Case
    image: Image
    """The leading image."""
    other_images: int
    """Further images of this patient that are at least as similar as the last result's leading image."""


@dataclass(frozen=True)
class SearchResult:
    """The nearest cases, best first, at most one a patient, with all that is needed to say where they came
    from.
    """

    query: Query
    cases: tuple[RankedCase, ...]
    generation: Generation | None
    """The synthetic images a report became; None for the other kinds of query."""
    timing: Timing
    encoder: str
    fingerprint: str
    where: CaseFilter | None
    notes: tuple[str, ...]
    """What a reader should know about this answer: the archive is empty, fewer cases match than were asked
    for …
    """
