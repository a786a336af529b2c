"""`coin add` over workers, with a stand-in for Ray that runs them in this process; the real one is in
`test_ray_cluster`."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from index_store import Archive, FieldChoice, PlannedImage
from retrieval import Encoder, add_manifest
from retrieval.errors import WorkerError
from retrieval.ingest import ray_workers
from retrieval.ingest.ray_workers import RayCluster, RayWorkers
from tests.retrieval.ingest.test_ingest import check_every_vector_is_its_images, write_images, write_manifest
from tests.small_slides import small_slide


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class Handle:
    """An actor: each method call is a task that runs when its result is asked for."""

    def __init__(self, worker: Any, ray: FakeRay) -> None:
        self._worker, self._ray = worker, ray

    def __getattr__(self, name: str) -> Any:
        def remote(*arguments: object) -> Callable[[], object]:
            self._ray.sent += [item for argument in arguments for item in argument]  # type: ignore[attr-defined]
            return lambda: getattr(self._worker, name)(*arguments)

        return SimpleNamespace(remote=remote)


class FakeRay(ModuleType):
    """As much of the module `ray` as is used."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)
        self.resources: dict[str, float] = {"CPU": 4}
        self.options: dict[str, object] = {}
        self.sent: list[PlannedImage] = []
        self.killed = 0
        self.lost = 0
        """Tasks that are still to be lost."""

    def init(self, **settings: object) -> None:
        self.settings = settings

    def shutdown(self) -> None:
        self.settings = {}

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def nodes(self) -> list[dict[str, bool]]:
        return [{"Alive": True}, {"Alive": True}, {"Alive": False}]

    def remote(self, actor: Callable[..., object]) -> SimpleNamespace:
        def options(**chosen: object) -> SimpleNamespace:
            self.options = chosen
            return SimpleNamespace(remote=lambda *arguments: Handle(actor(*arguments), self))

        return SimpleNamespace(options=options)

    def wait(self, tasks: Sequence[object], *, timeout: float) -> tuple[list[object], list[object]]:
        return list(tasks[:1]), list(tasks[1:])

    def get(self, task: Callable[[], object]) -> object:
        if self.lost and task.__closure__:
            self.lost -= 1
            raise RayError
        try:
            return task()
        except Exception as error:
            raise RayTaskError(error) from error

    def kill(self, handle: Handle) -> None:
        self.killed += 1


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", fake)
    return fake


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive.create(tmp_path / "archive") as archive:
        yield archive


def test_workers_see_files_alone_and_the_archive_gets_whole_rows(
    ray: FakeRay, archive: Archive, encoder: Encoder, tmp_path: Path
) -> None:
    rows = write_images(tmp_path, 10)
    (tmp_path / "4.png").write_bytes(b"no picture")
    ray.lost = 2
    with RayWorkers() as workers:
        assert ray.settings["address"] == "auto"
        summary = add_manifest(archive, write_manifest(tmp_path, rows), encoder, batch_size=3, workers=workers)
    assert ray.settings == {}, "it was disconnected"
    assert summary.added == 9
    assert [problem.where for problem in summary.skipped] == ["manifest.csv, line 6"]
    assert check_every_vector_is_its_images(archive, encoder) == 9
    assert [case.key for case in archive.cases()] == [row[1] for row in rows if row[0] != "4.png"]
    assert archive.case("case 7").report == "Report 7."
    assert workers.delivered == 10
    assert ray.killed == 2, "a worker a node"
    assert {item.row.path.name for item in ray.sent} == {row[0] for row in rows}
    for item in ray.sent:
        row = item.row
        assert (row.case, row.patient, row.report, row.image, row.attributes) == ("", "", "", "", {})


def test_a_worker_with_other_weights_ends_it(
    ray: FakeRay, archive: Archive, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_manifest(tmp_path, write_images(tmp_path, 2))
    worker = ray_workers.EmbeddingWorker(str(encoder.source), "cpu", 4, "0" * 64)
    monkeypatch.setattr(ray_workers, "EmbeddingWorker", lambda *_: worker)
    with RayWorkers(count=1) as workers, pytest.raises(WorkerError, match="encoder is another one"):
        add_manifest(archive, manifest, encoder, workers=workers)
    assert archive.status().images == 0


@pytest.mark.parametrize(
    ("gpus", "device", "capacity", "needs"),
    [
        (0, "auto", 2, {"num_cpus": 1}),
        (3, "auto", 3, {"num_gpus": 1}),
        (3, "cpu", 2, {"num_cpus": 1}),
    ],
)
def test_a_worker_a_gpu_or_a_node(
    ray: FakeRay, clip_folder: Path, gpus: int, device: str, capacity: int, needs: dict[str, int]
) -> None:
    ray.resources["GPU"] = gpus
    cluster = RayCluster(ray, Encoder(clip_folder, device=device))
    assert cluster.capacity() == capacity
    assert {name: ray.options.get(name) for name in ("num_cpus", "num_gpus") if name in ray.options} == needs
    assert ray.options["max_restarts"] == 0, "a lost worker is replaced by the scheduler"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:10001", "nowhere", ":6379", "host:"])
def test_an_address_where_nobody_answers_is_named(ray: FakeRay, address: str) -> None:
    with pytest.raises(WorkerError, match=r"No Ray cluster answers at .*ray start"), RayWorkers(address):
        pass


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(WorkerError, match="Install the extra `ray`"), RayWorkers():
        pass


@pytest.mark.slow
def test_workers_read_the_fields_of_slides(
    ray: FakeRay, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are chosen here; a worker gets each as it would travel, and neither report nor patient."""
    rows = [[small_slide(tmp_path / "slide.svs").name, "C", "A report.", ""], *write_images(tmp_path, 3)]
    manifest = write_manifest(tmp_path, rows)
    embed = ray_workers.embed_batch

    def travelled(items: Sequence[Any], encoder: Encoder) -> Any:
        sent = pickle.dumps(list(items))
        assert b"A report." not in sent
        batch, vectors = embed(pickle.loads(sent), encoder)
        return pickle.loads(pickle.dumps(batch)), vectors

    monkeypatch.setattr(ray_workers, "embed_batch", travelled)
    with Archive.create(tmp_path / "archive") as archive, RayWorkers(count=2) as workers:
        choice = FieldChoice(most=6)
        summary = add_manifest(archive, manifest, encoder, choice=choice, batch_size=2, workers=workers)
        assert (summary.added, len(summary.slides), summary.skipped) == (9, 1, ())
        assert check_every_vector_is_its_images(archive, encoder) == 9
        case = archive.case("C")
        assert list(case.slides[0].choices.values()) == [True]
        assert all(image.place and image.slide == "slide" for image in case.images)
        assert add_manifest(archive, manifest, encoder, choice=choice, workers=workers).unchanged == 9
