"""Every channel, in the order in which they are shown: the first of a query picks the images shown of a case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from retrieval.search.channels.channel import Channel
from retrieval.search.channels.generated import GeneratedChannel
from retrieval.search.channels.image import ImageChannel
from retrieval.search.channels.joint import JointChannel
from retrieval.search.channels.report import ReportChannel

CHANNELS: Final[Mapping[str, Channel]] = {
    channel.name: channel for channel in (ImageChannel(), GeneratedChannel(), JointChannel(), ReportChannel())
}
"""By name."""


def channel_label(name: str) -> str:
    """What to call a channel before readers."""
    return CHANNELS[name].label if name in CHANNELS else name


def channel_of_query_type(query_type: str) -> str:
    """The name of the channel that this type of query is answered by."""
    return next(name for name, channel in CHANNELS.items() if query_type in channel.query_types)
