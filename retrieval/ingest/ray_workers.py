"""Embedding on many machines: a Ray cluster's workers read, decode and encode, and one process writes the archive.

    plan ─► batches ─► workers (an encoder each) ─► one transaction a batch ─► archive
              ▲                    │ lost
              └────────────────────┘

What is left to do is decided by content hash before anything starts, and a batch is done when its transaction is: a
lost worker's batches go to another one (`scheduler`), and a killed writer resumes with what the archive lacks. A batch
that was delivered is never embedded again.

Fields of whole slides are chosen by the process that writes; workers open the slides and read them.

Workers see the image files (a path that all machines share) and nothing else of a row: neither report nor patient.
"""

from __future__ import annotations

import dataclasses
import os
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from retrieval.encoder.encoder import Encoder
from retrieval.errors import WorkerError
from retrieval.ingest.embed_images import Embedded, EmbeddedBatch, embed_batch
from retrieval.ingest.scheduler import BatchScheduler, WorkerLostError

if TYPE_CHECKING:
    from index_store import PlannedField, PlannedImage

PROBE_SECONDS: Final = 10.0


class RayWorkers:
    """The workers of a Ray cluster, as a context manager: connected within.

    Args:
        address: of the cluster's head (`HOST:6379`); "auto" for the one that this machine is a node of.
        count: workers; by default one for each GPU of the cluster, or for each node where there is none.

    Raises:
        WorkerError: Ray is not installed, or the cluster does not answer.
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
            _probe(self._address)
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

    def encoded(self, items: Sequence[PlannedImage | PlannedField], encoder: Encoder, batch_size: int) -> Embedded:
        """The images in batches of `batch_size`, each with its vectors, in the order in which they are done.

        Raises:
            WorkerError: nobody delivers, or a batch has cost several workers.
            EncoderLoadError, EncodingError, generation.DeviceError: what a worker reports of its encoder or machine.
        """
        cluster = RayCluster(self._ray, encoder)
        scheduler = BatchScheduler(cluster, items, batch_size, workers=self._count or cluster.capacity())
        try:
            for start, (batch, vectors) in scheduler.run():
                yield _with_rows(batch, items[start : start + batch_size]), vectors
        finally:
            self.repeated += scheduler.repeated
            self.delivered += scheduler.delivered


class RayCluster:
    """A connected Ray cluster as `scheduler.Cluster`, whose workers have the given encoder."""

    def __init__(self, ray: Any, encoder: Encoder) -> None:
        self._ray = ray
        self._encoder = encoder
        self._uses_gpu = encoder.device_asked_for != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1
        needs = {"num_gpus": 1} if self._uses_gpu else {"num_cpus": 1}
        # A lost worker is not brought back by Ray but replaced by the scheduler, on whichever machine has room.
        self._class = ray.remote(EmbeddingWorker).options(max_restarts=0, scheduling_strategy="SPREAD", **needs)

    def capacity(self) -> int:
        """How many workers the cluster has room for: its GPUs, or its live nodes where it has none."""
        if self._uses_gpu:
            return int(self._ray.cluster_resources()["GPU"])
        return sum(bool(node["Alive"]) for node in self._ray.nodes())

    def start_worker(self) -> Any:
        """Ask Ray for a worker with the encoder."""
        encoder = self._encoder
        source = None if encoder.source is None else str(encoder.source)
        return self._class.remote(source, encoder.device_asked_for, encoder.batch_size, encoder.fingerprint)

    def prepare(self, worker: Any) -> Any:
        """Have a worker load its encoder."""
        return worker.prepare.remote()

    def embed(self, worker: Any, items: Sequence[PlannedImage | PlannedField]) -> Any:
        """Have a worker embed a batch, of which it sees the files alone."""
        return worker.embed.remote([_without_text(item) for item in items])

    def wait(self, tasks: Sequence[Any], seconds: float) -> Any | None:
        """The first task that has ended; None where none has in time."""
        ready, _ = self._ray.wait(list(tasks), timeout=seconds)
        return ready[0] if ready else None

    def result(self, task: Any) -> EmbeddedBatch | None:
        """The batch that a task embedded; Ray's own errors become `WorkerLostError`."""
        try:
            result: EmbeddedBatch | None = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:  # raised by our own code there
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            raise WorkerLostError from error
        return result

    def stop(self, worker: Any) -> None:
        """Kill a worker."""
        self._ray.kill(worker)


class EmbeddingWorker:
    """The actor that runs on a machine of the cluster."""

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

    def embed(self, items: Sequence[PlannedImage | PlannedField]) -> EmbeddedBatch:
        """Read, decode and encode a batch."""
        return embed_batch(items, self._encoder)


def _probe(address: str) -> None:
    """Raises an `OSError` where nobody answers at all: Ray itself tries for five minutes (2.60)."""
    host, _, port = address.rpartition(":")
    if address != "auto":
        if not (host and port.isdigit()):
            raise ValueError("an address looks like HOST:6379")
        socket.create_connection((host, int(port)), timeout=PROBE_SECONDS).close()


def _without_text(item: PlannedImage | PlannedField) -> PlannedImage | PlannedField:
    """What a worker needs to find and check the file."""
    row = dataclasses.replace(item.row, case="", patient="", report="", attributes={}, derived=None, image="", slide="")
    return dataclasses.replace(item, row=row)


def _with_rows(batch: Sequence[Any], items: Sequence[PlannedImage | PlannedField]) -> list[Any]:
    """The batch as it came back, with the whole rows."""
    from index_store import Problem

    return [
        done if isinstance(done, Problem) else dataclasses.replace(done, row=item.row)
        for done, item in zip(batch, items, strict=True)
    ]
