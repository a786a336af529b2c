"""What a search returns: plain frozen records that a view draws and `export` writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.search.fusion import FusionRule
from retrieval.search.query import Query
from retrieval.search.understood_query import QueryAttributes

if TYPE_CHECKING:
    from generation import Generation
    from index_store import Case, CaseFilter, Image
    from retrieval.arrays import Vectors
    from retrieval.generated.checked_generation import GeneratedQuery


@dataclass(frozen=True)
class Timing:
    """Seconds spent in each part of one search."""

    generate_s: float
    embed_s: float
    """Encoding the query, and comparing generated images with references. Includes loading the encoder the first
    time."""
    search_s: float

    @property
    def total_s(self) -> float:
        return self.generate_s + self.embed_s + self.search_s


@dataclass(frozen=True)
class ChannelPlace:
    """Where one channel puts a result, and what that gave it."""

    channel: str
    rank: int | None
    """From 1, by this channel alone; None where it is not among the channel's first places."""
    score: float | None
    """In the channel's own unit: the cosine similarity, or for reports a normalised score without a unit."""
    part: float
    """What it added to the result's score."""


@dataclass(frozen=True)
class RankedCase:
    """One patient among the results, shown by the case that speaks most for it."""

    rank: int
    """From 1."""
    score: float
    """What the order was made by: the channel's score where there is one channel, else the fused score."""
    similarity: float | None
    """Cosine similarity of the image to the query in the leading channel, in [-1, 1]; None where no image was asked
    by: a search by reports alone."""
    case: Case
    image: Image
    """The case's image that is nearest to the query."""
    other_images: int
    """Further images of this patient that are at least as similar as the last result's image."""
    places: tuple[ChannelPlace, ...]
    """One a channel."""
    alone: str
    """The one channel that has this case among its own first k, where several were asked; empty otherwise."""


@dataclass(frozen=True)
class ChannelAnswer:
    """One channel's own answer."""

    channel: str
    weight: float
    """Its share in the fusion, 0 to 1."""
    patients: tuple[str, ...]
    """Its own first k."""
    scores: tuple[float, ...]
    """Theirs, in the channel's own unit; of its first 5 where k is less."""
    query_type: str = ""
    """The type of query that it was to this channel: which calibration judges it (`Channel.query_types`)."""


@dataclass(frozen=True)
class Overlap:
    """How far two channels agree."""

    channels: tuple[str, str]
    shared: int
    """Patients that stand in both channels' first places."""
    of: int
    """How many places those are."""

    @property
    def disagree(self) -> bool:
        """Whether they share less than a fifth: what the results show then depends on whom one believes."""
        return self.shared * 5 < self.of


@dataclass(frozen=True)
class SearchResult:
    """The nearest cases, best first, at most one a patient, with all that is needed to say where they came from."""

    query: Query
    cases: tuple[RankedCase, ...]
    channels: tuple[ChannelAnswer, ...]
    """Those that answered; the first leads: it picks the image shown of a case."""
    overlaps: tuple[Overlap, ...]
    """One for each pair of channels."""
    rule: FusionRule
    """How the channels were joined."""
    generated: GeneratedQuery | None
    """The synthetic images that the text became, with those that were dropped; None where none were asked for."""
    timing: Timing
    encoder: str
    fingerprint: str
    notes: tuple[str, ...]
    """What a reader should know about this answer: the archive is empty, fewer cases match than were asked
    for …
    """
    vector: Vectors | None = field(default=None, compare=False, repr=False)
    """float32[1, d]: what the primary channel queried by; None where only reports were compared."""
    attributes: QueryAttributes = field(default_factory=QueryAttributes)
    """Site, reporting system and category of the query itself."""
    competing: CaseFilter | None = None
    """The filter that candidates passed: the query's, without its own case and patient."""

    @property
    def generation(self) -> Generation | None:
        """The synthetic images that asked."""
        return None if self.generated is None else self.generated.generation

    @property
    def where(self) -> CaseFilter | None:
        return self.query.where
