"""Files that commands write: whole or not at all, and into what is no file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from retrieval import RESEARCH_USE
from ui.commands.output import echo_json, write_file


def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figures.json"
    write_file(path, "ä")
    write_file(path, "new")
    assert path.read_bytes() == b"new"

    def full(descriptor: int) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_file(path, "half")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_written_through_and_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_file(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    write_file(Path("/dev/null"), "nothing")
    assert not Path("/dev/null").is_file()


def test_every_json_object_has_the_notice(capsys: pytest.CaptureFixture[str]) -> None:
    echo_json({"path": Path("a/b"), "counts": (1, 2)})
    assert json.loads(capsys.readouterr().out) == {"notice": RESEARCH_USE, "path": "a/b", "counts": [1, 2]}
