"""Killed at every durable step, and out of disk space: nothing lost, nothing half-done, and the next call finishes."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from index_store import Archive, ArchiveError, NotAnArchiveError, StorageError, content_hash, read_manifest
from tests.index_store import syscalls
from tests.index_store.archive_builders import (
    FINGERPRINT,
    OTHER,
    add_manifest,
    everything,
    found_by_itself,
    picture,
    reembed,
    reports_embedded,
    simple_rows,
    stored_files,
    write_manifest,
)
from tests.index_store.archive_processes import (
    add_until_killed,
    create_until_killed,
    remove_until_killed,
    run,
    use_read_only,
)
from tests.index_store.thoroughness import ALL

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

KILLED = -9
EVERY = 1 if ALL or syscalls.library() is None else 3
"""Every which step is tried: `test_faults.py` kills at finer places still, where it can be built."""
BEFORE, BATCH = 3, 2


@pytest.fixture
def begun(quick_folder: Path) -> tuple[Path, Path]:
    """An archive of three cases, and a manifest of those and four more."""
    rows = simple_rows(7)
    with Archive.create(quick_folder / "begun") as archive:
        add_manifest(archive, write_manifest(quick_folder / "manifest.csv", rows[:BEFORE]))
    return quick_folder / "begun", write_manifest(quick_folder / "manifest.csv", rows)


@pytest.mark.slow
@pytest.mark.parametrize("in_place", [False, True])
def test_add_killed_at_any_step(begun: tuple[Path, Path], quick_folder: Path, in_place: bool) -> None:
    folder, manifest = begun
    if in_place:  # fewer kinds of step: one batch shows them all
        write_manifest(manifest, simple_rows(BEFORE + BATCH))
    wanted = {row.case: [content_hash(row.path)] for row in read_manifest(manifest).rows}
    with Archive.open(folder) as archive:
        revision = archive.revision
    kills = 0
    for step in itertools.count(1, EVERY):
        crashed = shutil.copytree(folder, quick_folder / f"crashed-{step}")
        code = run(add_until_killed, crashed, manifest, step, in_place)
        with Archive.open(crashed) as archive:
            there = everything(archive)
            assert there.items() <= wanted.items()
            assert len(there) >= BEFORE
            assert (len(there) - BEFORE) % BATCH == 0, "a batch is stored whole or not at all"
            embedded = len(reports_embedded(archive)) - BEFORE
            assert embedded % BATCH == 0
            assert archive.revision == revision + (len(there) - BEFORE + embedded) // BATCH, "one a transaction"
            found_by_itself(archive)
            with archive.writer():
                pass
            assert stored_files(crashed) == needed_files(archive), "any writer clears up after the killed one"
            add_manifest(archive, manifest, in_place=in_place)
            assert everything(archive) == wanted
            assert reports_embedded(archive).keys() == wanted.keys()
            found_by_itself(archive)
            assert stored_files(crashed) == needed_files(archive)
        shutil.rmtree(crashed)
        if code == 0:
            break
        assert code == KILLED
        kills += 1
    assert kills * EVERY >= (7 if in_place else 20)


def needed_files(archive: Archive) -> set[str]:
    return {image.path.name for case in archive.cases() for image in case.images if not image.in_place}


@pytest.mark.slow
def test_remove_killed_at_any_step(begun: tuple[Path, Path], quick_folder: Path) -> None:
    folder, _ = begun
    kills = 0
    for step in itertools.count(1, EVERY):
        crashed = shutil.copytree(folder, quick_folder / f"crashed-{step}")
        code = run(remove_until_killed, crashed, "case-1", step)
        with Archive.open(crashed) as archive:
            there = set(everything(archive))
            assert there in ({"case-0", "case-2"}, {"case-0", "case-1", "case-2"})
            assert reports_embedded(archive).keys() == there
            found_by_itself(archive)
            if "case-1" in everything(archive):
                archive.remove("case-1")
            with archive.writer():
                pass  # any writer finishes what was begun
            found_by_itself(archive)
            assert len(stored_files(crashed)) == 2
        shutil.rmtree(crashed)
        if code == 0:
            break
        assert code == KILLED
        kills += 1
    assert kills * EVERY >= 5


@pytest.mark.slow
def test_create_killed_at_any_step(quick_folder: Path) -> None:
    for step in itertools.count(1, EVERY):
        folder = quick_folder / f"new-{step}"
        code = run(create_until_killed, folder, step)
        try:
            Archive.open(folder).close()
        except NotAnArchiveError:
            assert code == KILLED
            Archive.create(folder).close()
            Archive.open(folder).close()
        if code == 0:
            break
    assert step > 3


@pytest.mark.slow
def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    rows = simple_rows(8)
    for i in range(8):  # noisy enough to need some space: about 20 KB each
        picture(i, size=(90, 80)).effect_spread(40).save(tmp_path / f"{i}.png")
    first = write_manifest(tmp_path / "first.csv", rows[:2])
    whole = write_manifest(tmp_path / "whole.csv", rows)
    refusals = 0
    with Archive.create(small_disk / "archive") as archive:
        add_manifest(archive, first)
        before = everything(archive)
        for left in range(0, 200_000, 20_000):
            fill(small_disk / "filler", leave=left)
            try:
                add_manifest(archive, whole, batch=3)
            except ArchiveError as error:
                assert isinstance(error, StorageError)
                assert "full" in str(error) or "No space" in str(error)
                refusals += 1
            after = everything(archive)
            assert before.items() <= after.items()
            assert (len(after) - 2) % 3 == 0, "a batch is stored whole or not at all"
            found_by_itself(archive)
            (small_disk / "filler").unlink()
        add_manifest(archive, whole)
        assert len(everything(archive)) == 8
        found_by_itself(archive)
        assert len(stored_files(archive.path)) == 8
    assert refusals >= 3


@pytest.mark.slow
def test_embedding_anew_on_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """The former encoder answers searches, also on a full disk, and the rest is embedded later."""
    with Archive.create(small_disk / "archive") as archive:
        add_manifest(archive, write_manifest(tmp_path / "manifest.csv", simple_rows(8)))
        refusals = 0
        for left in range(0, 60_000, 12_000):
            fill(small_disk / "filler", leave=left)
            try:
                reembed(archive, OTHER, batch=2)
            except StorageError as error:
                assert "full" in str(error) or "No space" in str(error)
                refusals += 1
            found_by_itself(archive)
            assert archive.encoder is not None
            (active,) = (known for known in archive.encoders() if known.active)
            embedded = (active.vectors, active.report_vectors)
            assert embedded == (active.images, active.reports), "who answers has embedded everything"
            (small_disk / "filler").unlink()
        reembed(archive, OTHER)
        assert archive.encoder.fingerprint == OTHER
        fill(small_disk / "filler", leave=0)
        with contextlib.suppress(StorageError):
            archive.drop_encoder(FINGERPRINT)
        found_by_itself(archive)
        assert archive.examine().findings == ()
    assert refusals >= 2


def fill(path: Path, *, leave: int) -> None:
    """Fill the disk but for so many bytes."""
    available = shutil.disk_usage(path.parent).free - leave
    path.write_bytes(bytes(max(available, 0)))


@pytest.mark.slow
def test_a_read_only_disk(small_disk: Path, tmp_path: Path) -> None:
    with Archive.create(small_disk / "archive") as archive:
        add_manifest(archive, write_manifest(tmp_path / "manifest.csv", simple_rows(3)))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with Archive.open(small_disk / "archive", read_only=True) as archive:
        found_by_itself(archive)
        assert archive.examine().findings == ()
        archive.back_up(tmp_path / "backup")
        with pytest.raises(StorageError, match="Read-only file system"):
            archive.back_up(small_disk / "backup")
    with pytest.raises(StorageError, match="Read-only file system"):
        Archive.restore(tmp_path / "backup", small_disk / "new")
    with pytest.raises(StorageError, match="could not be read or written"):
        Archive.open(small_disk / "archive")


@pytest.mark.slow
@pytest.mark.parametrize("closed", [True, False], ids=["at rest", "while it is open elsewhere"])
def test_a_folder_that_may_only_be_read(begun: tuple[Path, Path], quick_folder: Path, closed: bool) -> None:
    """An account that may read the archive searches it, and is told so where it would change it."""
    folder, manifest = begun
    quick_folder.chmod(0o755)
    with contextlib.nullcontext() if closed else Archive.open(folder) as archive:
        if archive is not None:
            found_by_itself(archive)  # what SQLite keeps beside the database while it is open is there
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
        before = {path: path.read_bytes() for path in files}
        assert run(use_read_only, folder, manifest) == 0
        assert {path: path.read_bytes() for path in before} == before
