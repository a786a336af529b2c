"""Each channel encodes a query and ranks the archive's patients."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.arrays import Vectors
from retrieval.encoder.vectors import mean_query
from retrieval.errors import EncoderLoadError
from retrieval.search.channels.channel import Channel, Need, SearchMaterials
from retrieval.search.channels.own_cases import NEIGHBOURS
from retrieval.search.channels.registry import CHANNELS
from retrieval.search.fusion import POOL, FusionRule
from retrieval.search.group_by_patient import Ranking
from retrieval.search.query import Query
from retrieval.search.reports.report_index import ReportIndex
from retrieval.search.understood_query import UnderstoodQuery, UnderstoodText

if TYPE_CHECKING:
    from index_store import Archive, Role
    from retrieval.encoder.roles import RoleEncoders
    from retrieval.generated.checked_generation import GeneratedQuery
    from retrieval.search.slides.read_slide import QueriedSlide


@dataclass(frozen=True, eq=False)
class ChannelRankings:
    """The channels' rankings in one state of the archive."""

    rankings: Mapping[str, Ranking]
    """By channel, the primary one first."""
    primary_vector: Vectors | None
    """float32[1, d]: the first channel's that compares images; of a slide's fields, their mean."""
    primary_fingerprint: str
    """Of the encoder of that vector; empty where there is none."""
    encoded_at: float
    """`time.perf_counter` between encoding and ranking."""
    notes: tuple[str, ...]


def rank_channels(
    query: Query,
    understood: UnderstoodQuery,
    channels: Sequence[Channel],
    archive: Archive,
    encoders: RoleEncoders,
    *,
    generated: GeneratedQuery | None,
    slide: QueriedSlide | None = None,
    reports: Callable[[], ReportIndex],
    uncompared: Callable[[Role], int],
    rules: Mapping[str, FusionRule],
) -> ChannelRankings:
    """Encode the query by each channel, then rank the archive's patients by each.

    Args:
        channels: the primary one first.
        encoders: of each role, checked against the archive.
        generated: the images that the text became; None where no channel needs them.
        slide: the query's slide as it was read; None where there is none, or no channel compares it.
        reports: the index of the archive's reports, called when it is first used.
        uncompared: how many images a role's encoder has not embedded; called where it may lack some.
        rules: by name, for a channel that joins several ways to compare.

    Raises:
        EncoderLoadError: the query names a channel that needs a text tower, and there is none at hand.
    """
    text_vector, notes = _encode_text(query, understood.text, channels, encoders)
    at_least = max(query.k, NEIGHBOURS)  # novelty is judged by so many
    materials = SearchMaterials(
        archive=archive,
        encoders=encoders,
        generated=generated,
        slide=slide,
        text_vector=text_vector,
        reports=reports,
        uncompared=uncompared,
        rules=rules,
        at_least=at_least,
        pool=POOL if len(channels) > 1 else at_least,
    )
    vectors: dict[str, Vectors] = {}
    for channel in channels:
        vector = channel.encode(understood, materials)
        if vector is not None:
            fingerprint = encoders.fingerprint(channel.role)  # a vector is moved in the space of its own encoder
            vectors[channel.name] = understood.feedback.move(vector, archive, fingerprint)
    notes = (*notes, *dict.fromkeys(materials.noted), *(() if slide is None else slide.notes))
    encoded_at = time.perf_counter()
    rankings: dict[str, Ranking] = {}
    if archive.encoder is not None:  # else nothing was ever embedded
        for channel in channels:
            ranked = channel.rank(understood, vectors.get(channel.name), materials)
            if ranked is not None:
                rankings[channel.name] = ranked.ranking
                notes += ranked.notes
    primary = next((name for name in rankings if name in vectors), None)
    if primary is None:
        return ChannelRankings(rankings, None, "", encoded_at, notes)
    fingerprint = encoders.fingerprint(CHANNELS[primary].role)
    return ChannelRankings(rankings, mean_query(vectors[primary]), fingerprint, encoded_at, notes)


def _encode_text(
    query: Query, text: UnderstoodText | None, channels: Sequence[Channel], encoders: RoleEncoders
) -> tuple[Vectors | None, tuple[str, ...]]:
    """The text by the text tower, float32[1, d], where a channel uses it and there is one at hand; and notes."""
    if text is None or not any(Need.TEXT_TOWER in channel.needs | channel.uses for channel in channels):
        return None, ()
    try:
        if encoders.text is None:
            raise EncoderLoadError(encoders.missing)
        return encoders.text.encode_texts([text.tower]), text.notes
    except EncoderLoadError as error:
        if any(Need.TEXT_TOWER in CHANNELS[name].needs for name in query.channels):
            raise
        return None, (*text.notes, f"The text was not compared by its meaning. {error}")
