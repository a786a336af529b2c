"""The file that names the writer is there exactly while somebody holds the lock."""

from __future__ import annotations

import os
from pathlib import Path

from index_store.files.locks import WriterLock


def test_the_holder_is_named_until_the_outermost_release(tmp_path: Path) -> None:
    lock, holder = WriterLock(tmp_path), tmp_path / "writer.txt"
    assert not lock.held
    with lock.hold():
        assert f"process {os.getpid()}" in holder.read_text("utf-8")
        with lock.hold():
            pass
        assert lock.held
        assert holder.is_file(), "the inner release must not unsign the outer hold"
    assert not lock.held
    assert not holder.exists()
