"""Several channels become one ranking.

Channels measure in different units: a cosine between two images, one between a text and an image, a BM25 score. They
are joined either by their ranks alone or by scores brought to one scale. Both work on many queries at once, so that
evaluation and search are the same computation.

One thing is not weighed: a report that contains the query's words comes before those that do not (`first`), in the
channel and in the joined ranking, whatever the other channels say.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from retrieval.arrays import Bools
from retrieval.errors import QueryError

Scores = npt.NDArray[np.floating[Any]]
Method = Literal["rrf", "score"]

RRF_CONSTANT: Final = 60
"""Cormack, Clarke and Büttcher, SIGIR 2009: the constant found there, and the field's default since."""
POOL: Final = 500
"""Ranks of each channel that count. Fixed, so that the best 10 are the first of the best 20."""
MARGIN: Final = 1e-3
"""How far what comes first is raised above the rest, in parts of the range of the scores."""
_RULES: Final = Path(__file__).with_name("fusion_rules.toml")


@dataclass(frozen=True)
class FusionRule:
    """How channels are joined: weighted reciprocal ranks, or weighted normalised scores.

    Weights need not sum to 1: only their ratios over the channels at hand matter. A channel of weight 0 is shown, and
    moves nothing.
    """

    method: Method = "rrf"
    weights: Mapping[str, float] = field(default_factory=dict)
    """By channel; one that is not named weighs 1."""
    encoders: Mapping[str, str] = field(default_factory=dict, compare=False)
    """By role ("image", "text"), the fingerprint of the encoder that the weights were measured with. Empty: the rule
    does not say."""

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise QueryError(f"There is no fusion '{self.method}': choose one of {', '.join(get_args(Method))}.")
        for channel, weight in self.weights.items():
            if not (np.isfinite(weight) and weight >= 0):
                raise QueryError(f"The weight of '{channel}' is {weight}: it must be a number from 0 upwards.")

    def shares(self, channels: tuple[str, ...]) -> dict[str, float]:
        """The weights of these channels, summing to 1. Raises QueryError where all of them are 0."""
        weights = {channel: float(self.weights.get(channel, 1.0)) for channel in channels}
        total = sum(weights.values())
        if not total > 0:
            raise QueryError(f"All of {', '.join(channels)} have weight 0: give one of them a weight above 0.")
        return {channel: weight / total for channel, weight in weights.items()}

    def words(self, channels: tuple[str, ...]) -> str:
        """The rule for these channels, in words."""
        kind = {"rrf": "reciprocal ranks", "score": "normalised scores"}[self.method]
        return f"{kind}, " + ", ".join(f"{channel} {self.weights.get(channel, 1.0):g}" for channel in channels)


@dataclass(frozen=True, eq=False)
class Fused:
    """b queries against p candidates."""

    scores: Scores
    """float64[b, p], higher is better, in the unit that `fuse` states; -inf for what no channel found."""
    parts: Mapping[str, Scores]
    """By channel, float64[b, p]: what it added to each score. They sum to the scores."""
    ranks: Mapping[str, Scores]
    """By channel, float64[b, p], from 1, equal scores sharing the better rank; inf beyond the first `pool` ranks."""
    found: Mapping[str, Bools]
    """By channel, bool[b, p]: the candidates that the channel makes a result."""
    first: Mapping[str, Bools]
    """By channel, bool[b, p]: the candidates that come before all others, where the channel has any weight."""
    weighed: Mapping[str, Scores]
    """The parts before those candidates were raised."""

    def reweighted(self, shares: Mapping[str, float]) -> Fused:
        """This fusion, made with equal weights, with these shares in their place: scores are sums of weighted parts."""
        parts = {name: part * (len(shares) * shares[name]) for name, part in self.weighed.items()}
        return _summed(parts, self.ranks, self.found, self.first, shares)

    def leading(self, shares: Mapping[str, float]) -> dict[str, Bools]:
        """Those of `first`, bool[b, p], whose channel has weight."""
        return {name: mask for name, mask in self.first.items() if shares[name] > 0}


def fuse(
    rule: FusionRule,
    channels: Mapping[str, Scores],
    *,
    pool: int = POOL,
    first: Mapping[str, Bools] | None = None,
    zero_is_none: Collection[str] = (),
    ranked: bool = True,
) -> Fused:
    """Fuse the scores that each channel gives to the same candidates. Weights are scaled to sum to 1.

    "rrf": the sum of weight / (60 + rank) (Cormack et al. 2009, weighted), from 0 to 1 / 61. "score": the weighted sum
    of each channel's scores at zero mean and unit variance over its first ranks (Montague and Aslam, CIKM 2001), in
    standard deviations; a candidate beyond them counts as the last of them.

    Args:
        channels: by name, float[b, p]; -inf where the channel gives no score.
        pool: how many ranks of a channel count. Candidates beyond those of every channel are no result.
        first: by channel, bool[b, p]: candidates that come before all others where the channel has any weight. Their
            scores are raised above the others', all of a query by the same amount, as a part of that channel.
        zero_is_none: channels whose score 0 says that they found nothing: it counts as a score, against which what was
            found stands out, but makes no candidate a result.
        ranked: False: the ranks are not needed, and all candidates are in the pool. By "score" they are then all 1.
    """
    shares = rule.shares(tuple(channels))
    if ranked or rule.method == "rrf":
        ranks = {channel: _ranks(scores, pool) for channel, scores in channels.items()}
    else:
        ranks = {channel: np.where(np.isfinite(scores), 1.0, np.inf) for channel, scores in channels.items()}
    parts: dict[str, Scores] = {}
    for channel, scores in channels.items():
        part = 1.0 / (RRF_CONSTANT + ranks[channel]) if rule.method == "rrf" else _normalised(scores, ranks[channel])
        parts[channel] = shares[channel] * part
    found = {
        channel: np.isfinite(ranks[channel]) & (scores != 0.0 if channel in zero_is_none else True)
        for channel, scores in channels.items()
    }
    return _summed(parts, ranks, found, first or {}, shares)


def raised(scores: Scores, first: Bools) -> Scores:
    """Scores float[b, p] with those of `first`, bool[b, p], raised above all others (`_lead`)."""
    return scores + np.where(first & np.isfinite(scores), _rise_above(scores, first), 0.0).astype(scores.dtype)


def _summed(
    parts: Mapping[str, Scores],
    ranks: Mapping[str, Scores],
    found: Mapping[str, Bools],
    first: Mapping[str, Bools],
    shares: Mapping[str, float],
) -> Fused:
    result = np.logical_or.reduce([found[name] for name, share in shares.items() if share > 0])
    total = np.where(result, sum(parts.values()), -np.inf)
    raised_parts = dict(parts)
    leading = [name for name in first if shares[name] > 0]
    if leading:
        ahead = np.logical_or.reduce([first[name] for name in leading]) & result
        rise = np.where(ahead, _rise_above(total, ahead), 0.0)
        raised_parts[leading[0]] = parts[leading[0]] + rise
        total = np.where(result, sum(raised_parts.values()), -np.inf)
    return Fused(total, raised_parts, ranks, found, first, parts)


def _rise_above(scores: Scores, first: Bools) -> Scores:
    """By how much the scores float[b, p] of `first`, bool[b, p], must rise to be above all others: float[b, 1].

    0 where they are already. Relative to the range of the scores, so that their unit makes no difference.
    """
    known = np.isfinite(scores)
    low, high = np.where(known, scores, np.inf), np.where(known, scores, -np.inf)
    lowest = np.where(first, low, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    highest = np.where(first, -np.inf, high).max(axis=1, keepdims=True, initial=-np.inf)
    both = np.isfinite(lowest) & np.isfinite(highest)
    behind = np.subtract(highest, lowest, out=np.full(lowest.shape, -1.0), where=both)
    span = np.subtract(high.max(axis=1, keepdims=True, initial=-np.inf), low.min(axis=1, keepdims=True, initial=np.inf))
    margin = MARGIN * np.where(np.isfinite(span) & (span > 0), span, 1.0)
    return np.where(behind >= 0, behind + margin, 0.0)


def _ranks(scores: Scores, pool: int) -> Scores:
    """Ranks from 1; equal scores share the better one, so that the order of the candidates decides nothing."""
    ranks = np.full(scores.shape, np.inf)
    if not scores.shape[1]:
        return ranks
    for row, given in zip(ranks, scores, strict=True):
        order, changes = _best_first(given)
        finite = int(np.isfinite(given).sum())
        order, changes = order[:finite], changes[:finite]
        first = np.flatnonzero(changes)
        last = np.searchsorted(first, min(pool, len(order)) - 1, side="right")  # the run of equals that ends the pool
        ends = np.append(first, len(order))[1 : last + 1]
        if len(ends):
            row[order[: ends[-1]]] = np.repeat(first[:last] + 1.0, ends - first[:last])
    return ranks


def _best_first(scores: Scores) -> tuple[npt.NDArray[np.int64], Bools]:
    """The order of scores, float[n], descending, of equals in any; and bool[n], where in it a lower score begins."""
    if scores.dtype != np.float32:
        order = np.argsort(-scores)  # equal scores need no order among themselves, and an unstable sort is much faster
        values = scores[order]
        return order, np.append(True, values[1:] != values[:-1])
    # Score and row as one integer: faster than an argsort, which many equal scores make slower still.
    keys = descending_bits((scores + np.float32(0)).view(np.uint32)).astype(np.uint64) << np.uint64(32)
    keys |= np.arange(len(scores), dtype=np.uint64)
    keys.sort()
    bits = keys >> np.uint64(32)
    return (keys & np.uint64(0xFFFF_FFFF)).view(np.int64), np.append(True, bits[1:] != bits[:-1])


def descending_bits(bits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The bits of floats, uint[n], as uint[n] that sort as the floats do in descending order. Its own inverse.

    IEEE 754: the bits of positive floats order as integers do, those of negative ones, which begin with a 1, the other
    way round. So all bits of positive ones but the sign are flipped.
    """
    sign = bits.dtype.type(1 << (8 * bits.dtype.itemsize - 1))
    return np.where(bits & sign, bits, bits ^ (sign - bits.dtype.type(1)))


def _normalised(scores: Scores, ranks: Scores) -> Scores:
    inside = np.isfinite(ranks)
    count = np.maximum(1, inside.sum(axis=1, keepdims=True))
    known = np.where(inside, scores, 0.0).astype(np.float64)
    mean = known.sum(axis=1, keepdims=True) / count
    deviation = np.sqrt((np.where(inside, known - mean, 0.0) ** 2).sum(axis=1, keepdims=True) / count)
    scale = np.where(deviation > 1e-9, deviation, np.inf)  # all alike: the channel has no say
    last = np.where(inside, known, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    last = np.where(np.isfinite(last), last, 0.0)
    normalised: Scores = (np.where(inside, known, last) - mean) / scale
    return normalised


@cache
def default_rules() -> Mapping[str, FusionRule]:
    """The rules that ship: by what a query holds ("text", "image", "text and image"), and "report", by which the two
    ways to compare reports become one channel. How they were chosen is in the file.
    """
    return read_rules(_RULES)


def read_rules(path: Path) -> dict[str, FusionRule]:
    """Fusion rules from a TOML file in the layout of `fusion_rules.toml`. Raises QueryError where it is wrong."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise QueryError(f"There is no file of fusion rules at {path}. Give an existing one.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise QueryError(
            f"{path.name} cannot be read as TOML ({error}). Start from the fusion_rules.toml that ships."
        ) from error
    rules = {}
    for name, entry in document.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("weights"), dict):
            raise QueryError(f"{path.name}: '{name}' must be a table with `method` and `weights`.")
        weights = entry["weights"]
        if not all(isinstance(weight, int | float) and not isinstance(weight, bool) for weight in weights.values()):
            raise QueryError(f"{path.name}: every weight of '{name}' must be a number.")
        encoders = entry.get("encoders", {})
        if not isinstance(encoders, dict) or not all(isinstance(value, str) for value in encoders.values()):
            raise QueryError(f"{path.name}: `encoders` of '{name}' must be a table of fingerprints by role.")
        rules[name] = FusionRule(entry.get("method", "rrf"), weights, encoders)
    return rules


def rule_text(name: str, rule: FusionRule) -> list[str]:
    """The lines of a rule in such a file."""
    weights = ", ".join(f"{channel} = {weight:g}" for channel, weight in rule.weights.items())
    lines = [f'["{name}"]', f'method = "{rule.method}"', f"weights = {{ {weights} }}"]
    if rule.encoders:
        encoders = ", ".join(f'{role} = "{fingerprint}"' for role, fingerprint in rule.encoders.items())
        lines.append(f"encoders = {{ {encoders} }}  # that the weights were measured with")
    return lines
