"""Files of an archive and its backup are for their owner alone, whatever the umask, from their first byte."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive
from index_store.index.vector_file import VectorRows
from tests.index_store.archive_builders import (
    DIMS,
    OTHER,
    add_manifest,
    embed_images,
    embed_reports,
    simple_rows,
    write_manifest,
)
from tests.permissions import open_to_others, watched

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="POSIX permissions"),
    pytest.mark.usefixtures("no_umask"),
]


@pytest.mark.slow
def test_an_archive_and_its_backup_are_private(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "source" / "manifest.csv", simple_rows(6))
    home = tmp_path / "home"
    with watched(home) as seen, Archive.create(home / "above" / "archive") as archive:
        with archive.writer():
            assert (archive.path / "writer.txt").exists()
            assert open_to_others(home) == {}
            add_manifest(archive, manifest)
        embed_reports(archive)
        archive.begin_encoder(OTHER, name="other", dim=DIMS[OTHER])
        embed_images(archive, OTHER)
        embed_reports(archive, fingerprint=OTHER)
        archive.switch_encoder(OTHER)
        archive.remove("case-0")
        assert {"archive.sqlite", "archive.sqlite-wal", "archive.sqlite-shm", "index", "images", "writer.lock"} <= {
            path.name for path in archive.path.iterdir()
        }
        assert any((archive.path / "index").iterdir())
        assert open_to_others(home) == {}
        archive.back_up(home / "backups" / "first")
        assert archive.examine(repair=True).findings == ()
    Archive.restore(home / "backups" / "first", home / "again")
    assert (home / "again" / "images").is_dir()
    assert open_to_others(home) == {}
    assert seen == {}


def test_an_empty_folder_that_becomes_an_archive_is_closed(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    with Archive.create(tmp_path / "archive"):
        pass
    assert open_to_others(tmp_path / "archive") == {}


def test_a_folder_that_is_refused_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").touch()
    before = open_to_others(tmp_path / "home")
    with pytest.raises(Exception, match="holds other files"):
        Archive.create(tmp_path / "home")
    assert before.items() <= open_to_others(tmp_path / "home").items()


def test_vectors_that_wait_for_a_file_have_no_name(tmp_path: Path) -> None:
    rows = VectorRows(4, spill=tmp_path / "index")
    rows.append(np.arange(3), np.eye(3, 4, dtype=np.float32))
    rows._to_temporary_file(tmp_path / "index")
    assert open_to_others(tmp_path / "index") == {}


@pytest.mark.slow
def test_what_an_earlier_version_left_open_is_named_and_closed(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "source" / "manifest.csv", simple_rows(2))
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, manifest)
    for path in [tmp_path / "archive", *(tmp_path / "archive").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    with Archive.open(tmp_path / "archive") as archive:
        (found,) = archive.examine().findings
        assert "other accounts" in found.what
        assert found.harmless
        assert found.examples[0] == "the folder itself"
        assert all((archive.path / name).exists() for name in found.examples[1:])
        (found,) = archive.examine(repair=True).findings
        assert found.repaired
        assert archive.examine().findings == ()
    assert open_to_others(tmp_path / "archive") == {}
