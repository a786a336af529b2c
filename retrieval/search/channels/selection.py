"""Which channels answer a query, and by which rule their rankings are fused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from retrieval.errors import QueryError
from retrieval.generated.measured_gain import GenerationDefault
from retrieval.search.channels.channel import Channel, Need
from retrieval.search.channels.registry import CHANNELS
from retrieval.search.fusion import FusionRule, default_rules
from retrieval.search.query import Query


@dataclass(frozen=True)
class Selection:
    """The channels that answer, the primary one first, and the rule that fuses them."""

    channels: tuple[Channel, ...]
    rule: FusionRule
    notes: tuple[str, ...] = ()
    """What a reader should know of the choice."""
    default: GenerationDefault | None = None
    """What decided on generated images; None where the caller or the query did, or none could be."""


def select_channels(
    query: Query,
    rules: Mapping[str, FusionRule],
    *,
    has_generator: bool,
    encoder_is_starter: bool,
    fingerprints: Mapping[str, str] | None = None,
    generate: bool | None = None,
    default: Callable[[], GenerationDefault | None] = lambda: None,
) -> Selection:
    """The channels that the query names; where it names none, those that it allows and that the rule weights.

    Args:
        rules: by what a query holds.
        has_generator: without one, a channel that needs generated images is left out.
        encoder_is_starter: whether the archive's encoder, of each role, is the one that the shipped weights were
            measured with.
        fingerprints: of the encoders at hand, by role. None: whether the rules were measured with them is not checked.
        generate: False leaves out what needs generated images, also where the query names it. None: it answers where
            the query names it, else by `default`.
        default: what decides then; called where it does.

    Raises:
        QueryError: a channel that the query names cannot answer.
    """
    rule = _rule(query, rules[query.rule])
    wanted = [
        CHANNELS[name]
        for name in query.possible_channels
        if (name in query.channels if query.channels else rule.weights.get(name, float(not CHANNELS[name].opt_in)) > 0)
    ]
    decided = None
    if generate is None and has_generator and generates(wanted) and not names_generation(query):
        decided = default()
    if generate is False or (decided is not None and not decided.generates):
        wanted = [channel for channel in wanted if Need.GENERATOR not in channel.needs]
    notes: tuple[str, ...] = ()
    without = [channel for channel in wanted if Need.GENERATOR in channel.needs and not has_generator]
    if without and query.channels:
        raise QueryError(
            f"This search has no generator, so a report cannot become images: leave `{without[0].name}` out."
        )
    if without:
        notes = ("No images were generated from the report: this search has no generator.",)
    answering = tuple(channel for channel in wanted if channel not in without)
    shipped = rules[query.rule] == default_rules().get(query.rule)
    if len(answering) > 1 and not query.weights and shipped and not encoder_is_starter:
        notes += (
            "The channels' weights were measured with the starter, and this archive has another encoder: "
            "`coin evaluate --choose-fusion` chooses them for it.",
        )
    elif len(answering) > 1 and not query.weights and not _fits(rules[query.rule], answering, fingerprints):
        notes += (
            "The channels' weights were measured with other encoders than this archive's: `coin evaluate "
            "--choose-fusion` chooses them anew.",
        )
    return Selection(answering, rule, notes, decided)


def generates(channels: Sequence[Channel]) -> bool:
    """Whether one of these channels needs generated images."""
    return any(Need.GENERATOR in channel.needs for channel in channels)


def names_generation(query: Query) -> bool:
    """Whether the query itself asks for generated images, by a channel or by its weight."""
    return generates([CHANNELS[name] for name in (*query.channels, *(n for n, weight in query.weights if weight > 0))])


def _fits(rule: FusionRule, channels: tuple[Channel, ...], fingerprints: Mapping[str, str] | None) -> bool:
    """Whether nothing says that a rule was measured with another encoder than one that these channels compare by."""
    measured, at_hand = rule.encoders, fingerprints or {}
    roles = {channel.role for channel in channels} & measured.keys() & at_hand.keys()
    return all(measured[role] == at_hand[role] for role in roles)


def _rule(query: Query, rule: FusionRule) -> FusionRule:
    """The rule with what the query says in its place."""
    weights = {**rule.weights, **dict(query.weights)}
    if query.channels and not query.weights and not any(weights.get(name, 1.0) for name in query.channels):
        weights |= dict.fromkeys(query.channels, 1.0)  # named by the query: what the rule leaves out
    return FusionRule(query.fusion or rule.method, weights)
