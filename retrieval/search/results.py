"""What a search returns: plain frozen records, which the view shows and `json_export` writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retrieval.search.fusion import FusionRule
from retrieval.search.query import Query
from retrieval.search.slides.read_slide import QueriedSlide
from retrieval.search.understood_query import QueryAttributes

if TYPE_CHECKING:
    from generation import Generation
    from index_store import Case, CaseFilter, Image, SlidePlace
    from retrieval.arrays import Vectors
    from retrieval.generated.checked_generation import GeneratedQuery
    from retrieval.generated.measured_gain import GenerationDefault


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
        """Seconds in all."""
        return self.generate_s + self.embed_s + self.search_s


@dataclass(frozen=True)
class ChannelRank:
    """Where one channel ranks a result, and what that added to its score."""

    channel: str
    rank: int | None
    """From 1, by this channel alone; None where it is not among the first 500 patients of the channel."""
    score: float | None
    """In the channel's own unit. `image`, `generated`, `joint`: cosine similarity, from -1 to 1. `report`: BM25 and
    text-tower similarity, joined by the rule "report": by "rrf" (as shipped) the sum of weight / (60 + rank) over all
    reports, by "score" standard deviations above their mean.
    """
    part: float
    """What it added to the result's score, in the unit of that score; the parts sum to it."""


@dataclass(frozen=True)
class MatchedField:
    """A field of the query's slide, and the image of the patient that it is nearest to."""

    field: SlidePlace
    image: Image
    similarity: float
    """Cosine, from -1 to 1."""


@dataclass(frozen=True)
class RankedCase:
    """One patient among the results, represented by the case that added most to its score."""

    rank: int
    """From 1."""
    score: float
    """What the order was made by. It is no probability: compare it within one result, never between queries.

    - One channel: that channel's score (`ChannelRank.score`).
    - Several, joined by "score": standard deviations, the weighted mean of each channel's scores at zero mean and unit
      variance over its first 500 patients. 0 is the mean of those; good results have some 1 to 4.
      Cases whose report contains the query's words are raised above the others, all by the same amount.
    - Several, joined by "rrf": the sum of weight / (60 + rank), weights summing to 1: from 0 to 1 / 61.
    """
    similarity: float | None
    """Cosine similarity of the image to the query in the primary channel, from -1 to 1; where the fields of a slide
    query, that of the patient (`SlideQuery.match`). None where only reports were compared."""
    case: Case
    image: Image
    """The case's image that is nearest to the query."""
    other_images: int
    """Further images of this patient that are at least as similar as the last result's image."""
    channel_ranks: tuple[ChannelRank, ...]
    """One a channel."""
    only_channel: str
    """The one channel that has this case among its own first k, where several answered; empty otherwise."""
    contains_words: bool = False
    """Whether the case's report contains the query's words, all but function words: such cases come before others."""
    matches: tuple[MatchedField, ...] = ()
    """Where a slide queries: its fields that are nearest to images of this patient, best first, each with another
    image."""


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
    """Patients that are among the first of both channels."""
    of: int
    """How many first patients those are."""

    @property
    def disagree(self) -> bool:
        """Whether they share less than a fifth: the results then depend on the weights."""
        return self.shared * 5 < self.of


@dataclass(frozen=True)
class SearchResult:
    """The nearest cases, best first, at most one a patient, with all that is needed to say where they came from."""

    query: Query
    cases: tuple[RankedCase, ...]
    channels: tuple[ChannelAnswer, ...]
    """Those that answered, the primary one first: it picks the image shown of a case."""
    overlaps: tuple[Overlap, ...]
    """One for each pair of channels."""
    rule: FusionRule
    """How the channels were joined."""
    generated: GeneratedQuery | None
    """The synthetic images that the text became, with those that were dropped; None where no channel used any."""
    timing: Timing
    encoder: str
    fingerprint: str
    notes: tuple[str, ...]
    """Notes on this result: the archive is empty, fewer cases match than were requested …
    """
    vector: Vectors | None = field(default=None, compare=False, repr=False)
    """float32[1, d]: what the primary channel queried by, of a slide the mean of its fields; None where only reports
    were compared."""
    attributes: QueryAttributes = field(default_factory=QueryAttributes)
    """Site, reporting system and category of the query itself."""
    vector_fingerprint: str = ""
    """Of the encoder of `vector`; empty where there is none."""
    text_encoder: str = ""
    """The encoder that compared texts, where it is another than `encoder`; empty otherwise."""
    text_fingerprint: str = ""
    """Its fingerprint."""
    slide: QueriedSlide | None = None
    """The query's slide as it was read; None where there is none, or no channel compares it."""
    competing: CaseFilter | None = None
    """The filter that candidates passed: the query's, without its own case and patient."""
    not_understood: str = ""
    """Why the query's text is not understood, as half a sentence: its nearest cases say nothing then. Empty where it
    is, or where there is none."""

    generation_default: GenerationDefault | None = None
    """Why images were generated, or not, for a query that does not say so; None where it does, or none could be."""

    @property
    def warning(self) -> str:
        """What must be read before the cases: that the text is not understood. Empty where it is."""
        if not self.not_understood:
            return ""
        return (
            f"The query is not understood: {self.not_understood}. The cases below are ordered by numbers alone; "
            "what they have in common says nothing."
        )

    @property
    def generation(self) -> Generation | None:
        """The synthetic images that were searched by."""
        return None if self.generated is None else self.generated.generation

    @property
    def where(self) -> CaseFilter | None:
        """The query's filter."""
        return self.query.where
