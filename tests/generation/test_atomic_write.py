from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import pytest

from generation.atomic_write import (
    ABANDONED_AFTER,
    foreign_files,
    fresh_folder,
    new_folder,
    open_atomic,
    unfinished_target,
    write_atomic,
)
from tests.full_disk import full_disk


def test_a_file_is_replaced_when_it_is_whole_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert write_atomic(path, b"first") == path
    with open_atomic(path) as file:
        file.write(b"sec")
        file.flush()
        assert path.read_bytes() == b"first"
        [unfinished] = [other.name for other in tmp_path.iterdir() if other != path]
        assert (unfinished_target(unfinished), unfinished_target("file"), unfinished_target("file.tmp")) == (
            "file",
            None,
            None,
        )
        file.write(b"ond")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / "file", b"old")
    with full_disk(), pytest.raises(OSError):
        write_atomic(path, b"new")
    with pytest.raises(KeyError), open_atomic(path) as file:
        file.write(b"new")
        raise KeyError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with open_atomic(path) as first, open_atomic(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"  # it ended last
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_when_it_is_whole_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    (tmp_path / "folder.tmp").mkdir()
    (tmp_path / "folder.tmp" / "left by a killed process").touch()
    for name in ("first", "second"):
        with new_folder(path) as unfinished:
            (unfinished / name).touch()
            assert not (path / name).exists()
        assert [file.name for file in path.iterdir()] == [name]
    with pytest.raises(KeyError), new_folder(path) as unfinished:
        (unfinished / "third").touch()
        raise KeyError
    assert [file.name for file in path.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_fresh_folder_appears_whole_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "folder"
    path.parent.mkdir()
    for age in (0, ABANDONED_AFTER + 60):
        left = path.parent / f"folder.{uuid.uuid4().hex}.tmp"
        left.mkdir()
        os.utime(left, (time.time() - age,) * 2)
    with pytest.raises(KeyError), fresh_folder(path) as unfinished:
        (unfinished / "half").touch()
        raise KeyError
    assert len(list(path.parent.iterdir())) == 1  # what another process may still be writing
    with fresh_folder(path) as unfinished:
        (unfinished / "below").mkdir()
        (unfinished / "below" / "whole").touch()
        assert not path.exists()
    assert (path / "below" / "whole").exists()
    with pytest.raises(FileExistsError, match="name a new folder"), fresh_folder(path):
        raise AssertionError
    other = tmp_path / "other"
    with pytest.raises(FileExistsError), fresh_folder(other):
        other.mkdir()
    assert {item.name for item in tmp_path.iterdir()} == {"sub", "other"}


def test_unfinished_files_of_ours_are_not_foreign(tmp_path: Path) -> None:
    for name in ("set.json", "mine.txt", f"set.json.{'0' * 32}.tmp", f"theirs.{'0' * 32}.tmp", "set.json.tmp"):
        (tmp_path / name).touch()
    assert foreign_files(tmp_path, {"set.json"}) == ["mine.txt", "set.json.tmp", f"theirs.{'0' * 32}.tmp"]
