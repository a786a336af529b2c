"""Worker processes for what costs a processor's time, and threads where there is little of it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Final, TypeVar

FEW: Final = 256
"""Below this many pieces of work no processes are started: that takes longer."""
AHEAD: Final = 64
_THREADS: Final = 8
Result = TypeVar("Result")


@contextmanager
def workers(count: int, *, of: int = 1, probe: object = None) -> Iterator[Executor]:
    """Processes for `count` pieces of work, one a core, or threads where they are few.

    Args:
        of: how many processes of one program share the cores, each with workers of its own.
        probe: what is sent to a worker with each piece; threads do the work where it cannot be sent.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = max(1, cores // of)
    if count >= FEW and cores > 1:
        with ProcessPoolExecutor(cores, mp_context=get_context("spawn"), initializer=_one_thread) as processes:
            if _can_send(processes, probe):
                yield processes
                return
    with ThreadPoolExecutor(min(_THREADS, cores)) as threads:
        try:
            yield threads
        finally:
            threads.shutdown(cancel_futures=True)


def begun_ahead(
    pool: Executor, calls: Iterable[Callable[[], Result]], *, most: int = AHEAD
) -> Iterator[Future[Result]]:
    """The calls' futures in their order; at most `most` are begun before their turn: memory holds few results."""
    begun: deque[Future[Result]] = deque()
    for call in calls:
        begun.append(pool.submit(call))
        if len(begun) > most:
            yield begun.popleft()
    yield from begun


def _can_send(processes: Executor, probe: object) -> bool:
    """Whether a worker receives this: a local function, or an open archive's method, cannot be sent."""
    return processes.submit(id, probe).exception() is None


def _one_thread() -> None:
    """As many processes as cores, each with as many threads, would wait for each other."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
