"""Queries whose text becomes images, answered one at a time, in the order in which they were asked.

The images are generated on one device: sessions take turns, and see how many are before them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from ui.errors import CoinCliError

if TYPE_CHECKING:
    from retrieval import Query, SearchResult

Progress = Callable[[int, int], None]


class GenerationStopped(CoinCliError):
    """The generation was stopped: nobody waits for it any more."""


class Search(Protocol):
    """`Service.search`: answers a query; what `progress` raises ends it."""

    def __call__(self, query: Query, *, progress: Progress, user: str) -> SearchResult: ...


class QueuedQuery:
    """A query that waits for its turn, or is answered now. Made by `GenerationQueue.ask`."""

    def __init__(self, query: Query, user: str) -> None:
        self.query = query
        """What is answered in the end: `GenerationQueue.change` may replace it meanwhile."""
        self.user = user
        self.steps: tuple[int, int] | None = None
        """Denoising steps done, and of how many; None before its turn, and where no image is missing."""
        self.answer: Future[SearchResult] = Future()
        self._stop = threading.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped: its answer, if there will be one, is for nobody."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise GenerationStopped where it was stopped."""
        if self.is_stopped:
            raise GenerationStopped("Generating images was stopped.")

    def count(self, done: int, total: int) -> None:
        """Note the steps; raises as `check`."""
        self.check()
        self.steps = done, total


class GenerationQueue:
    """The queries of all sessions that wait for images. One thread answers them. Safe to share between threads."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._queued: list[QueuedQuery] = []  # in their order; of one that is answered now, the first
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "generation")

    def ask(self, query: Query, *, user: str = "") -> QueuedQuery:
        """Put a query at the end of the queue."""
        queued = QueuedQuery(query, user)
        with self._lock:
            self._queued.append(queued)
            queued.answer = self._thread.submit(self._answer, queued)
        return queued

    def run(self, load: Callable[[], None]) -> Future[None]:
        """Do in the same thread, in its turn, what uses the device as well."""
        return self._thread.submit(load)

    def before(self, queued: QueuedQuery) -> int:
        """How many are answered before it; 0 while it is answered itself, and afterwards."""
        with self._lock:
            return self._queued.index(queued) if queued in self._queued else 0

    def change(self, queued: QueuedQuery, query: Query) -> bool:
        """Have `query` answered in its place, which needs the same images; False where it is too late for that."""
        with self._lock:
            if queued.is_stopped or queued not in self._queued:
                return False
            queued.query = query
            return True

    def stop(self, queued: QueuedQuery) -> None:
        """Give up its place. One that is answered now ends with the denoising step that is computed."""
        queued._stop.set()
        with self._lock:
            if queued.answer.cancel() and queued in self._queued:
                self._queued.remove(queued)

    def close(self) -> None:
        """Stop all, and wait for the end of the one that is answered now."""
        with self._lock:
            queued = list(self._queued)
        for each in queued:
            self.stop(each)
        self._thread.shutdown(cancel_futures=True)

    def _answer(self, queued: QueuedQuery) -> SearchResult:
        try:
            while True:
                query = queued.query
                queued.check()
                result = self._search(query, progress=queued.count, user=queued.user)
                with self._lock:
                    if queued.query is query:
                        self._queued.remove(queued)
                        return result
        finally:
            with self._lock:
                if queued in self._queued:
                    self._queued.remove(queued)
