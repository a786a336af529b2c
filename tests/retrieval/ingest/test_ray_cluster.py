"""`coin add` over a Ray cluster of two nodes on this machine: what dies in the middle costs nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from generation import DeviceError
from index_store import Archive, decode_image
from retrieval import Encoder, add_manifest
from retrieval.errors import WorkerError
from retrieval.ingest.ray_workers import RayWorkers
from tests.retrieval.ingest.test_ingest import check_every_vector_is_its_images, write_images, write_manifest

pytestmark = [
    pytest.mark.cluster,
    # Ray 2.60's own clean-up, in its own threads.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]

IMAGES, BATCH = 96, 4


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head and a second node, of one core each."""
    pytest.importorskip("ray", reason="Ray is not installed: `make test-cluster` installs it")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Workers import this project from where the tests do.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    memory = 100 * 1024**2
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": memory, "include_dashboard": False}
    )
    cluster.second = cluster.add_node(num_cpus=1, object_store_memory=memory)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path, write_images(tmp_path, IMAGES))


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive.create(tmp_path / "archive") as archive:
        yield archive


class OnceAt:
    """A progress callback that does something once, when so many images are done."""

    def __init__(self, images: int, what: Any) -> None:
        self._images, self._what = images, what
        self.happened = 0

    def __call__(self, done: int, total: int) -> None:
        if not self.happened and done >= self._images:
            self.happened = 1
            self._what()


def embedding_processes() -> list[int]:
    """The workers' process ids, as the operating system has them."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and b"ray::EmbeddingWorker" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def check_nothing_is_lost_or_twice(
    archive: Archive, encoder: Encoder, manifest: Path, workers: RayWorkers, *, repeated: range
) -> None:
    assert check_every_vector_is_its_images(archive, encoder) == IMAGES
    status = archive.status()
    assert status.log_sequence == status.indexed == IMAGES, "every image was added once"
    # What came back came back once: a batch that was delivered is not embedded again.
    assert workers.delivered == IMAGES
    assert workers.repeated in repeated, "a lost worker had at most two batches before it"
    case = archive.case("case 7")
    assert case.report == "Report 7.", "what workers do not see is there all the same"
    assert decode_image(case.images[0].path).size == (40, 40)
    again = add_manifest(archive, manifest, encoder)
    assert (again.added, again.unchanged) == (0, IMAGES)


def test_workers_killed_in_the_middle(cluster: Any, archive: Archive, manifest: Path, encoder: Encoder) -> None:
    """Both, so that one of them surely had batches before it: which of two begins first is chance."""

    def kill() -> None:
        processes = embedding_processes()
        assert len(processes) == 2, "a worker on each node"
        for process in processes:
            os.kill(process, signal.SIGKILL)

    at = OnceAt(IMAGES // 4, kill)
    with RayWorkers(cluster.address) as workers:
        summary = add_manifest(archive, manifest, encoder, batch_size=BATCH, progress=at, workers=workers)
    assert at.happened
    assert (summary.added, summary.skipped) == (IMAGES, ())
    check_nothing_is_lost_or_twice(archive, encoder, manifest, workers, repeated=range(1, 5))


def test_a_machine_lost_in_the_middle(cluster: Any, archive: Archive, manifest: Path, encoder: Encoder) -> None:
    at = OnceAt(IMAGES // 4, lambda: cluster.remove_node(cluster.second, allow_graceful=False))
    with RayWorkers(cluster.address) as workers:
        summary = add_manifest(archive, manifest, encoder, batch_size=BATCH, progress=at, workers=workers)
    assert at.happened
    assert summary.added == IMAGES
    check_nothing_is_lost_or_twice(archive, encoder, manifest, workers, repeated=range(3))


def test_bad_images_and_other_encoders_are_reported(
    cluster: Any, archive: Archive, manifest: Path, clip_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "3.png").write_bytes(b"no picture")
    with RayWorkers(cluster.address, count=1) as workers:
        summary = add_manifest(archive, manifest, Encoder(clip_folder, device="cpu"), workers=workers)
        assert summary.added == IMAGES - 1
        assert [problem.where for problem in summary.skipped] == ["manifest.csv, line 5"]
        other = Encoder(clip_folder, device="cpu")
        other._folder = dataclasses.replace(other._folder, fingerprint="another")
        with Archive.create(tmp_path / "second") as second, pytest.raises(WorkerError, match="encoder is another one"):
            add_manifest(second, manifest, other, workers=workers)
        nowhere = Encoder(clip_folder, device="mps")
        with Archive.create(tmp_path / "third") as third, pytest.raises(DeviceError, match="mps"):
            add_manifest(third, manifest, nowhere, workers=workers)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "auto", "ray://127.0.0.1:10001", "nowhere"])
def test_a_cluster_that_is_not_there_is_reported(address: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: `make test-cluster` installs it")
    with pytest.raises(WorkerError, match=r"No Ray cluster answers at .*ray start"), RayWorkers(address):
        pass
