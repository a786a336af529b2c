"""What the tests of this package run in processes of their own. Started by a fork server that has imported the slow
modules once."""

from __future__ import annotations

import contextlib
import mmap  # noqa: F401  (who gives up his rights may not be able to read the standard library any more)
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
from sqlalchemy import Engine, event

from index_store import Archive, EncoderMismatchError, StorageError
from tests.index_store import syscalls
from tests.index_store.archive_builders import (
    FINGERPRINT,
    OTHER,
    add_manifest,
    everything,
    found_by_itself,
    reembed,
    vector_of,
)

SECONDS = 600
"""How long another process or thread may take: far more than on a busy machine."""
"""No child may take longer; on an idle machine they take less than one."""


def context() -> ForkServerContext:
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(
        [
            "faiss",
            "psycopg",
            "PIL.Image",
            "index_store.archive",
            "index_store.manifest.manifest",
            "index_store.index.faiss_index",
        ]
    )
    with syscalls.preloaded():
        forkserver.ensure_running()
    return server


def run(target: Callable[..., object], *arguments: object) -> int:
    """Run `target` in a process; returns its exit code (-9: killed)."""
    process = context().Process(target=target, args=arguments)
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        raise AssertionError(f"{target.__name__} did not end within {SECONDS} s")
    assert process.exitcode is not None
    return process.exitcode


def die_at(step: int) -> None:
    """Kill this process just before its `step`-th durable step: an fsync, a rename, a deletion or a commit."""
    left = step

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(name: str) -> None:
        original = getattr(os, name)

        def step_then_go(*arguments: object, **options: object) -> object:
            count()
            return original(*arguments, **options)

        setattr(os, name, step_then_go)

    for name in ("fsync", "replace", "unlink"):
        counted(name)
    event.listen(Engine, "commit", count)


def add_until_killed(folder: Path, manifest: Path, step: int, in_place: bool) -> None:
    die_at(step)
    with Archive.open(folder) as archive:
        add_manifest(archive, manifest, batch=2, in_place=in_place)


def add_until_killed_in_milvus(folder: Path, manifest: Path, call: int) -> None:
    """Kill this process just before its `call`-th changing call to Milvus."""
    from pymilvus import MilvusClient

    left = call

    def counted(name: str) -> None:
        original = getattr(MilvusClient, name)

        def count_then_go(*arguments: object, **options: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        setattr(MilvusClient, name, count_then_go)

    for name in ("create_collection", "drop_collection", "insert", "delete", "upsert"):
        counted(name)
    with Archive.open(folder) as archive:
        add_manifest(archive, manifest, in_place=True)


def remove_until_killed(folder: Path, case: str, step: int) -> None:
    die_at(step)
    with Archive.open(folder) as archive:
        archive.remove(case)


def create_until_killed(folder: Path, step: int, catalog: str = "") -> None:
    die_at(step)
    Archive.create(folder, catalog=catalog).close()


def hold_the_lock(folder: Path, holding: Event, release: Event) -> None:
    with Archive.open(folder) as archive, archive.writer():
        holding.set()
        release.wait(SECONDS)


def use_read_only(folder: Path, manifest: Path) -> None:
    """As somebody who may read the archive's files and no more."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    assert not os.access(folder, os.W_OK)
    with Archive.open(folder, read_only=True) as archive:
        found_by_itself(archive)
        assert archive.examine().findings == ()
    with contextlib.suppress(StorageError), Archive.open(folder) as archive:
        before = everything(archive)
        for change in (
            lambda: archive.remove("case-1"),
            lambda: add_manifest(archive, manifest),
            lambda: reembed(archive, OTHER),
            lambda: archive.examine(repair=True),
        ):
            try:
                change()
            except StorageError:
                assert everything(archive) == before
                found_by_itself(archive)
            else:
                raise SystemExit("changed what may only be read")


IMAGES = 3
"""Of each case that `follow_until` looks at."""
LAST = "case-last"


def follow_until(folder: Path, started: Event, threads: int = 2) -> None:
    """On several threads, search over and over until the last case is there: every answer must be of one generation.

    That is: whole cases, since a case comes and goes as one; and the scores that the encoder of the archive gives, not
    those of another, though the archive is embedded anew meanwhile.
    """
    failures: list[BaseException] = []
    with Archive.open(folder, read_only=True) as archive:

        def look() -> None:
            try:
                while not look_once(archive):
                    started.set()
            except BaseException as error:
                failures.append(error)
                raise

        workers = [threading.Thread(target=look) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(SECONDS)
        if failures or any(worker.is_alive() for worker in workers):
            raise SystemExit(f"not a whole generation: {failures}")
        if archive.notes:
            raise SystemExit(f"following cost a rebuilding: {archive.notes}")


def look_once(archive: Archive) -> bool:
    """One search; says whether the last case was there."""
    encoder = archive.encoder
    assert encoder is not None
    query = vector_of("0" * 64, encoder.fingerprint)
    try:
        (hits,) = archive.search(query[None], 10_000, fingerprint=encoder.fingerprint)
    except EncoderMismatchError:  # switched between the two questions: refused, and not answered by the other
        return False
    cases = archive.cases_of_images([hit.image_id for hit in hits])  # what was removed since is left out
    found: dict[str, list[int]] = {}
    for hit in hits:
        case = cases.get(hit.image_id)
        if case is None:
            continue
        found.setdefault(case.key, []).append(hit.image_id)
        (image,) = (image for image in case.images if image.id == hit.image_id)
        vector = vector_of(image.sha256, encoder.fingerprint)
        true = float((vector.astype(np.float64) * query.astype(np.float64)).sum())
        assert hit.score == true, f"{hit} is not of {encoder.fingerprint}"
    assert len(hits) % IMAGES == 0, f"{len(hits)} hits"
    assert {len(ids) for ids in found.values()} <= {IMAGES}, "half a case"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    return LAST in found


def search_until(folder: Path, started: Event, images: int, batch: int) -> None:
    """Search over and over until the archive holds so many images; every answer must be whole batches."""
    query = vector_of("0" * 64)[None]
    with Archive.open(folder, read_only=True) as archive:
        seen = -1
        while seen != images:
            (hits,) = archive.search(query, 10_000, fingerprint=FINGERPRINT)
            if len(hits) % batch or len(archive.cases_of_images([hit.image_id for hit in hits])) < len(hits):
                raise SystemExit(f"saw {len(hits)} images: not a whole generation")
            seen = len(hits)
            started.set()


@contextmanager
def readers_elsewhere(folder: Path, copies: list[Path], images: int, batch: int) -> Iterator[None]:
    """Readers in processes of their own, each as on another host: over a copy of the archive's folder, without the
    index that a writer saves. Within, all of them search; at the end each must have seen the last image, and whole
    batches only."""
    started = [context().Event() for _ in copies]
    readers = [
        context().Process(target=search_until, args=(shutil.copytree(folder, copy), begun, images, batch))
        for copy, begun in zip(copies, started, strict=True)
    ]
    for reader, begun in zip(readers, started, strict=True):
        reader.start()
        assert begun.wait(SECONDS)
    yield
    for reader in readers:
        reader.join(SECONDS)
        assert reader.exitcode == 0
