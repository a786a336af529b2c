"""What is done to an archive's folder under those who have it open is noticed, and never mixed into an answer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from index_store import Archive, ArchiveBusyError, ArchiveReplacedError
from tests.index_store.archive_builders import FINGERPRINT, add_manifest, simple_rows, vector_of, write_manifest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, prepared: Path) -> Path:
    shutil.copytree(prepared / "filled", tmp_path / "cases")
    return tmp_path / "cases"


@pytest.fixture
def reader(folder: Path) -> Iterator[Archive]:
    """Open, with its index in memory and its connections made."""
    with Archive.open(folder, read_only=True) as archive:
        everything(archive)
        yield archive


def another(folder: Path) -> None:
    """Another archive, with cases of the same keys, in the place of this one."""
    folder.rename(folder.with_name("away"))
    rows = [{**row, "report": f"Another {row['report']}"} for row in simple_rows(12)]
    manifest = write_manifest(folder.with_name("other") / "manifest.csv", rows)
    with Archive.create(folder) as archive:
        add_manifest(archive, manifest)


def restored_over(folder: Path) -> None:
    with Archive.open(folder) as archive:
        archive.back_up(folder.with_name("backup"))
    shutil.rmtree(folder)
    Archive.restore(folder.with_name("backup"), folder)


def overwritten(folder: Path) -> None:
    """Another archive's database is copied onto this one's: the same file, with another content."""
    manifest = write_manifest(folder.with_name("other") / "manifest.csv", simple_rows(12))
    with Archive.create(folder.with_name("third")) as archive:
        add_manifest(archive, manifest)
    (folder / "archive.sqlite").write_bytes((folder.with_name("third") / "archive.sqlite").read_bytes())


def exchanged(folder: Path) -> None:
    """The same by another file under the same name."""
    overwritten(folder)
    copy = folder / "copy"
    copy.write_bytes((folder / "archive.sqlite").read_bytes())
    copy.replace(folder / "archive.sqlite")


def moved(folder: Path) -> None:
    folder.rename(folder.with_name("away"))


def everything(archive: Archive) -> None:
    image = archive.case("case-3").images[0]
    archive.search([vector_of(image.sha256)], 3, fingerprint=FINGERPRINT)
    archive.picture(image.id)
    archive.status()


QUESTIONS: dict[str, Callable[[Archive], object]] = {
    "case": lambda archive: archive.case("case-3"),
    "search": lambda archive: archive.search([vector_of("0" * 64)], 3, fingerprint=FINGERPRINT),
    "picture": lambda archive: archive.picture(1),
    "revision": lambda archive: archive.revision,
    "status": lambda archive: archive.status(),
    "examination": lambda archive: archive.examine(),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", [another, restored_over, moved, overwritten, exchanged])
def test_a_reader_notices_it_whatever_it_is_asked(
    reader: Archive, folder: Path, change: Callable[[Path], None]
) -> None:
    change(folder)
    for name, question in QUESTIONS.items():
        with pytest.raises(ArchiveReplacedError, match=r"since it was opened"):
            question(reader)
            pytest.fail(name)


@pytest.mark.slow
@pytest.mark.parametrize("change", [another, restored_over])
def test_a_writer_writes_into_nothing_else(folder: Path, change: Callable[[Path], None], tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "more" / "manifest.csv", simple_rows(3, prefix="more-"))
    with Archive.open(folder) as writer:
        everything(writer)
        plan = writer.pending([])
        assert plan.new == ()
        change(folder)
        with pytest.raises(ArchiveReplacedError):
            add_manifest(writer, manifest)
    with Archive.open(folder) as archive:
        assert archive.status().cases == 12
        assert archive.examine().findings == ()


def test_an_older_copy_that_is_written_over_it_is_noticed(reader: Archive, folder: Path) -> None:
    database = folder / "archive.sqlite"
    older = database.read_bytes()
    with Archive.open(folder) as archive:
        archive.remove("case-5")
    everything(reader)
    database.write_bytes(older)
    with pytest.raises(ArchiveReplacedError, match=r"since it was opened"):
        everything(reader)


@pytest.mark.slow
def test_a_writer_beside_is_no_other_archive(reader: Archive, folder: Path, tmp_path: Path) -> None:
    for number in range(3):
        rows = simple_rows(2, prefix=f"more-{number}-")
        with Archive.open(folder) as writer:
            add_manifest(writer, write_manifest(tmp_path / f"more-{number}" / "manifest.csv", rows))
        everything(reader)
    assert reader.status().cases == 18


def test_a_reader_that_opens_it_again_reads_the_other_one(reader: Archive, folder: Path) -> None:
    another(folder)
    with Archive.open(folder, read_only=True) as archive:
        everything(archive)
        assert archive.case("case-3").report == "Another Report 3."


HOLDER = """
import sys
from index_store import Archive
with Archive.open(sys.argv[1]) as archive, archive.writer():
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_the_lock_cannot_be_deleted_from_under_its_holder(folder: Path, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "more" / "manifest.csv", simple_rows(3, prefix="more-"))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        for path in folder.rglob("*"):
            if path.is_file() and ("lock" in path.name.lower() or path.name.startswith("writer")):
                path.unlink()
        assert not (folder / "writer.lock").exists()
        with Archive.open(folder) as archive:
            with pytest.raises(ArchiveBusyError, match="is being written by"):
                add_manifest(archive, manifest)
            with pytest.raises(ArchiveBusyError), archive.writer(timeout=0.2):
                pass
            holder.communicate(b"\n", timeout=600)
            add_manifest(archive, manifest)
            assert archive.status().cases == 15
    finally:
        holder.kill()
        holder.wait()


def test_a_thread_cannot_either(folder: Path) -> None:
    with Archive.open(folder) as first, Archive.open(folder) as second, first.writer():
        (folder / "writer.lock").unlink()
        with pytest.raises(ArchiveBusyError), second.writer():
            pass
