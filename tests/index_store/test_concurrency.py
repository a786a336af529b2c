from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive, ArchiveBusyError, CaseFilter, read_manifest
from index_store.catalog.change_log import log_head
from tests.index_store.archive_builders import (
    DIM,
    FINGERPRINT,
    OTHER,
    add_manifest,
    embed_reports,
    found_by_itself,
    picture,
    records,
    reembed,
    simple_rows,
    vector_of,
    vectors_for,
    write_manifest,
)
from tests.index_store.archive_processes import IMAGES, LAST, SECONDS, context, follow_until, hold_the_lock
from tests.index_store.backends import in_a_file

QUERY = vector_of("0" * 64)[None]
BATCH = 3


@contextmanager
def another_writer(folder: Path) -> Iterator[int]:
    """A process that holds the archive for writing; gives its id."""
    holding, release = context().Event(), context().Event()
    process = context().Process(target=hold_the_lock, args=(folder, holding, release))
    process.start()
    assert holding.wait(SECONDS)
    assert process.pid is not None
    try:
        yield process.pid
    finally:
        release.set()
        process.join(SECONDS)
        assert process.exitcode == 0


@pytest.mark.slow
def test_a_second_writer_is_told_who_the_first_is(filled: Archive, manifest: Path) -> None:
    with another_writer(filled.path) as pid:
        with pytest.raises(ArchiveBusyError, match=rf"is being written by .+@.+, process {pid}, since .* Wait"):
            filled.remove("case-0")
        with pytest.raises(ArchiveBusyError), filled.writer(timeout=0.1):
            pass
        assert len(filled.search(QUERY, 100, fingerprint=FINGERPRINT)[0]) == 12  # reading continues
        assert add_nothing(filled, manifest) == 0
    with filled.writer(timeout=SECONDS):
        assert filled.remove("case-0") == 1
    found_by_itself(filled)


def add_nothing(archive: Archive, manifest: Path) -> int:
    """Planning needs no lock."""
    return len(archive.pending(read_manifest(manifest).rows).new)


def test_a_second_thread_is_a_second_writer(filled: Archive) -> None:
    refused: list[ArchiveBusyError] = []

    def remove() -> None:
        try:
            filled.remove("case-0")
        except ArchiveBusyError as error:
            refused.append(error)

    with filled.writer():
        thread = threading.Thread(target=remove)
        thread.start()
        thread.join(SECONDS)
        assert filled.remove("case-1") == 1  # the holder itself continues
    assert len(refused) == 1
    found_by_itself(filled)


def test_two_archives_of_one_process_are_two_writers(filled: Archive) -> None:
    with Archive.open(filled.path) as other, filled.writer():
        with pytest.raises(ArchiveBusyError):
            other.remove("case-0")
        assert len(other.search(QUERY, 100, fingerprint=FINGERPRINT)[0]) == 12


def test_readers_follow_without_reopening(filled: Archive, manifest: Path) -> None:
    with Archive.open(filled.path, read_only=True) as reader:
        assert len(reader.search(QUERY, 100, fingerprint=FINGERPRINT)[0]) == 12
        add_manifest(filled, write_manifest(manifest, simple_rows(20)))
        assert len(reader.search(QUERY, 100, fingerprint=FINGERPRINT)[0]) == 20
        filled.remove("case-3")
        assert len(reader.search(QUERY, 100, fingerprint=FINGERPRINT)[0]) == 19
        found_by_itself(reader)
        assert reader.notes == ()


def test_a_reading_transaction_sees_one_state(filled: Archive) -> None:
    with records(filled.path) as session:
        before = log_head(session)
        filled.remove("case-0")
        assert log_head(session) == before


@pytest.mark.parametrize(
    "catalog",
    [pytest.param("sqlite", marks=pytest.mark.slow), pytest.param("postgresql", marks=pytest.mark.cluster)],
    indirect=True,
)
def test_readers_in_processes_and_threads_see_whole_generations(archive: Archive, tmp_path: Path) -> None:
    """One writer adds, removes, changes and embeds anew; three processes of two threads each search all the time, and
    none of them is opened again."""
    fingerprint = FINGERPRINT
    archive.use_encoder(fingerprint, name="test encoder", dim=DIM)

    def add(*keys: str) -> None:
        rows = [
            {"image": f"{key}-{i}.png", "case": key, "patient": key, "report": f"Report {key}."}
            for key in keys
            for i in range(IMAGES)
        ]
        for row in rows:
            picture(zlib.crc32(row["image"].encode())).save(tmp_path / row["image"])
        plan = archive.pending(read_manifest(write_manifest(tmp_path / "manifest.csv", rows)).rows)
        for start in range(0, len(plan.new), IMAGES):
            items = [planned.load() for planned in plan.new[start : start + IMAGES]]
            vectors = np.array([vector_of(item.sha256, fingerprint) for item in items])
            assert archive.add(items, vectors, fingerprint=fingerprint) == IMAGES

    add("case-0", "case-1")
    events = [context().Event() for _ in range(3)]
    readers = [context().Process(target=follow_until, args=(archive.path, started)) for started in events]
    for reader, started in zip(readers, events, strict=True):
        reader.start()
        assert started.wait(SECONDS)
    add(*(f"case-{i}" for i in range(2, 8)))
    for key in ("case-0", "case-3"):
        assert archive.remove(key) == IMAGES
    with archive.writer():
        reembed(archive, OTHER, batch=4)
    fingerprint = OTHER
    archive.remove("case-5")
    add("case-8", LAST)
    for reader in readers:
        reader.join(SECONDS)
    assert [reader.exitcode for reader in readers] == [0, 0, 0]
    embed_reports(archive, fingerprint=OTHER)
    found_by_itself(archive)
    assert archive.examine().findings == ()


@pytest.mark.slow
def test_a_second_writer_may_wait(filled: Archive) -> None:
    done: list[int] = []

    def remove() -> None:
        with filled.writer(timeout=SECONDS):
            done.append(filled.remove("case-0"))

    with another_writer(filled.path):
        waiting = threading.Thread(target=remove)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        assert done == []
    waiting.join(SECONDS)
    assert done == [1]
    found_by_itself(filled)


@in_a_file
def test_what_a_reader_kept_from_being_erased_is_erased_with_the_next_removal(filled: Archive) -> None:
    gone = filled.case("case-0").report.encode()
    with records(filled.path) as session:
        log_head(session)
        filled.remove("case-0")
        assert any(gone in file.read_bytes() for file in databases(filled))  # put off, and not waited for
    filled.remove("case-1")
    assert not any(gone in file.read_bytes() for file in databases(filled))


def databases(archive: Archive) -> list[Path]:
    """The database and its write-ahead log."""
    return list(archive.path.glob("*.sqlite*"))


@pytest.mark.slow
def test_threads_search_while_one_writes(archive: Archive, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "manifest.csv", simple_rows(12 * BATCH))
    archive.use_encoder(FINGERPRINT, name="test encoder", dim=DIM)
    plan = archive.pending(read_manifest(manifest).rows)
    items = [planned.load() for planned in plan.new]
    done = threading.Event()
    failures: list[BaseException] = []
    searches = [0, 0, 0, 0]

    def search(worker: int) -> None:
        where = CaseFilter(exclude_cases=("case-0",)) if worker % 2 else None
        try:
            while not done.is_set():
                (hits,) = archive.search(QUERY, 1_000, where=where, fingerprint=FINGERPRINT)
                missing = 1 if where and hits else 0
                assert (len(hits) + missing) % BATCH == 0
                assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
                searches[worker] += 1
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=search, args=(worker,)) for worker in range(len(searches))]
    for thread in threads:
        thread.start()
    try:
        with archive.writer():
            for start in range(0, len(items), BATCH):
                part = items[start : start + BATCH]
                archive.add(part, vectors_for(part), fingerprint=FINGERPRINT)
    finally:
        done.set()
        for thread in threads:
            thread.join(SECONDS)
    assert failures == []
    assert min(searches) > 0
    found_by_itself(archive)


def test_threads_get_the_same_answers_as_one(filled: Archive) -> None:
    queries = np.concatenate([filled.vectors_of([i], FINGERPRINT) for i in range(1, 13)])
    alone = filled.search(queries, 5, fingerprint=FINGERPRINT)
    answers: dict[int, object] = {}

    def search(i: int) -> None:
        answers[i] = filled.search(queries[i : i + 1], 5, fingerprint=FINGERPRINT)[0]

    threads = [threading.Thread(target=search, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert [answers[i] for i in range(12)] == alone
