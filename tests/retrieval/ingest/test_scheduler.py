"""Batches are distributed, given to another worker where one is lost, and given up where they are the cause."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from index_store import ManifestRow, PlannedImage
from retrieval.errors import EncoderLoadError, WorkerError
from retrieval.ingest.embed_images import EmbeddedBatch
from retrieval.ingest.scheduler import BatchScheduler, WorkerLostError

BATCH = 3
AHEAD = 2
"""Batches that a worker has before it."""
ATTEMPTS = 4
"""Workers that a batch may cost."""


@dataclass
class FakeCluster:
    """Workers that do what they are told in the order of the tasks, except those of which `fate` has something else."""

    fate: Callable[[int, int | None], BaseException | None] = lambda worker, first: None
    """What befalls a worker at a batch, by its number and the batch's first item; None for `first`: as it starts."""
    begins: Callable[[int], bool] = lambda worker: True
    """Whether there is room for a worker."""
    started: int = 0
    stopped: list[int] = field(default_factory=list)
    embedded: list[tuple[int, int]] = field(default_factory=list)
    """By whom, and the batch's first item."""
    most_ahead: int = 0
    waited: list[float] = field(default_factory=list)
    _dead: dict[int, BaseException] = field(default_factory=dict)

    def start_worker(self) -> int:
        self.started += 1
        return self.started

    def prepare(self, worker: int) -> tuple[int, int | None, int]:
        return worker, None, 0

    def embed(self, worker: int, items: Sequence[PlannedImage]) -> tuple[int, int | None, int]:
        return worker, items[0].row.line, len(items)

    def wait(self, tasks: Sequence[tuple[int, int | None, int]], seconds: float) -> tuple[int, int | None, int] | None:
        self.waited.append(seconds)
        for worker in {task[0] for task in tasks}:
            self.most_ahead = max(self.most_ahead, sum(task[0] == worker for task in tasks))
        return next((task for task in tasks if self.begins(task[0])), None)

    def result(self, task: tuple[int, int | None, int]) -> EmbeddedBatch | None:
        worker, first, count = task
        if error := self._dead.get(worker) or self.fate(worker, first):
            if isinstance(error, WorkerLostError):  # whatever else it had to do is lost as well
                self._dead[worker] = error
            raise error
        if first is None:
            return None
        self.embedded.append((worker, first))
        return [f"image {number}" for number in range(first, first + count)], np.zeros((count, 2), np.float32)  # type: ignore[return-value]

    def stop(self, worker: int) -> None:
        self.stopped.append(worker)


def items(count: int) -> list[PlannedImage]:
    """Planned images whose lines are their places."""
    return [
        PlannedImage(ManifestRow(line, f"{line}.png", Path(f"{line}.png"), "case", "patient", "Report."), str(line))
        for line in range(count)
    ]


def embed_all(cluster: FakeCluster, count: int, workers: int = 2) -> tuple[BatchScheduler, list[object]]:
    scheduler = BatchScheduler(cluster, items(count), BATCH, workers=workers)
    done: list[object] = []
    for start, (batch, vectors) in scheduler.run():
        assert batch == [f"image {number}" for number in range(start, min(start + BATCH, count))]
        assert len(vectors) == len(batch)
        done += batch
    return scheduler, done


@pytest.mark.parametrize("count", [0, 1, 3, 20])
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_image_is_embedded_once(count: int, workers: int) -> None:
    cluster = FakeCluster()
    scheduler, done = embed_all(cluster, count, workers)
    assert sorted(map(str, done)) == sorted(f"image {number}" for number in range(count))
    batches = -(-count // BATCH)
    assert len(cluster.embedded) == batches
    assert (scheduler.delivered, scheduler.repeated) == (count, 0)
    assert cluster.started == min(workers, batches), "no more workers than batches"
    assert sorted(cluster.stopped) == list(range(1, cluster.started + 1))
    assert cluster.most_ahead <= AHEAD


def test_a_worker_without_room_sits_on_no_batch() -> None:
    cluster = FakeCluster(begins=lambda worker: worker == 2)
    scheduler, done = embed_all(cluster, 20)
    assert len(done) == scheduler.delivered == 20
    assert {worker for worker, _ in cluster.embedded} == {2}
    assert cluster.most_ahead == AHEAD, "the next batch waits beside the one that is worked on"


def test_batches_of_a_lost_worker_go_to_another_one_first() -> None:
    cluster = FakeCluster(fate=lambda worker, first: WorkerLostError() if worker == 1 and first == 0 else None)
    scheduler, done = embed_all(cluster, 20)
    assert len(done) == len(set(map(str, done))) == scheduler.delivered == 20
    assert scheduler.repeated == AHEAD, "the one it worked on, and the next"
    assert cluster.started == 3, "one in its place"
    assert 1 not in {worker for worker, _ in cluster.embedded}
    assert {0, BATCH} < {first for _, first in cluster.embedded[:4]}, "they were put off to the end"
    assert sorted(cluster.stopped) == [2, 3]


def test_a_batch_that_costs_every_worker_is_named_by_its_line() -> None:
    cluster = FakeCluster(fate=lambda worker, first: WorkerLostError() if first == 6 else None)
    with pytest.raises(WorkerError, match=rf"{ATTEMPTS} workers were lost .* from line 6 on"):
        embed_all(cluster, 20, workers=1)
    assert cluster.started == ATTEMPTS, "the last one is not replaced"
    assert cluster.stopped == [ATTEMPTS]


def test_losses_of_different_batches_are_not_added_up() -> None:
    lost: set[int] = set()

    def fate(worker: int, first: int | None) -> BaseException | None:
        if first is None or first in lost:
            return None
        lost.add(first)
        return WorkerLostError()

    scheduler, done = embed_all(FakeCluster(fate=fate), 20, workers=1)
    assert len(done) == 20
    assert scheduler.repeated >= ATTEMPTS


def test_workers_that_are_lost_before_they_begin_end_it() -> None:
    cluster = FakeCluster(fate=lambda worker, first: WorkerLostError())
    with pytest.raises(WorkerError, match=f"{ATTEMPTS} workers were lost before they could begin"):
        embed_all(cluster, 20, workers=1)
    assert cluster.started == ATTEMPTS
    few = FakeCluster(fate=lambda worker, first: WorkerLostError() if worker < ATTEMPTS else None)
    scheduler, done = embed_all(few, 20, workers=1)
    assert (len(done), scheduler.repeated) == (20, 0)


def test_nobody_delivers() -> None:
    cluster = FakeCluster(begins=lambda worker: False)
    with pytest.raises(WorkerError, match=r"for 15 minutes.*ray status"):
        embed_all(cluster, 20)
    assert cluster.waited == [15 * 60]
    assert sorted(cluster.stopped) == [1, 2]


def test_what_a_worker_reports_is_raised_and_all_are_stopped() -> None:
    cluster = FakeCluster(fate=lambda worker, first: EncoderLoadError("No such file.") if first == 3 else None)
    with pytest.raises(EncoderLoadError, match="No such file"):
        embed_all(cluster, 20)
    assert sorted(cluster.stopped) == [1, 2]


def test_a_caller_that_stops_early_stops_the_workers() -> None:
    cluster = FakeCluster()
    run = BatchScheduler(cluster, items(20), BATCH, workers=2).run()
    next(run)
    run.close()  # type: ignore[attr-defined]
    assert sorted(cluster.stopped) == [1, 2]
