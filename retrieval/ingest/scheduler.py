"""Which worker embeds which batch, and what happens when a worker is lost.

A worker that is starting gets nothing to do: where the cluster has no room for it, it would sit on its batches. One
that runs has at most `BATCHES_AHEAD` before it. The batches of a lost worker go to the front of the queue, and another
worker is started in its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from retrieval.errors import WorkerError
from retrieval.ingest.embed_images import EmbeddedBatch

if TYPE_CHECKING:
    from index_store import PlannedField, PlannedImage

BATCHES_AHEAD: Final = 2
"""Batches that a worker has before it: the one it works on, and the next."""
ATTEMPTS: Final = 4
"""Workers that a batch may cost before it is taken for the cause."""
SILENT_SECONDS: Final = 900.0
"""How long no worker may deliver anything. The first batch includes loading the encoder."""

Worker: TypeAlias = Any
"""A handle of the cluster's."""
Task: TypeAlias = Any
"""A hashable handle of the cluster's: a task of a worker."""


class WorkerLostError(Exception):
    """The worker of a task, its machine, or what it had delivered is gone."""


class Cluster(Protocol):
    """What the scheduler needs of the machines (`ray_workers.RayCluster`)."""

    def start_worker(self) -> Worker:
        """Ask for a worker, on whichever machine has room."""

    def prepare(self, worker: Worker) -> Task:
        """Have a worker load its encoder: done once it runs."""

    def embed(self, worker: Worker, items: Sequence[PlannedImage | PlannedField]) -> Task:
        """Have a worker embed a batch."""

    def wait(self, tasks: Sequence[Task], seconds: float) -> Task | None:
        """The first of the tasks that has ended; None where none has within so many seconds."""

    def result(self, task: Task) -> EmbeddedBatch | None:
        """What an ended task delivered: of `embed` the batch.

        Raises `WorkerLostError`, and what the worker itself raised.
        """

    def stop(self, worker: Worker) -> None:
        """End a worker, whatever it does."""


@dataclass(eq=False)
class _Worker:
    handle: Worker
    is_ready: bool = False
    is_lost: bool = False
    batches: int = 0
    """Given to it and not yet done."""


class BatchScheduler:
    """Distributes the batches of one run over `workers` workers of a cluster."""

    def __init__(
        self, cluster: Cluster, items: Sequence[PlannedImage | PlannedField], batch_size: int, *, workers: int
    ) -> None:
        self.repeated = 0
        """Batches that were given to another worker because theirs was lost."""
        self.delivered = 0
        """Images whose batch came back."""
        self._cluster = cluster
        self._items = items
        self._batch_size = batch_size
        self._waiting = deque(range(0, len(items), batch_size))
        self._running: dict[Task, tuple[_Worker, int | None]] = {}
        """By task its worker and the batch's first item; None for a worker that starts."""
        self._count = min(workers, len(self._waiting))
        self._workers: list[_Worker] = []
        self._lost_batches: dict[int | None, int] = {}
        """How often each batch's worker was lost; under None, workers that never ran."""

    def run(self) -> Iterator[tuple[int, EmbeddedBatch]]:
        """The number of each batch's first item and the embedded batch, in the order in which they are done.

        All workers are stopped at the end, also where the caller stops early.

        Raises:
            WorkerError: nobody delivers, or a batch has cost several workers.
            Exception: what a worker raised.
        """
        try:
            for _ in range(self._count):
                self._start_worker()
            while self._waiting or any(start is not None for _, start in self._running.values()):
                self._feed()
                task = self._cluster.wait(list(self._running), SILENT_SECONDS)
                if task is None:
                    raise WorkerError(
                        f"No worker has delivered anything for {SILENT_SECONDS / 60:.0f} minutes. See `ray status`: "
                        "has the cluster room for a worker? What was added before stays."
                    )
                worker, start = self._running.pop(task)
                try:
                    result = self._cluster.result(task)
                except WorkerLostError:
                    self._replace(worker, start)
                    continue
                if start is None or result is None:
                    worker.is_ready = True
                    continue
                worker.batches -= 1
                self.delivered += len(result[0])
                yield start, result
        finally:
            for worker in self._workers:
                self._cluster.stop(worker.handle)

    def _start_worker(self) -> None:
        worker = _Worker(self._cluster.start_worker())
        self._workers.append(worker)
        self._running[self._cluster.prepare(worker.handle)] = worker, None

    def _feed(self) -> None:
        for worker in self._workers:
            while worker.is_ready and worker.batches < BATCHES_AHEAD and self._waiting:
                start = self._waiting.popleft()
                batch = self._items[start : start + self._batch_size]
                self._running[self._cluster.embed(worker.handle, batch)] = worker, start
                worker.batches += 1

    def _replace(self, worker: _Worker, start: int | None) -> None:
        """Queue a lost worker's batch again, and start another worker in its place, once whatever it had to do."""
        self._lost_batches[start] = self._lost_batches.get(start, 0) + 1
        if self._lost_batches[start] >= ATTEMPTS:
            raise WorkerError(self._too_many_losses(start))
        if start is not None:
            self.repeated += 1
            self._waiting.appendleft(start)
        if not worker.is_lost:
            worker.is_lost = True
            self._workers.remove(worker)
            self._start_worker()

    def _too_many_losses(self, start: int | None) -> str:
        if start is None:
            return f"{ATTEMPTS} workers were lost before they could begin. See `ray status` and its logs."
        return (
            f"{ATTEMPTS} workers were lost one after the other while they embedded the images from line "
            f"{self._items[start].row.line} on. Look at their memory (`ray status`) and at these files; what was "
            "added before stays."
        )
