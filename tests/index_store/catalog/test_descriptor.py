"""`archive.json` is read back as written; anything else is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from index_store import NotAnArchiveError
from index_store.catalog.descriptor import DESCRIPTOR_FILE, ArchiveDescriptor, announce, publish

WRITTEN = {"format": 1, "archive": "a-uuid", "vectors": "http://milvus:19530"}


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / DESCRIPTOR_FILE
    assert ArchiveDescriptor.read(path) is None
    announce(tmp_path, ArchiveDescriptor("a-uuid", vectors="http://milvus:19530"))
    assert ArchiveDescriptor.read(path) is None, "not an archive before it is published"
    publish(tmp_path)
    assert json.loads(path.read_text()) == WRITTEN
    assert ArchiveDescriptor.read(path) == ArchiveDescriptor("a-uuid", "", "http://milvus:19530")
    assert [file.name for file in tmp_path.iterdir()] == [DESCRIPTOR_FILE]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**WRITTEN, "format": 2}, "damaged or of a newer version"),
        ([WRITTEN], "damaged or of a newer version"),
        ({**WRITTEN, "slides": "elsewhere"}, r"cannot be understood \(slides\)"),
        ({**WRITTEN, "vectors": 5}, "cannot be understood"),
        ({**WRITTEN, "archive": ""}, r"cannot be understood \(no uuid\)"),
    ],
)
def test_another_content_is_refused(tmp_path: Path, content: object, message: str) -> None:
    (tmp_path / DESCRIPTOR_FILE).write_text(json.dumps(content))
    with pytest.raises(NotAnArchiveError, match=message):
        ArchiveDescriptor.read(tmp_path / DESCRIPTOR_FILE)
