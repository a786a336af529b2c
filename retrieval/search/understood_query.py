"""A query as the channels read it: its text read once, and the cases that it names looked up in the archive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from generation.prompts.glossary import Replacement, in_words
from retrieval.language.label_extraction import ReportReading
from retrieval.search.relevance_feedback import RelevanceFeedback

if TYPE_CHECKING:
    from index_store import Case, CaseFilter
    from retrieval.search.region import Region
    from retrieval.search.slides.slide_query import SlideQuery


@dataclass(frozen=True)
class QueryAttributes:
    """Site, reporting system and category of the query itself; empty where they are not known."""

    site: str = ""
    system: str = ""
    category: str = ""
    by: str = ""
    """What states them: "case" (its record) or "report"; empty where nothing is known."""


@dataclass(frozen=True)
class UnderstoodText:
    """A report text in the form that each of its readers takes."""

    generator: str
    """For the generator: without advice, signatures and the like."""
    tower: str
    """For the encoder's text tower: likewise, machine-translated wordings replaced."""
    words: str
    """For BM25: the whole text, followed by what its machine-translated wordings mean."""
    contained: tuple[str, ...]
    """The different terms of the text (`content_words`), machine-translated wordings replaced: a report that holds them
    all contains the query's words, and comes before those that do not."""
    reading: ReportReading
    """Site, system and category that the text states."""
    replaced: tuple[Replacement, ...] = ()
    """The machine-translated wordings that were understood."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know where the text is compared with images or reports."""
        if not self.replaced:
            return ()
        return (f"Understood by the glossary, where reports are compared: {in_words(self.replaced)}.",)


@dataclass(frozen=True, eq=False)
class UnderstoodQuery:
    """What the channels encode and rank by."""

    text: UnderstoodText | None
    site: str
    """The site that the query states for generated images; empty: that of the text."""
    image: bytes
    """An image file; empty where the query holds none."""
    label: str
    mpp: float | None
    """The scale of the image file as the query states it, in µm a pixel."""
    slide: SlideQuery | None
    """A whole slide, or a part of it, in the place of the image."""
    case: Case | None
    image_id: int | None
    """One image of the case, instead of all of them."""
    region: Region | None
    """A part of the image, instead of all of it."""
    feedback: RelevanceFeedback
    where: CaseFilter | None
    """The query's filter. None: no restriction."""
    competing: CaseFilter | None
    """The filter that candidates pass: `where`, without the query's own case and patient."""
    attributes: QueryAttributes
    problem: str = ""
    """Why the text is not understood (`query_problem`); empty where it is, or where there is none."""
