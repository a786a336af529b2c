"""Fusion a second time, in plain loops over dictionaries: what `retrieval.search.fusion` is held to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Scores = Mapping[str, float]


def plain_fusion(
    method: str,
    weights: Mapping[str, float],
    channels: Mapping[str, Scores],
    candidates: Sequence[str],
    pool: int = 500,
) -> tuple[dict[str, float], dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Total scores, parts by channel, and ranks by channel, of each candidate that has a total.

    Args:
        channels: by name, the score of each candidate that the channel has.
    """
    shares = {name: weights.get(name, 1.0) / sum(weights.get(n, 1.0) for n in channels) for name in channels}
    ranks: dict[str, dict[str, float]] = {candidate: {} for candidate in candidates}
    parts: dict[str, dict[str, float]] = {candidate: {} for candidate in candidates}
    for name, scores in channels.items():
        rank_of = {c: 1 + sum(other > score for other in scores.values()) for c, score in scores.items()}
        inside = {c: scores[c] for c, rank in rank_of.items() if rank <= pool}
        mean = sum(inside.values()) / len(inside) if inside else 0.0
        spread = math.sqrt(sum((s - mean) ** 2 for s in inside.values()) / len(inside)) if inside else 0.0
        for candidate in candidates:
            ranks[candidate][name] = rank_of[candidate] if candidate in inside else math.inf
            if method == "rrf":
                part = 1 / (60 + rank_of[candidate]) if candidate in inside else 0.0
            elif spread < 1e-9:
                part = 0.0
            else:
                part = (inside.get(candidate, min(inside.values())) - mean) / spread
            parts[candidate][name] = shares[name] * part
    total = {
        candidate: sum(parts[candidate].values())
        for candidate in candidates
        if any(ranks[candidate][name] < math.inf for name in channels if shares[name] > 0)
    }
    return total, parts, ranks
