"""Every channel, in the order in which they are shown: the first of a query picks the images shown of a case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from index_store import COLOUR
from retrieval.search.channels.channel import Channel, Need
from retrieval.search.channels.colour import ColourChannel
from retrieval.search.channels.generated import GeneratedChannel
from retrieval.search.channels.image import ImageChannel
from retrieval.search.channels.joint import JointChannel
from retrieval.search.channels.report import ReportChannel

CHANNELS: Final[Mapping[str, Channel]] = {
    channel.name: channel
    for channel in (ImageChannel(), GeneratedChannel(), JointChannel(), ReportChannel(), ColourChannel())
}
"""By name."""


def channel_label(name: str) -> str:
    """What to call a channel before readers."""
    return CHANNELS[name].label if name in CHANNELS else name


def usable_channels(*, generator: bool, images: bool, texts: bool) -> dict[str, bool]:
    """By channel, whether it can answer with such models: a generator, and an encoder that reads images, and texts.
    Without those that need no model."""
    there = {Need.TEXT, Need.PICTURE}
    there |= {need for need, has in ((Need.GENERATOR, generator), (Need.TEXT_TOWER, texts)) if has}
    return {
        name: channel.needs <= there and (images or not channel.compares_images)
        for name, channel in CHANNELS.items()
        if channel.role != COLOUR
    }


def query_type_label(query_type: str) -> str:
    """What to call a type of query before readers."""
    return CHANNELS[channel_of_query_type(query_type)].query_types[query_type]


def channel_of_query_type(query_type: str) -> str:
    """The name of the channel that this type of query is answered by."""
    return next(name for name, channel in CHANNELS.items() if query_type in channel.query_types)
