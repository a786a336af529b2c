"""The score that a result is ordered by, on a scale for readers, and what it is made of.

Scores joined by ranks are sums of weight / (60 + rank), at most 1 / 61: shown as points, of which 100 are the first
place by every channel. Normalised scores are standard deviations, and one channel that compares pictures gives a
cosine: both are shown as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from retrieval import ChannelRank, FusionRule, RankedCase, SearchResult

RAISED: Final = "Reports that contain the query's words come first; their number is raised for it."


def channel_name(channel: str) -> str:
    """A channel's name for readers. The channels are loaded when the first name is wanted."""
    from retrieval import channel_label

    return channel_label(channel)


@dataclass(frozen=True)
class ScoreScale:
    """The unit of a result's scores."""

    unit: str
    """ "points", "SD" (standard deviations) or "similarity"."""
    words: str
    """What the cases are ordered by, as a sentence."""

    def text(self, score: float) -> str:
        """A score with its unit: "96.4 points", "+2.31 SD", "similarity 0.912"."""
        if self.unit == "points":
            from retrieval import RRF_CONSTANT

            return f"{score * 100 * (RRF_CONSTANT + 1):.1f} points"
        return f"{score:+.2f} SD" if self.unit == "SD" else f"similarity {score:.3f}"

    def part(self, score: float) -> str:
        """A part of a score, without its unit."""
        return self.text(score).removeprefix("similarity ").partition(" ")[0]


@dataclass(frozen=True)
class ScorePart:
    """What one channel added to a score."""

    channel: str
    place: str
    """By this channel alone, as "#3"; "–" beyond those that count."""
    added: str
    of: str
    """The most it can add, where there is such a limit."""
    similarity: float | None
    """Cosine, where the channel compares with images."""

    @property
    def text(self) -> str:
        """In a line: "generated images: 32.8 of 33, place #1, similarity 0.702"."""
        of = f" of {self.of}" if self.of else ""
        similarity = "" if self.similarity is None else f", similarity {self.similarity:.3f}"
        return f"{self.channel}: {self.added}{of}, place {self.place}{similarity}"


def score_scale(result: SearchResult, report_rule: FusionRule) -> ScoreScale:
    """The scale of a result's scores. `report_rule`: by which the two ways to compare reports are joined."""
    unit, words = _unit(result, report_rule)
    return ScoreScale(unit, f"{words} {RAISED}" if any(lead(ranked, result) for ranked in result.cases) else words)


def _unit(result: SearchResult, report_rule: FusionRule) -> tuple[str, str]:
    names = {answer.channel: channel_name(answer.channel) for answer in result.channels}
    if len(names) == 1:
        ((channel, name),) = names.items()
        if _compares_images(channel):
            return "similarity", f"Ordered by the cosine similarity of the channel “{name}”: 1 is identical."
        if report_rule.method == "rrf":
            return "points", "Ordered by points for the places by words and by meaning: 100 is first by both."
        return "SD", "Ordered by standard deviations above the mean of the archive's reports."
    shares = ", ".join(f"{names[answer.channel]} {answer.weight:.0%}" for answer in result.channels)
    if result.rule.method == "rrf":
        first = f"Ordered by points for the place in each channel: 100 is first in all of them ({shares})"
        return "points", f"{first}; place 62 gets half as many."
    return "SD", f"Ordered by standard deviations (SD) above the mean of each channel's first 500 patients ({shares})."


def channel_shares(ranked: RankedCase, result: SearchResult) -> tuple[float, ...]:
    """The share in the fusion of each channel that ranked a case, 0 to 1."""
    weights = {answer.channel: answer.weight for answer in result.channels}
    return tuple(weights[rank.channel] for rank in ranked.channel_ranks)


def score_parts(ranks: Sequence[ChannelRank], shares: Sequence[float], scale: ScoreScale) -> list[ScorePart]:
    """What each channel, with its share, added to the score of a case; they sum to it. Empty where one channel alone
    answered."""
    return [_part(rank, share, scale) for rank, share in zip(ranks, shares, strict=True)] if len(ranks) > 1 else []


def _part(rank: ChannelRank, share: float, scale: ScoreScale) -> ScorePart:
    place = "–" if rank.rank is None else f"#{rank.rank}"
    raised = float(scale.part(rank.part)) > share * 100  # with the case, over others: the limit does not hold
    of = f"{share * 100:.0f}" if scale.unit == "points" and not raised else ""
    similarity = rank.score if _compares_images(rank.channel) else None
    return ScorePart(channel_name(rank.channel), place, scale.part(rank.part), of, similarity)


def lead(ranked: RankedCase, result: SearchResult) -> str:
    """Why a case stands before others whatever their scores: its report contains the query's words. Else empty."""
    weighs = any(answer.weight and not _compares_images(answer.channel) for answer in result.channels)
    if not (ranked.contains_words and weighs):
        return ""
    return "Its report contains the query's words: such cases come before all others, and their score is raised for it."


def _compares_images(channel: str) -> bool:
    from retrieval import CHANNELS

    return CHANNELS[channel].compares_images
