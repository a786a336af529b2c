"""Files are hashed once, and again where they changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from retrieval.encoder import content_hashes as module
from retrieval.encoder.content_hashes import content_hashes
from tests.permissions import open_to_others


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / name for name in ("a.png", "b.png", "gone.png")]
    for path in paths[:2]:
        path.write_bytes(path.name.encode())
    read: list[str] = []
    hashed = module._hash
    monkeypatch.setattr(module, "_hash", lambda path: (read.append(path.name), hashed(path))[1])
    work = tmp_path / "work"
    first = content_hashes(paths, work=work)
    assert first[:2] == [hashlib.sha256(name).hexdigest() for name in (b"a.png", b"b.png")]
    assert isinstance(first[2], OSError)
    paths[1].write_bytes(b"other")
    os.utime(paths[1], ns=(1, 1))
    again = content_hashes(paths, work=work)
    assert again[0] == first[0] and again[1] == hashlib.sha256(b"other").hexdigest()
    assert sorted(read) == ["a.png", "b.png", "b.png", "gone.png", "gone.png"]
    assert content_hashes(paths, work=None)[:2] == again[:2]
    assert b"a.png" not in (work / module.FILE).read_bytes() and open_to_others(work) == {}
