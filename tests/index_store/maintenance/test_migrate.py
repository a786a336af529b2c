"""Only `migrate` brings an archive up to date, after a backup, and while nobody has it open."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from index_store import Archive, ArchiveBusyError, BackupError, OutdatedArchiveError
from index_store.catalog.databases import migrations
from tests.index_store.archive_builders import add_manifest, everything, write_manifest
from tests.permissions import open_to_others

ROOT = Path(__file__).parents[3]
READER = """
import sys
from index_store import Archive
with Archive.open(sys.argv[1], read_only=True) as archive:
    print(archive.status().cases, flush=True)
    sys.stdin.readline()
"""


def add_column(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE cases ADD COLUMN colour TEXT NOT NULL DEFAULT 'pink'"))


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The software's next version, whose readers need its schema."""
    monkeypatch.setattr(migrations, "MIGRATIONS", (*migrations.MIGRATIONS, add_column))


@contextlib.contextmanager
def reader_elsewhere(folder: Path) -> Iterator[None]:
    """Another process that has the archive open, by the version before where `next_version` is in use."""
    other = subprocess.Popen(
        [sys.executable, "-c", READER, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    try:
        assert int(other.stdout.readline()) > 0
        yield
    finally:
        other.communicate(b"\n", timeout=60)


def test_nothing_else_migrates(filled: Archive, manifest: Path, next_version: None) -> None:
    filled.close()
    for read_only in (True, False):
        with pytest.raises(OutdatedArchiveError, match=r"Nothing was touched\. Run `coin migrate`"):
            Archive.open(filled.path, read_only=read_only)


@pytest.mark.slow
def test_it_is_refused_while_another_process_reads(filled: Archive, request: pytest.FixtureRequest) -> None:
    before = everything(filled)
    filled.close()
    with reader_elsewhere(filled.path):
        request.getfixturevalue("next_version")
        with pytest.raises(ArchiveBusyError, match="is open in another process"):
            Archive.migrate(filled.path, backed_up=True)
        with pytest.raises(OutdatedArchiveError):
            Archive.open(filled.path)
    done = Archive.migrate(filled.path, backed_up=True)
    assert done.after == done.before + 1
    with Archive.open(filled.path) as archive:
        assert everything(archive) == before
    assert Archive.migrate(filled.path).before == done.after


def test_it_is_refused_while_this_process_reads_or_writes(filled: Archive, next_version: None) -> None:
    with pytest.raises(ArchiveBusyError, match="open in another process"):
        Archive.migrate(filled.path, backed_up=True)
    with filled.writer(), pytest.raises(ArchiveBusyError, match="is being written by"):
        Archive.migrate(filled.path, backed_up=True)


def test_the_backup_is_what_was_there(filled: Archive, tmp_path: Path, next_version: None) -> None:
    if filled.status().catalog.startswith("postgresql"):
        pytest.skip("its server backs it up")
    before = everything(filled)
    filled.close()
    shutil.copytree(filled.path, tmp_path / "copy")
    done = Archive.migrate(filled.path)
    assert done.backup == filled.path.with_name(f"archive.schema-{done.before}")
    pictures = [path for path in (done.backup / "images").rglob("*") if path.is_file()]
    assert len(pictures) == 12
    assert all(path.stat().st_nlink == 2 for path in pictures), "the disk is filled for nothing"
    assert open_to_others(done.backup) == {}
    with contextlib.closing(sqlite3.connect(done.backup / "catalog.sqlite")) as database:
        assert database.execute("SELECT version FROM schema_version").fetchone() == (done.before,)
    with Archive.open(filled.path) as archive:
        archive.remove("case-0")
        assert archive.examine().findings == ()
    Archive.restore(done.backup, tmp_path / "again")
    with Archive.open(tmp_path / "again") as archive:
        assert everything(archive) == before
        assert archive.examine().findings == ()
    again = Archive.migrate(tmp_path / "copy", backup=tmp_path / "named")
    assert again.backup == tmp_path / "named"
    assert again.backup.is_dir()


def test_without_a_backup_nothing_is_migrated(filled: Archive, tmp_path: Path, next_version: None) -> None:
    filled.close()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").touch()
    with pytest.raises(BackupError, match=r"Nothing was migrated\..*--backed-up"):
        Archive.migrate(filled.path, backup=tmp_path / "full")
    with pytest.raises(OutdatedArchiveError):
        Archive.open(filled.path)
    Archive.migrate(filled.path, backed_up=True)
    with Archive.open(filled.path) as archive:
        rows = [{"image": "new.png", "case": "new", "patient": "new", "report": "New."}]
        add_manifest(archive, write_manifest(tmp_path / "new" / "manifest.csv", rows))
        assert archive.status().cases == 13
