"""A backup of a live archive is of one moment; what is restored is that, or nothing."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from index_store import (
    Archive,
    ArchiveBusyError,
    BackupError,
    NewerArchiveError,
    NotAnArchiveError,
    StorageError,
)
from index_store.catalog.catalog import Catalog
from index_store.files.locks import WriterLock
from index_store.maintenance import backup as backup_module
from tests.index_store.archive_builders import (
    FINGERPRINT,
    add_manifest,
    everything,
    found_by_itself,
    picture,
    reports_embedded,
    simple_rows,
    stored_files,
    vector_of,
    write_manifest,
)


@pytest.fixture
def tmp_path(quick_folder: Path) -> Path:
    return quick_folder


@pytest.fixture
def catalog() -> str:
    """In a file: a server's catalog is for its own tools (`test_postgres.py`)."""
    return ""


def restored(backup: Path, target: Path) -> dict[str, list[str]]:
    """What the archive of a backup holds; it is whole in every way."""
    Archive.restore(backup, target)
    with Archive.open(target) as archive:
        assert archive.notes == (), "its index was made and saved"
        assert archive.examine().findings == ()
        found_by_itself(archive)
        return everything(archive)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_there_and_back(filled: Archive, tmp_path: Path) -> None:
    descriptor = filled.back_up(tmp_path / "backup")
    assert (
        descriptor.archive,
        descriptor.patients,
        descriptor.cases,
        descriptor.images,
        descriptor.files,
        descriptor.in_place,
        descriptor.damaged,
    ) == ((filled.uuid, 6, 12, 12, 12, 0, ()))
    assert sorted(path.name for path in (tmp_path / "backup").iterdir()) == ["backup.json", "catalog.sqlite", "images"]
    before = files(tmp_path / "backup")
    restoration = Archive.restore(tmp_path / "backup", tmp_path / "new")
    assert restoration.card == descriptor
    assert restoration.examination.recalled == 12
    assert files(tmp_path / "backup") == before, "restoring changes no backup"
    with Archive.open(tmp_path / "new") as archive:
        assert archive.uuid == filled.uuid
        assert archive.cases() == [
            case.__class__(**{**vars(case), "images": tuple(moved(image, filled, archive) for image in case.images)})
            for case in filled.cases()
        ]
        assert reports_embedded(archive).keys() == reports_embedded(filled).keys()
        found_by_itself(archive)
        assert archive.remove("case-0") == 1  # and it can be changed
        found_by_itself(archive)
    assert not list(tmp_path.glob("*.partial"))
    assert not list((tmp_path / "new").glob("builder*")), "the building's lock is not left in it"


def moved(image: object, before: Archive, after: Archive) -> object:
    path = after.path / image.path.relative_to(before.path)
    return image.__class__(**{**vars(image), "path": path})


@pytest.mark.slow
def test_of_an_empty_archive_and_of_one_in_place(archive: Archive, manifest: Path, tmp_path: Path) -> None:
    archive.back_up(tmp_path / "empty")
    assert restored(tmp_path / "empty", tmp_path / "new empty") == {}
    add_manifest(archive, manifest, in_place=True)
    descriptor = archive.back_up(tmp_path / "backup")
    assert (descriptor.files, descriptor.in_place) == (0, 12)
    assert restored(tmp_path / "backup", tmp_path / "new") == everything(archive)
    (manifest.parent / "3.png").unlink()
    restoration = Archive.restore(tmp_path / "backup", tmp_path / "another")
    assert [finding.what for finding in restoration.examination.findings] == ["images added in place are missing"]


def test_others_add_and_remove_meanwhile(
    filled: Archive, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the worst moment: after the database was copied, and before the pictures are."""
    moments = [everything(filled)]
    copy_to = Catalog.copy_to

    def copy_and_change(catalog: Catalog, target: Path) -> None:
        copy_to(catalog, target)
        with Archive.open(filled.path) as writer:
            if len(moments) == 1:  # pictures that the copy names are removed
                writer.remove("case-7")
                writer.remove("case-11")
            elif len(moments) == 2:  # and when it was copied anew: one goes that is copied already, others come
                writer.remove("case-3")
                add_drawn(writer, manifest, 12, 13)
            moments.append(everything(writer))

    monkeypatch.setattr(Catalog, "copy_to", copy_and_change)
    with Archive.open(filled.path, read_only=True) as reader:
        reader.back_up(tmp_path / "backup")
    assert len(moments) == 3
    assert restored(tmp_path / "backup", tmp_path / "new") == moments[1], "as it was when the last copy was taken"


def add_drawn(archive: Archive, manifest: Path, *numbers: int) -> None:
    """New cases, each with a picture of its own."""
    rows = simple_rows(max(numbers) + 1)
    for i in numbers:
        picture(i).save(manifest.parent / f"{i}.png")
    add_manifest(archive, write_manifest(manifest, [rows[i] for i in numbers]))


def test_it_gives_up_where_others_change_it_without_end(
    filled: Archive, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_to = Catalog.copy_to
    numbers = iter(range(20, 40))

    def change_and_copy(catalog: Catalog, target: Path) -> None:
        number = next(numbers)
        with Archive.open(filled.path) as writer:
            add_drawn(writer, manifest, number)
            copy_to(catalog, target)
            writer.remove(f"case-{number}")

    monkeypatch.setattr(Catalog, "copy_to", change_and_copy)
    monkeypatch.setattr(backup_module, "ROUNDS", 3)
    with pytest.raises(BackupError, match="changed faster"):
        filled.back_up(tmp_path / "backup")
    assert next(numbers) == 23
    assert not (tmp_path / "backup").exists()


def test_nothing_is_overwritten(filled: Archive, tmp_path: Path) -> None:
    filled.back_up(tmp_path / "backup")
    with pytest.raises(BackupError, match="nothing is overwritten"):
        filled.back_up(tmp_path / "backup")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for taken in (filled.path, tmp_path / "full", tmp_path / "full" / "thesis.txt"):
        with pytest.raises(BackupError, match="nothing is overwritten"):
            Archive.restore(tmp_path / "backup", taken)
    (tmp_path / "x.partial").mkdir()
    (tmp_path / "x.partial" / "thesis.txt").write_text("mine")
    with pytest.raises(BackupError, match=r"holds other files \(thesis.txt\)"):
        filled.back_up(tmp_path / "x")
    assert (tmp_path / "x.partial" / "thesis.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert restored(tmp_path / "backup", tmp_path / "empty") == everything(filled)


def test_not_into_the_archive_itself(filled: Archive, tmp_path: Path) -> None:
    for inside in (filled.path / "backup", filled.path / "images" / "backup", filled.path.parent):
        with pytest.raises(BackupError, match=r"lie within each other|nothing is overwritten"):
            filled.back_up(inside)
    filled.back_up(tmp_path / "backup")
    with pytest.raises(BackupError, match="lie within each other"):
        Archive.restore(tmp_path / "backup", tmp_path / "backup" / "new")


def test_a_backup_is_not_opened_as_an_archive(filled: Archive, tmp_path: Path) -> None:
    filled.back_up(tmp_path / "backup")
    with pytest.raises(NotAnArchiveError, match="coin restore"):
        Archive.open(tmp_path / "backup")


def test_two_at_once_into_the_same_folder(filled: Archive, tmp_path: Path) -> None:
    (tmp_path / "backup.partial").mkdir()
    with (
        WriterLock(tmp_path / "backup.partial", name="builder").hold(),
        pytest.raises(ArchiveBusyError, match=r"process \d+, since"),
    ):
        filled.back_up(tmp_path / "backup")
    filled.back_up(tmp_path / "backup")


def test_damaged_pictures_are_not_passed_on_in_silence(filled: Archive, tmp_path: Path) -> None:
    first, second = (filled.case(f"case-{i}").images[0] for i in (3, 5))
    first.path.unlink()
    picture(99).save(second.path)
    with pytest.raises(BackupError, match=r"2 stored pictures .*case-3, image 4; case case-5, image 6"):
        filled.back_up(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    descriptor = filled.back_up(tmp_path / "backup", allow_damaged=True)
    assert len(descriptor.damaged) == 2
    assert descriptor.files == 10
    restoration = Archive.restore(tmp_path / "backup", tmp_path / "new")
    (finding,) = restoration.examination.findings
    assert (finding.what, finding.count) == ("stored image files are missing", 2)


def names(backup: Path) -> list[Path]:
    return sorted(path for path in (backup / "images").rglob("*") if path.is_file())


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda b: (b / "backup.json").unlink(), "no finished backup"),
        (lambda b: (b / "backup.json").write_text("{"), "backup.json is damaged"),
        (lambda b: (b / "backup.json").write_text("[]"), "backup.json is damaged"),
        (lambda b: (b / "backup.json").write_text('{"format": 1, "damaged": []}'), "backup.json is damaged"),
        (lambda b: (b / "catalog.sqlite").unlink(), "database of the backup"),
        (lambda b: flip(b / "catalog.sqlite"), "database of the backup"),
        (lambda b: (b / "catalog.sqlite").write_bytes((b / "catalog.sqlite").read_bytes()[:-9]), "database of the"),
        (lambda b: names(b)[3].unlink(), "1 pictures of the backup"),
        (lambda b: flip(names(b)[3]), "1 pictures of the backup"),
        (lambda b: names(b)[3].write_bytes(b""), "1 pictures of the backup"),
        (lambda b: edit(b, cases=11), "does not hold what it says"),
        (lambda b: edit(b, format=2), "newer version"),
    ],
)
def test_a_spoilt_backup_is_refused(
    filled: Archive, tmp_path: Path, spoil: Callable[[Path], object], reason: str
) -> None:
    filled.back_up(tmp_path / "backup")
    spoil(tmp_path / "backup")
    with pytest.raises(BackupError, match=reason):
        Archive.restore(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    if (tmp_path / "new.partial").exists():
        with pytest.raises(NotAnArchiveError, match="not finished"):
            Archive.open(tmp_path / "new.partial")
    if "pictures" in reason:
        restoration = Archive.restore(tmp_path / "backup", tmp_path / "new", allow_damaged=True)
        assert [finding.count for finding in restoration.examination.findings] == [1]
        with Archive.open(tmp_path / "new") as archive:
            assert len(archive.search(vector_of("0" * 64)[None], 20, fingerprint=FINGERPRINT)[0]) == 12


def edit(backup: Path, **values: object) -> None:
    descriptor = json.loads((backup / "backup.json").read_text())
    (backup / "backup.json").write_text(json.dumps({**descriptor, **values}))


def test_a_backup_of_a_newer_version(filled: Archive, tmp_path: Path) -> None:
    filled.back_up(tmp_path / "backup")
    edit(tmp_path / "backup", schema_version=99)
    with pytest.raises(NewerArchiveError, match="schema 99"):
        Archive.restore(tmp_path / "backup", tmp_path / "new")


def test_onto_a_full_disk(filled: Archive, small_disk: Path, tmp_path: Path) -> None:
    filled.back_up(tmp_path / "backup")
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 60_000))
    with pytest.raises(StorageError, match=r"full|No space"):
        filled.back_up(small_disk / "backup")
    with pytest.raises(StorageError, match=r"full|No space"):
        Archive.restore(tmp_path / "backup", small_disk / "new")
    assert not (small_disk / "backup").exists()
    assert not (small_disk / "new").exists()
    (small_disk / "filler").unlink()
    filled.back_up(small_disk / "backup")
    assert restored(small_disk / "backup", tmp_path / "new") == everything(filled)


def test_a_damaged_database_is_not_backed_up(filled: Archive, tmp_path: Path) -> None:
    filled.close()
    with closing(sqlite3.connect(filled.path / "archive.sqlite")) as connection, connection:
        connection.execute("DELETE FROM patients WHERE id = 1")
    with Archive.open(filled.path, read_only=True) as archive, pytest.raises(BackupError, match=r"database .* damaged"):
        archive.back_up(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_the_same_pictures_are_not_copied_twice(filled: Archive, tmp_path: Path) -> None:
    """An attempt that was cut short is gone on with; what it left half-done is done again."""

    def interrupt(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        filled.back_up(tmp_path / "backup", progress=interrupt)
    partial = tmp_path / "backup.partial"
    assert not (tmp_path / "backup").exists()
    with pytest.raises(BackupError, match="no finished backup"):
        Archive.restore(partial, tmp_path / "new")
    left = names(partial)
    assert len(left) == 12
    flip(left[2])
    stamps = {path.name: path.stat().st_mtime_ns for path in left}
    filled.remove("case-4")
    filled.back_up(tmp_path / "backup")
    again = {path.name: path.stat().st_mtime_ns for path in names(tmp_path / "backup")}
    assert len(again) == 11
    assert sum(stamps[name] != stamp for name, stamp in again.items()) <= 1
    assert restored(tmp_path / "backup", tmp_path / "new") == everything(filled)
    assert stored_files(tmp_path / "new") == stored_files(filled.path)
