"""What a choice of a fusion rule is: the rule, what it was chosen on, and what it is worth on the other half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from retrieval.search.channels.channel import Need
from retrieval.search.channels.registry import CHANNELS
from retrieval.search.fusion import FusionRule, rule_text
from retrieval.statistics.estimate import Estimate


@dataclass(frozen=True)
class Compared:
    """Another rule on the held-out half, beside the chosen one."""

    name: str
    """A channel alone, "equal weights" or "as before"."""
    precision: Estimate
    chosen_minus: Estimate
    """The chosen rule's figure minus this one, in the same resamples."""


@dataclass(frozen=True)
class Contribution:
    """What one channel adds to the chosen rule, on the held-out half."""

    channel: str
    weight: float
    """In the chosen rule; 0: on the tuning half the rule was better without it."""
    gain: Estimate
    """P@10 with the channel minus P@10 without it, in the same resamples."""

    @property
    def words(self) -> str:
        """In one sentence."""
        gain = self.gain.text(sign="+")
        if self.weight:
            return f"`{self.channel}` adds {gain}."
        return f"`{self.channel}` earns nothing on this archive and has weight 0: with it {gain}."


@dataclass(frozen=True)
class FusionChoice:
    """How channels should be fused for one kind of query, and what that is worth."""

    name: str
    """As in the file of rules: "report", "text" or "text and image"."""
    rule: FusionRule
    channels: tuple[str, ...]
    tried: int
    """Rules that were compared."""
    why: str
    choosing_queries: int
    choosing_patients: int
    choosing: Estimate
    """Its P@10 of the category on the tuning half."""
    measured_queries: int
    measured_patients: int
    measured: Estimate
    """Its P@10 on the held-out half."""
    compared: tuple[Compared, ...]
    contributions: tuple[Contribution, ...] = ()
    """One a channel, but for one that is left alone."""


_TO_MEASURE: Final = {
    Need.GENERATOR: " (--generate N measures it)",
    Need.TEXT_TOWER: " (it needs an encoder that reads texts)",
}


def rules_text(choices: Sequence[FusionChoice], rules: Mapping[str, FusionRule]) -> str:
    """A file in the layout of `fusion_rules.toml`: the chosen rules, each with what it was chosen on, and the rest."""
    chosen = {choice.name: choice for choice in choices}
    lines = ["# How channels are fused, by what the query holds. Written by `coin evaluate --choose-fusion`."]
    for name in dict.fromkeys([*rules, *chosen]):
        rule = chosen[name].rule if name in chosen else rules[name]
        # A channel that is not named would weigh 1, though it was not measured.
        unmeasured = (
            [channel for channel in rules[name].weights if channel not in rule.weights] if name in rules else []
        )
        lines.append("")
        if name in chosen:
            choice = chosen[name]
            lines += [
                f"# Chosen among {choice.tried} rules on {choice.choosing_queries} queries of "
                f"{choice.choosing_patients} patients: P@10 {choice.choosing}",
                f"# ({choice.why}).",
                f"# On the {choice.measured_queries} queries of the other {choice.measured_patients} patients: P@10 "
                f"{choice.measured}.",
                *(f"# {contribution.words}" for contribution in choice.contributions if not contribution.weight),
                *(
                    f"# `{channel}` was not measured{_to_measure(channel)}, so it has no weight."
                    for channel in unmeasured
                ),
            ]
        named = {**rule.weights, **dict.fromkeys(unmeasured, 0.0)}
        lines += rule_text(name, FusionRule(rule.method, named, rule.encoders))
    return "\n".join(lines) + "\n"


def _to_measure(channel: str) -> str:
    """What the evaluation would have needed, in brackets."""
    needs = CHANNELS[channel].needs if channel in CHANNELS else frozenset()  # "words" and "meaning" are none
    return "".join(words for need, words in _TO_MEASURE.items() if need in needs)
