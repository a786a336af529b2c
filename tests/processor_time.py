"""Processor time of a call, for tests of what a text or file may cost."""

from __future__ import annotations

import time
from collections.abc import Callable


def processor_seconds(call: Callable[[], object], *, enough: float) -> float:
    """The least of up to three runs; the first below `enough` is taken.

    Busy neighbours make a run slower (caches and cores are shared), never faster. What is not linear is slow each time.
    """
    least = float("inf")
    for _ in range(3):
        started = time.process_time()
        call()
        least = min(least, time.process_time() - started)
        if least < enough:
            break
    return least
