"""Files are there whole or not at all, and nothing is left beside them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import pytest

from index_store.atomic_write import temporary_name, write_durably


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_durably(path, lambda file: file.write(b"old"))

    def fails(file: BinaryIO) -> None:
        file.write(b"new")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write_durably(path, fails)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    seen: list[tuple[bytes, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda _file: seen.append((temporary_name(path).read_bytes(), path.exists())))
    write_durably(path, lambda file: file.write(b"content"))
    assert seen == [(b"content", False)]


@pytest.mark.usefixtures("no_umask")
@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_private_file_is_private_from_its_first_byte(tmp_path: Path) -> None:
    """Also where a readable file, or a link, lies under the temporary name, and whatever the umask."""
    path, elsewhere = tmp_path / "file", tmp_path / "elsewhere"
    elsewhere.write_bytes(b"not ours")
    temporary_name(path).symlink_to(elsewhere)
    modes: list[int] = []

    def write(file: BinaryIO) -> None:
        modes.append(os.fstat(file.fileno()).st_mode & 0o777)
        file.write(b"secret")

    write_durably(path, write)
    assert modes == [0o600]
    assert path.stat().st_mode & 0o777 == 0o600
    assert (path.read_bytes(), elsewhere.read_bytes()) == (b"secret", b"not ours")
