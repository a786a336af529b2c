"""Embedding on many machines: a Ray cluster's workers read, decode and encode, and one process writes the archive.

    plan ─► batches ─► workers (an encoder each) ─► one transaction a batch ─► archive
              ▲                    │ lost
              └────────────────────┘

What is left to do is decided by content hash before anything starts, and a batch is done when its transaction is: a
worker's loss gives its batches to another one, and a killed writer begins again with what the archive lacks. A batch
that was delivered is never embedded again.

Workers see the image files (a path that all machines share) and nothing else of a row: neither report nor patient.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from collections import Counter, deque
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from retrieval.encoder.encoder import Encoder
from retrieval.errors import WorkerError
from retrieval.ingest.ingest import Embedded, EmbeddedBatch, embed_batch

if TYPE_CHECKING:
    from index_store import PlannedImage

NOT_YET: Final = -1
"""In place of a batch: the worker is starting."""
AHEAD: Final = 2
"""Batches that a worker has before it: the one it works on, and the next."""
ATTEMPTS: Final = 4
"""Workers that a batch may cost before it is taken for the cause."""
KNOCK_SECONDS: Final = 10.0
SILENT_SECONDS: Final = 900.0
"""How long no worker may deliver anything. The first batch includes loading the encoder."""


class RayWorkers:
    """The workers of a Ray cluster, as a context manager: connected within.

    Args:
        address: of the cluster's head (`HOST:6379`); "auto" for the one that this machine is a node of.
        count: workers; by default one for each GPU of the cluster, or for each node where there is none.

    Raises `WorkerError` where Ray is not installed, or the cluster does not answer.
    """

    def __init__(self, address: str = "auto", *, count: int = 0) -> None:
        self.repeated = 0
        """Batches that were given to another worker because theirs was lost."""
        self.delivered = 0
        """Images whose batch came back."""
        self._address = address
        self._count = count
        self._ray: Any = None

    def __enter__(self) -> RayWorkers:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its use to its makers unless told not to
        try:
            import ray
        except ImportError as error:
            raise WorkerError("Ray is not installed. Install the extra `ray` here and on every machine.") from error
        try:
            _knock(self._address)
            ray.init(address=self._address, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            words = " ".join(str(error).split())[:200]
            raise WorkerError(
                f"No Ray cluster answers at {self._address} ({words}). Start one: `ray start --head` on one machine, "
                "`ray start --address=HOST:6379` on the others, and run this on one of them."
            ) from error
        self._ray = ray
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()

    def encoded(self, items: Sequence[PlannedImage], encoder: Encoder, batch_size: int) -> Embedded:
        """The images in batches of `batch_size`, each with its vectors, in the order in which they are done.

        Raises:
            WorkerError: nobody delivers, or a batch has cost several workers.
            EncoderLoadError, EncodingError, generation.DeviceError: what a worker says of its encoder or machine.
        """
        ray = self._ray
        waiting = deque(range(0, len(items), batch_size))
        losses: Counter[int] = Counter()
        running: dict[Any, tuple[Any, int]] = {}
        workers: list[Any] = []
        ready_workers: list[Any] = []
        spawn = self._worker_class(encoder)

        def start_worker() -> Any:
            # It is fed once it runs: one for which the cluster has no room any more must not sit on a batch.
            worker = spawn.remote(*_made_of(encoder))
            running[worker.prepare.remote()] = worker, NOT_YET
            return worker

        def feed(worker: Any) -> None:
            while waiting and sum(of is worker for of, _ in running.values()) < AHEAD:
                start = waiting.popleft()
                sent = [_without_words(item) for item in items[start : start + batch_size]]
                running[worker.embed.remote(sent)] = worker, start

        def lose(worker: Any, start: int) -> None:
            losses[start] += 1
            if start == NOT_YET and losses[start] >= ATTEMPTS:
                raise WorkerError(
                    f"{ATTEMPTS} workers were lost before they could begin. See `ray status` and its logs."
                )
            if losses[start] >= ATTEMPTS:
                raise WorkerError(
                    f"{ATTEMPTS} workers were lost one after the other while they embedded the images from line "
                    f"{items[start].row.line} on. Look at their memory (`ray status`) and at these files; what was "
                    "added before stays."
                )
            if start != NOT_YET:
                self.repeated += 1
                waiting.appendleft(start)
            if worker in workers:
                workers[workers.index(worker)] = start_worker()
            if worker in ready_workers:
                ready_workers.remove(worker)

        try:
            wanted = min(self._count or self._places(encoder), len(waiting))
            workers += [start_worker() for _ in range(wanted)]
            while waiting or any(start != NOT_YET for _, start in running.values()):
                for worker in ready_workers:
                    feed(worker)
                ready, _ = ray.wait(list(running), timeout=SILENT_SECONDS)
                if not ready:
                    raise WorkerError(
                        f"No worker has delivered anything for {SILENT_SECONDS / 60:.0f} minutes. See `ray status`: "
                        "has the cluster room for a worker? What was added before stays."
                    )
                worker, start = running.pop(ready[0])
                try:
                    answer = ray.get(ready[0])
                except ray.exceptions.RayTaskError as error:  # said by our own code there
                    raise error.cause from error
                except ray.exceptions.RayError:  # the worker, its machine, or what it had delivered is gone
                    lose(worker, start)
                    continue
                if start == NOT_YET:
                    ready_workers.append(worker)
                    continue
                batch, vectors = answer
                self.delivered += len(batch)
                yield _with_words(batch, items[start : start + batch_size]), vectors
        finally:
            for worker in workers:
                ray.kill(worker)

    def _places(self, encoder: Encoder) -> int:
        """How many workers the cluster has room for."""
        if self._uses_gpu(encoder):
            return int(self._ray.cluster_resources()["GPU"])
        return sum(bool(node["Alive"]) for node in self._ray.nodes())

    def _uses_gpu(self, encoder: Encoder) -> bool:
        return encoder.device_asked_for != "cpu" and self._ray.cluster_resources().get("GPU", 0) >= 1

    def _worker_class(self, encoder: Encoder) -> Any:
        needs = {"num_gpus": 1} if self._uses_gpu(encoder) else {"num_cpus": 1}
        # A lost worker is not brought back by Ray but replaced here, on whichever machine has room.
        return self._ray.remote(EmbeddingWorker).options(max_restarts=0, scheduling_strategy="SPREAD", **needs)


class EmbeddingWorker:
    """What runs on a cluster's machine."""

    def __init__(self, source: str | None, device: str, batch_size: int, fingerprint: str) -> None:
        self._encoder = Encoder(source, device=device, batch_size=batch_size)
        self._wanted = fingerprint

    def prepare(self) -> None:
        """Load the encoder, if it is the right one."""
        if self._encoder.fingerprint != self._wanted:
            raise WorkerError(
                f"A worker's encoder is another one ({self._encoder.fingerprint[:12]} and not {self._wanted[:12]}). "
                "Put the same files on every machine."
            )
        self._encoder.load()

    def embed(self, items: Sequence[PlannedImage]) -> EmbeddedBatch:
        return embed_batch(items, self._encoder)


def _knock(address: str) -> None:
    """Raises an `OSError` where nobody answers at all: Ray itself tries for five minutes (2.60)."""
    host, _, port = address.rpartition(":")
    if address != "auto":
        if not (host and port.isdigit()):
            raise ValueError("an address looks like HOST:6379")
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()


def _made_of(encoder: Encoder) -> tuple[str | None, str, int, str]:
    source = None if encoder.source is None else str(encoder.source)
    return source, encoder.device_asked_for, encoder.batch_size, encoder.fingerprint


def _without_words(item: PlannedImage) -> PlannedImage:
    """What a worker needs to find and check the file."""
    row = dataclasses.replace(item.row, case="", patient="", report="", attributes={}, derived=None, image="")
    return dataclasses.replace(item, row=row)


def _with_words(batch: Sequence[Any], items: Sequence[PlannedImage]) -> list[Any]:
    from index_store import Problem

    return [
        done if isinstance(done, Problem) else dataclasses.replace(done, row=item.row)
        for done, item in zip(batch, items, strict=True)
    ]
