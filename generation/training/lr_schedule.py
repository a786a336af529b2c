"""How large a training's steps are."""

from __future__ import annotations

import math

SCHEDULES = ("cosine", "constant")


def learning_rate_at(step: int, *, peak: float, steps: int, warmup: int, schedule: str) -> float:
    """The learning rate of a step (from 0): it rises for `warmup` steps, then stays, or falls along a cosine to 0."""
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))
