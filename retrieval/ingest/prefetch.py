"""Work done ahead of a consumer on other threads: results in order, and a bound on what waits in memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class MemoryWindow:
    """A limit on the bytes of finished work that wait to be consumed.

    Results enter strictly in order, each once less than `limit` is held. So at most `limit` and one result are held
    (and each worker may wait outside with one more), and the result that the consumer needs next is never blocked by
    later ones.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._changed = threading.Condition()
        self._held = 0
        self._next = 0
        self._closed = False

    def enter(self, turn: int, size: int) -> None:
        """Wait until all earlier turns have entered and there is room, then hold `size` bytes. Turns count from 0."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._next == turn and self._held < self.limit))
            self._held += size
            self._next += 1
            self._changed.notify_all()

    def leave(self, size: int) -> None:
        """Release `size` bytes that the consumer no longer needs."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def close(self) -> None:
        """End all waiting: nothing will be consumed any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def read_ahead(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    size: Callable[[Result], int],
    window: MemoryWindow,
    workers: int,
    ahead: int,
) -> Generator[Result, None, None]:
    """`work(item)` for every item, in the order of the items, done by `workers` threads up to `ahead` items early.

    The consumer must call `window.leave` with a result's size when it no longer needs it, and must do so before it
    holds `window.limit`. The first exception of `work` is raised here and ends the iteration.

    Args:
        size: the bytes of a result.
    """

    def run(turn: int, item: Item) -> Result:
        held = 0
        try:
            result = work(item)
            held = size(result)
            return result
        finally:  # also when it fails: the next one waits for this turn
            window.enter(turn, held)

    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read-ahead")
    try:
        for turn, item in enumerate(items):
            waiting.append(pool.submit(run, turn, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        window.close()
        pool.shutdown(cancel_futures=True)
