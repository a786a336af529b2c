"""Whether generated images help on an archive: what an evaluation measured, kept with the archive.

    <archive>/generated_gain.json

It holds no record and no report. It applies to the weights and encoders that it was measured with, and to no others.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from generation import write_atomic
from retrieval.statistics.estimate import Estimate

if TYPE_CHECKING:
    from generation import CoinGenerator
    from index_store import Archive

FILE: Final = "generated_gain.json"


@dataclass(frozen=True)
class MeasuredGain:
    """P@10 of the category by all channels of a text, with generated images minus without them."""

    date: str
    """Of the measurement, "2026-11-30"."""
    queries: int
    gain: Estimate
    weights: str
    """The generator's fingerprint."""
    encoders: Mapping[str, str]
    """By role, the fingerprint of the encoder that compared."""

    @property
    def words(self) -> str:
        """The figure, with its interval, number of cases and date."""
        return f"P@10 {self.gain.text(sign='+')} with them, measured on {self.queries} cases, {self.date}"


@dataclass(frozen=True)
class GenerationDefault:
    """Whether images are generated for a query that does not say so, and why."""

    generates: bool
    words: str
    """In a sentence."""
    is_measured: bool
    """Whether a measurement applies: `coin evaluate --generate` makes one."""


def keep_gain(archive: Archive, measured: MeasuredGain) -> None:
    """Keep it in the place of what was measured before. Raises OSError where the disk refuses."""
    write_atomic(archive.path / FILE, (json.dumps(dataclasses.asdict(measured), indent=1) + "\n").encode())


def read_gain(archive: Archive) -> MeasuredGain | None:
    """What was measured last; None where nothing was, or the file cannot be read."""
    try:
        values = json.loads((archive.path / FILE).read_text("utf-8"))
        gain = Estimate(**{name: float(value) for name, value in values.pop("gain").items()})
        return MeasuredGain(**values, gain=gain)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def generation_default(archive: Archive, generator: CoinGenerator, encoders: Mapping[str, str]) -> GenerationDefault:
    """Whether this generator is used on this archive unless a query says so: where the interval shows a gain, or
    nothing was measured that applies.

    Args:
        encoders: by role, the fingerprint of the encoder at hand.
    """
    known = read_gain(archive)
    if known is None:
        return GenerationDefault(True, "Whether generated images help on this archive was not measured.", False)
    if known.weights != generator.fingerprint or any(known.encoders.get(role) != by for role, by in encoders.items()):
        return GenerationDefault(
            True,
            "Whether generated images help on this archive was measured with other weights than these "
            f"({known.date}), so that it says nothing of them.",
            False,
        )
    if known.gain.low > 0:
        return GenerationDefault(True, f"Generated images help on this archive ({known.words}).", True)
    return GenerationDefault(
        False,
        f"Generated images are not seen to help on this archive ({known.words}), so none are made unless asked for.",
        True,
    )
