"""What is derived of the records is kept for the next process, and used only where it fits."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from index_store import Archive, CaseFilter, Derived, DerivedName, LogPosition
from index_store.search import derived_files, image_table_sync
from tests.index_store.archive_builders import add_manifest, simple_rows, write_manifest
from tests.index_store.backends import in_a_file
from tests.index_store.search.test_image_table import as_records, expected

NAME = DerivedName("counts", format=1, key="encoder-a")


def sample(position: LogPosition, number: int = 7) -> Derived:
    arrays = {"matrix": np.arange(6, dtype=np.float32).reshape(2, 3), "none": np.empty(0, np.int64)}
    return Derived(position, {**arrays, "flags": np.array([True, False])}, {"words": ["größe", ""], "number": number})


def kept(archive: Archive, name: DerivedName = NAME, number: int = 7) -> Path:
    """Keep a sample, and return its file."""
    assert archive.write_derived(name, sample(archive.image_table().position, number))
    return archive.path / "index" / name.file


def files(archive: Archive) -> list[str]:
    return sorted(path.name.rsplit("-", 1)[0] for path in (archive.path / "index").glob("*.derived*"))


def test_another_process_reads_what_was_written(filled: Archive) -> None:
    path = kept(filled)
    written = sample(filled.image_table().position)
    with Archive.open(filled.path, read_only=True) as other:
        read = other.read_derived(NAME)
    assert read is not None
    assert read.position == written.position
    assert read.values == written.values
    assert {name: array.tolist() for name, array in read.arrays.items()} == {
        name: array.tolist() for name, array in written.arrays.items()
    }
    assert {name: array.dtype for name, array in read.arrays.items()} == {
        name: array.dtype for name, array in written.arrays.items()
    }
    assert os.name == "nt" or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert filled.read_derived(DerivedName("counts", format=2, key="encoder-a")) is None
    assert filled.read_derived(DerivedName("counts", format=1, key="encoder-b")) is None


def test_who_writes_later_waits_only_when_closing(filled: Archive, caplog: pytest.LogCaptureFixture) -> None:
    position, others, made = filled.image_table().position, files(filled), Event()

    def slow() -> Derived:
        made.wait()
        return sample(position)

    def failing() -> Derived:
        raise ValueError("odd numbers")

    with Archive.open(filled.path) as opened:
        opened.write_derived_later(NAME, failing)
        opened.write_derived_later(NAME, slow)
        assert files(filled) == others
        made.set()
    assert filled.read_derived(NAME) is not None
    assert "odd numbers" in caplog.text
    with Archive.open(filled.path, read_only=True) as reader:
        reader.write_derived_later(DerivedName("counts", format=2), failing)
    assert caplog.text.count("Traceback") == 1, "a reader does not make what it may not write"


def shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def altered(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGE: list[Callable[[Path], object]] = [shortened, altered, lambda path: path.write_bytes(b""), Path.unlink]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_as_none(filled: Archive, damage: Callable[[Path], object]) -> None:
    damage(kept(filled))
    assert filled.read_derived(NAME) is None
    kept(filled)
    assert filled.read_derived(NAME) is not None


def test_a_file_of_another_archive_is_as_none(filled: Archive, tmp_path: Path) -> None:
    with Archive.create(tmp_path / "other") as other:
        position = other.image_table().position
        assert other.write_derived(NAME, sample(position))
        shutil.copy(other.path / "index" / NAME.file, kept(filled))
    assert filled.read_derived(NAME) is None


@in_a_file
def test_what_is_newer_than_the_records_is_as_none(filled: Archive, tmp_path: Path) -> None:
    """A database put back from a backup by hand, under the derived files of what came after."""
    filled.back_up(tmp_path / "backup")
    add_manifest(filled, write_manifest(tmp_path / "more.csv", simple_rows(2, prefix="more-")))
    newer = kept(filled)
    newer_table = len(filled.image_table())
    filled.close()
    Archive.restore(tmp_path / "backup", tmp_path / "restored")
    shutil.copy(newer, tmp_path / "restored" / "index")
    shutil.copy(filled.path / "index" / image_table_sync.TABLE.file, tmp_path / "restored" / "index")
    with Archive.open(tmp_path / "restored") as restored:
        assert restored.uuid == filled.uuid
        assert restored.read_derived(NAME) is None
        assert len(restored.image_table()) == newer_table - 2
        assert as_records(restored.image_table()) == expected(restored)


@pytest.mark.parametrize("share", [image_table_sync.KEPT, 1.0])
def test_a_removal_leaves_nothing(
    filled: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    rows = [{**row, "slide": "unmistakable"} for row in simple_rows(1, prefix="named-")]
    add_manifest(filled, write_manifest(tmp_path / "named.csv", rows))
    kept(filled)
    before = sample(filled.image_table().position)
    assert files(filled) == ["counts", "image-table"]
    table = filled.path / "index" / image_table_sync.TABLE.file
    assert b"unmistakable" in table.read_bytes()
    monkeypatch.setattr(image_table_sync, "KEPT", share)  # of an archive of this size, one image is much
    with Archive.open(filled.path) as other:
        other.remove("case-named-0")
    assert files(filled) == ["image-table"]
    assert b"unmistakable" not in table.read_bytes()
    # A process that had read the records before the removal, and comes to write after it.
    assert not filled.write_derived(NAME, before)
    assert files(filled) == ["image-table"]


def test_a_changed_report_leaves_nothing(filled: Archive, tmp_path: Path) -> None:
    kept(filled)
    rows = simple_rows(1)
    add_manifest(filled, write_manifest(tmp_path / "changed.csv", [{**rows[0], "report": "Another report."}]))
    assert files(filled) == ["image-table"]


def test_what_was_made_before_a_removal_is_not_read(filled: Archive, tmp_path: Path) -> None:
    """As after a process that was killed before it deleted the file."""
    old = shutil.copy(kept(filled), tmp_path / "old")
    filled.remove(filled.cases()[0].key)
    shutil.copy(old, filled.path / "index" / NAME.file)
    assert filled.read_derived(NAME) is None


def test_an_addition_keeps_it(filled: Archive, tmp_path: Path) -> None:
    kept(filled)
    add_manifest(filled, write_manifest(tmp_path / "more.csv", simple_rows(2, prefix="more-")))
    read = filled.read_derived(NAME)
    assert read is not None
    assert read.position != filled.image_table().position


def test_the_last_of_a_kind_are_kept(filled: Archive) -> None:
    names = [DerivedName("counts", 1, key, keep=2) for key in ("a", "b", "c")]
    other = DerivedName("others", 1)
    for second, name in enumerate([other, *names]):
        path = kept(filled, name)
        os.utime(path, (second, second))
    kept(filled, names[0])
    assert [filled.read_derived(name) is not None for name in [other, *names]] == [True, True, False, True]


def test_a_read_only_archive_writes_only_where_it_is_told_to(filled: Archive) -> None:
    with Archive.open(filled.path, read_only=True) as reader:
        position = reader.image_table().position
        assert not reader.write_derived(NAME, sample(position))
    assert files(filled) == []
    with Archive.open(filled.path, read_only=True, keep_derived=True) as reader:
        reader.image_table()
        assert reader.write_derived(NAME, sample(position))
    assert files(filled) == ["counts", "image-table"]


def test_a_folder_that_cannot_be_written_costs_only_time(filled: Archive) -> None:
    shutil.rmtree(filled.path / "index")
    (filled.path / "index").write_text("in the way")
    assert not filled.write_derived(NAME, sample(filled.image_table().position))
    assert filled.read_derived(NAME) is None
    assert as_records(filled.image_table()) == expected(filled)


def test_what_a_killed_process_left_is_deleted(filled: Archive) -> None:
    left = filled.path / "index" / f"{NAME.kind}-0-0{derived_files.BUILDING}.tmp"
    left.write_bytes(b"half")
    kept(filled)
    assert not left.exists(), "by the next of its kind"
    left.write_bytes(b"half")
    with filled.writer():
        pass
    assert not left.exists(), "by any writer"


def test_a_new_process_reads_the_labels_from_the_disk(
    mixed: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    fetched = image_table_sync._fetched

    def counting(*arguments: object) -> list[tuple[object, ...]]:
        rows = fetched(*arguments)  # type: ignore[arg-type]
        read.append(len(rows[0]))
        return rows

    monkeypatch.setattr(image_table_sync, "_fetched", counting)
    where = CaseFilter(sites=("cervix",), stains=("Giemsa",))

    def as_another_process() -> list[int]:
        """How many rows it reads, having found what the records say."""
        read.clear()
        with Archive.open(mixed.path) as other:
            assert as_records(other.image_table()) == expected(other)
            assert as_records(other.image_table(where)) == expected(other, where)
        return list(read)

    assert as_another_process() == [48, 40]
    assert as_another_process() == []
    add_manifest(mixed, write_manifest(tmp_path / "more.csv", simple_rows(2, prefix="more-")))
    assert as_another_process() == [2, 2]
    assert as_another_process() == [], "that was more than a hundredth, and was kept"
    mixed.remove("case-more-0")
    assert as_another_process() == [], "whoever removes brings it up to date"
    shutil.rmtree(mixed.path / "index")
    assert as_another_process() == [49, 41]
