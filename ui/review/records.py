"""A review: the cases that a user pinned, with notes and ticks, and how a search had found each.

It names cases by key and holds no report and no picture: what is removed from the archive is gone from reviews, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ui.text.score import ScoreScale, score_parts
from ui.text.search import rank_text

if TYPE_CHECKING:
    from retrieval import ChannelRank

VERSION: Final = 1
"""Of the JSON layout. A reader refuses a newer one."""
RELEVANT: Final = "relevant"
TICKS: Final = (RELEVANT, "wrong site", "wrong stain", "poor")
"""What can be ticked of a case."""


@dataclass(frozen=True)
class Versions:
    """With what a result was made."""

    software: str
    revision: int
    """The archive's; grows with every change."""
    encoder: str
    fingerprint: str
    text_encoder: str = ""
    text_fingerprint: str = ""
    base: str = ""
    """Of the generated images; empty where there were none."""
    base_fingerprint: str = ""
    lora: str = ""
    lora_fingerprint: str = ""


@dataclass(frozen=True)
class SyntheticImage:
    """An image that was generated for the query."""

    seed: int
    path: str
    """In the cache of generated images; empty where none was written."""


@dataclass(frozen=True)
class Found:
    """How a search had found a case when it was pinned."""

    query: str
    """The name under which the query is kept (`Reviews.query`)."""
    with_report: bool
    """Whether its text was the report of the case that queried; that is in the archive, and not kept here."""
    rank: int
    channels: tuple[ChannelRank, ...]
    image_id: int
    """The case's image that was nearest."""
    versions: Versions
    synthetic: tuple[SyntheticImage, ...] = ()
    score: float | None = None
    """As of `RankedCase`; None, like `scale`, where an earlier version kept it."""
    scale: ScoreScale | None = None
    shares: tuple[float, ...] = ()
    """Of the channels in the score."""
    lead: str = ""
    """Why it stood before others whatever their scores; empty where it did not."""

    @property
    def score_text(self) -> str:
        """The number by which the result was ordered, as its card showed it; empty where it was not kept."""
        return "" if self.scale is None or self.score is None else self.scale.text(self.score)

    @property
    def made_of(self) -> tuple[str, ...]:
        """What each channel added to that number, as its card showed it; the places alone where it was not kept."""
        if self.scale is None:
            return tuple(map(rank_text, self.channels)) if len(self.channels) > 1 else ()
        return tuple(part.text for part in score_parts(self.channels, self.shares, self.scale))


@dataclass(frozen=True)
class Pin:
    """A pinned case."""

    case: str
    pinned: str
    """When; ISO 8601, UTC."""
    note: str = ""
    ticks: tuple[str, ...] = ()
    found: Found | None = None
    """None where it was pinned from its own page."""

    @property
    def is_relevant(self) -> bool | None:
        """What the ticks say of it; None where nothing is ticked."""
        return RELEVANT in self.ticks if self.ticks else None


@dataclass(frozen=True)
class Review:
    """The cases that a user pinned, in the user's order."""

    name: str
    user: str
    note: str = ""
    """On the whole."""
    pins: tuple[Pin, ...] = ()
    unpinned: tuple[Pin, ...] = ()
    """Taken from the tray: a case that is pinned again has its note and ticks again."""

    def pin_of(self, case: str) -> Pin | None:
        """The pin of a case; None where it is not pinned."""
        return next((pin for pin in self.pins if pin.case == case), None)


def review_to_dict(review: Review) -> dict[str, Any]:
    """The review as plain JSON values, which `review_from_dict` reads."""
    return {"version": VERSION, **dataclasses.asdict(review)}


def review_from_dict(document: Mapping[str, Any]) -> Review:
    """What `review_to_dict` wrote, also after a way through JSON. Raises KeyError, TypeError or ValueError where it is
    none."""
    values = dict(document)
    if values.pop("version") != VERSION:
        raise ValueError("it was kept by another version of this software")
    for name in ("pins", "unpinned"):
        values[name] = tuple(_pin(pin) for pin in values[name])
    review = Review(**values)
    if not all(isinstance(text, str) for text in (review.name, review.user, review.note)):
        raise TypeError("a text is none")
    return review


def _pin(values: dict[str, Any]) -> Pin:
    found = values["found"]
    pin = Pin(**{**values, "ticks": tuple(values["ticks"]), "found": None if found is None else _found(found)})
    if not all(isinstance(text, str) for text in (pin.case, pin.pinned, pin.note, *pin.ticks)):
        raise TypeError("a text is none")
    return pin


def _found(values: dict[str, Any]) -> Found:
    from retrieval import ChannelRank

    values.pop("similarity", None)  # an earlier version kept that of one channel
    return Found(
        **{
            **values,
            "channels": tuple(ChannelRank(**rank) for rank in values["channels"]),
            "versions": Versions(**values["versions"]),
            "synthetic": tuple(SyntheticImage(**image) for image in values["synthetic"]),
            "scale": ScoreScale(**values["scale"]) if values.get("scale") else None,
            "shares": tuple(values.get("shares", ())),
        }
    )
