"""Findings of an examination in an archive that was damaged on purpose, and after its repair."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from index_store import (
    Archive,
    ArchiveBusyError,
    Derived,
    DerivedName,
    Examination,
    Finding,
    ImageNotFoundError,
    ReadOnlyArchiveError,
)
from index_store.catalog.change_log import log_head
from index_store.catalog.layout import catalog_of
from index_store.index.faiss_index import FaissIndex
from index_store.index.storage import IndexFile
from index_store.vectors import IndexIdentity
from tests.index_store.archive_builders import (
    DIM,
    FINGERPRINT,
    add_manifest,
    everything,
    found_by_itself,
    picture,
    simple_rows,
    vector_of,
    write_manifest,
)
from tests.index_store.backends import in_a_file, in_a_file_first


@pytest.fixture
def tmp_path(quick_folder: Path) -> Path:
    """In memory: what is examined here does not depend on the disk, and is quicker without one."""
    return quick_folder


def examine(folder: Path, **options: object) -> Examination:
    """As `coin doctor` does without --repair: from a fresh, read-only archive."""
    with Archive.open(folder, read_only=True) as archive:
        return archive.examine(**options)


def repair(folder: Path) -> Examination:
    with Archive.open(folder) as archive:
        return archive.examine(repair=True)


def only(found: Examination, check: str) -> Finding:
    """The one finding, of this check; no report is quoted."""
    (finding,) = found.findings
    assert finding.check == check
    assert "Report " not in finding.what + "".join(finding.examples)
    return finding


def execute(folder: Path, statement: str, **values: object) -> None:
    """Behind the archive's back, with foreign keys off."""
    catalog, _ = catalog_of(folder, read_only=True)
    catalog.close()
    on_server = "://" in catalog.name
    engine = create_engine(catalog.name if on_server else f"sqlite:///{catalog.name}")
    with engine.begin() as connection:
        if on_server:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(text(statement), values)
    engine.dispose()


def index_metadata(folder: Path) -> Path:
    (path,) = (folder / "index").glob("*.json")
    return path


def test_a_derived_file_that_is_damaged_is_named_and_harmless(filled: Archive) -> None:
    name = DerivedName("sums", 1)
    assert filled.write_derived(name, Derived(filled.image_table().position, {"sums": np.arange(3)}))
    assert examine(filled.path).findings == ()
    path = filled.path / "index" / name.file
    path.write_bytes(path.read_bytes()[:-1])
    found = examine(filled.path)
    finding = only(found, "index")
    assert finding.examples == (f"{name.file}: its checksum does not match",)
    assert finding.harmless
    assert found.healthy
    assert path.exists(), "only a repair writes"
    assert only(repair(filled.path), "index").repaired
    assert not path.exists()
    assert examine(filled.path).findings == ()


def test_a_derived_file_of_what_is_gone_is_named(filled: Archive, tmp_path: Path) -> None:
    """As after a process that was killed before it deleted the file."""
    name = DerivedName("sums", 1)
    filled.write_derived(name, Derived(filled.image_table().position, {"sums": np.arange(3)}))
    path = filled.path / "index" / name.file
    shutil.copy(path, tmp_path / "old")
    filled.remove(filled.cases()[0].key)
    shutil.copy(tmp_path / "old", path)
    assert only(examine(filled.path), "index").examples == (f"{name.file}: images were removed or changed since",)


def test_a_whole_archive(filled: Archive) -> None:
    before = {path: path.read_bytes() for path in filled.path.rglob("*") if path.is_file()}
    found = examine(filled.path)
    assert found.findings == ()
    assert found.healthy
    assert (found.patients, found.cases, found.images, found.files, found.recalled) == (6, 12, 12, 12, 12)
    (coverage,) = found.encoders
    assert (coverage.vectors, coverage.images, coverage.report_vectors, coverage.reports) == (12, 12, 12, 12)
    assert coverage.active
    assert {path: path.read_bytes() for path in before} == before, "examining wrote something"
    assert repair(filled.path).findings == ()


def test_an_empty_archive(archive: Archive) -> None:
    found = archive.examine()
    assert (found.findings, found.images, found.recalled, found.encoders) == ((), 0, 0, ())


@in_a_file_first
def test_a_missing_and_an_altered_image(filled: Archive) -> None:
    first, second = (filled.case(f"case-{i}").images[0] for i in (3, 5))
    first.path.unlink()
    picture(99).save(second.path)
    quick = only(examine(filled.path, checksums=False), "files")
    assert (quick.what, quick.examples) == ("stored image files are missing", (f"case case-3, image {first.id}",))
    missing, altered = examine(filled.path).findings
    assert missing == quick
    assert altered.examples == (f"case case-5, image {second.id}",)
    after = repair(filled.path)
    assert not after.healthy, "nobody can make up a picture"
    assert [finding.repaired for finding in after.findings] == [False, False]
    with pytest.raises(ImageNotFoundError):
        filled.picture(first.id)


def test_images_in_place(archive: Archive, manifest: Path) -> None:
    add_manifest(archive, manifest, in_place=True)
    assert archive.examine().findings == ()
    picture(99).save(manifest.parent / "3.png")
    (manifest.parent / "4.png").unlink()
    missing, altered = archive.examine().findings
    assert (missing.what, missing.examples) == ("images added in place are missing", ("case case-4, image 5",))
    assert (altered.what, altered.examples) == ("images added in place were altered", ("case case-3, image 4",))


@in_a_file_first
def test_files_that_nobody_needs_are_deleted(filled: Archive) -> None:
    stray = filled.path / "images" / "ab" / "abcdef.png"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"of a case that is gone")
    half = stray.with_name("fedcba.png.tmp")
    half.write_bytes(b"half")
    finding = only(examine(filled.path), "files")
    assert (finding.count, finding.examples) == (2, ("ab/abcdef.png", "ab/fedcba.png.tmp"))
    assert only(repair(filled.path), "files").repaired
    assert not stray.exists()
    assert not half.exists()
    assert examine(filled.path).findings == ()
    found_by_itself(filled)


def flip_a_bit(folder: Path) -> None:
    (path,) = (folder / "index").glob("*.rows")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.slow
@in_a_file_first
@pytest.mark.parametrize(
    "spoil",
    [flip_a_bit, lambda folder: shutil.rmtree(folder / "index"), lambda folder: index_metadata(folder).write_text("{")],
)
def test_an_index_that_does_not_fit(filled: Archive, spoil: Callable[[Path], object]) -> None:
    filled.close()
    spoil(filled.path)
    finding = only(examine(filled.path), "index")
    assert "rebuilt" in finding.examples[0]
    assert examine(filled.path).findings == (finding,), "examining does not repair"
    after = repair(filled.path)
    assert only(after, "index").repaired
    assert after.healthy
    assert examine(filled.path).findings == ()


def save_index(archive: Archive, ids: np.ndarray, vectors: np.ndarray) -> None:
    """Save an index of these vectors as the archive's, up to the end of its log."""
    index = FaissIndex(DIM)
    index.add(ids, vectors)
    catalog, _ = catalog_of(archive.path, read_only=True)
    with catalog.reading() as session:
        position = log_head(session)
    catalog.close()
    IndexFile(archive.path / "index", IndexIdentity(archive.uuid, FINGERPRINT, DIM)).write(index, position)


@in_a_file_first
def test_an_index_that_holds_other_vectors_under_the_right_checksum(filled: Archive) -> None:
    """As a defect of this software would leave it: count, checksum and log position are right, the vectors are not."""
    ids, vectors = np.arange(1, 13), np.array([vector_of(i.sha256) for c in filled.cases() for i in c.images])
    vectors[[4, 7]] = vectors[[7, 4]]
    save_index(filled, ids, vectors)
    filled.close()
    finding = only(examine(filled.path), "index")
    assert (finding.what, finding.examples) == ("stored vectors do not find themselves", ("image 5", "image 8"))
    assert only(repair(filled.path), "index").repaired
    with Archive.open(filled.path) as archive:
        assert archive.notes == ()
        found_by_itself(archive)


@in_a_file_first
def test_an_index_that_holds_another_image(filled: Archive) -> None:
    ids, vectors = np.arange(1, 13), np.array([vector_of(i.sha256) for c in filled.cases() for i in c.images])
    ids[2] = 99
    save_index(filled, ids, vectors)
    filled.close()
    findings = examine(filled.path).findings
    assert [(f.what, f.examples) for f in findings] == [
        ("the index holds images that the records do not", ("image 99",)),
        ("stored vectors do not find themselves", ("image 3",)),
    ]
    assert all(finding.repaired for finding in repair(filled.path).findings)
    assert examine(filled.path).findings == ()


def test_equal_vectors_each_count_as_found(archive: Archive, tmp_path: Path) -> None:
    picture(1).save(tmp_path / "0.png")
    picture(1).save(tmp_path / "1.png")
    add_manifest(archive, write_manifest(tmp_path / "manifest.csv", simple_rows(2)))
    assert archive.examine().findings == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "what", "repaired"),
    [
        ("DELETE FROM changes WHERE image_id = 4", "vectors are stored that the change log does not tell of", True),
        (
            "INSERT INTO changes (encoder_id, image_id, operation, token) VALUES (1, 77, 'add', 5)",
            "vectors are in the change log, but not stored",
            True,
        ),
        ("INSERT INTO patients (key) VALUES ('nobody')", "patients have no case left", True),
        (
            "INSERT INTO cases SELECT 99, 'empty', patient_id, report, site, system, category, source, license,"
            " phantom, derived FROM cases WHERE id = 1",
            "cases have no image, so nothing finds them",
            False,
        ),
        (
            "UPDATE cases SET report = 'Another.' WHERE id = 1",
            "reports have no vector of their present text, and are found by their words alone",
            False,
        ),
    ],
)
def test_records_that_do_not_agree(filled: Archive, statement: str, what: str, repaired: bool) -> None:
    filled.close()
    execute(filled.path, statement)
    found = examine(filled.path)
    assert what in {finding.what for finding in found.findings}
    after = repair(filled.path)
    assert {finding.repaired for finding in after.findings if finding.what == what} == {repaired}
    left = {finding.what for finding in examine(filled.path).findings}
    assert left == (set() if repaired else {what})
    with Archive.open(filled.path) as archive:
        assert len(archive.search(vector_of("0" * 64)[None], 50, fingerprint=FINGERPRINT)[0]) == 12


@in_a_file_first
@pytest.mark.parametrize(
    "vector",
    [b"short", np.full(DIM, np.nan, "<f4").tobytes(), np.ones(DIM, "<f4").tobytes()],
    ids=["too short", "NaN", "too long a vector"],
)
def test_damaged_vectors_are_taken_out_so_that_they_can_be_made_anew(filled: Archive, vector: bytes) -> None:
    filled.close()
    shutil.rmtree(filled.path / "index")
    execute(filled.path, "UPDATE embeddings SET vector = :vector WHERE image_id = 4", vector=vector)
    execute(filled.path, "UPDATE report_embeddings SET vector = :vector WHERE case_id = 6", vector=vector)
    found = examine(filled.path)
    whats = {finding.what: finding for finding in found.findings}
    assert whats["image vectors are damaged (length, NaN)"].examples == ("image 4",)
    assert whats["report vectors are damaged (length, NaN)"].examples == ("case number 6",)
    after = {finding.what: finding for finding in repair(filled.path).findings}
    assert after["image vectors are damaged (length, NaN)"].repaired
    assert after["report vectors are damaged (length, NaN)"].repaired
    unseen = after["images have no vector, so no search finds them"]
    assert (unseen.repaired, unseen.examples) == (False, ("case case-3, image 4",))
    with Archive.open(filled.path) as archive:
        assert archive.images_without_vector(FINGERPRINT).tolist() == [4]
        image = archive.image(4)
        assert archive.add_vectors([4], vector_of(image.sha256)[None], fingerprint=FINGERPRINT) == 1
        found_by_itself(archive)


def test_vectors_of_nothing_are_deleted(filled: Archive) -> None:
    filled.close()
    execute(filled.path, "INSERT INTO embeddings VALUES (1, 77, :vector)", vector=vector_of("0" * 64).tobytes())
    whats = [finding.what for finding in examine(filled.path).findings]
    assert "vectors belong to no image" in whats
    repair(filled.path)
    assert examine(filled.path).findings == ()


@in_a_file
def test_a_database_restored_from_an_older_backup(filled: Archive, manifest: Path, tmp_path: Path) -> None:
    """The database alone goes back; pictures and index stay as they were: named, and never a wrong answer."""
    filled.close()
    old = shutil.copy(filled.path / "archive.sqlite", tmp_path / "old.sqlite")
    with Archive.open(filled.path) as archive:
        archive.remove("case-2")
        for i in (12, 13):
            picture(i).save(manifest.parent / f"{i}.png")
        add_manifest(archive, write_manifest(manifest, [row for row in simple_rows(14) if row["case"] != "case-2"]))
    shutil.copy(old, filled.path / "archive.sqlite")
    found = examine(filled.path)
    assert [(finding.check, finding.what, finding.count) for finding in found.findings] == [
        ("index", "the saved vector index did not fit and was made anew", 1),
        ("files", "stored image files are missing", 1),
        ("files", "files lie in the store that no image needs", 2),
    ]
    with Archive.open(filled.path) as archive:
        assert set(everything(archive)) == {f"case-{i}" for i in range(12)}
        with pytest.raises(ImageNotFoundError, match="is gone"):
            archive.image_path(3)


@in_a_file
def test_a_damaged_database_is_named(filled: Archive) -> None:
    filled.close()
    execute(filled.path, "PRAGMA writable_schema = ON")
    path = filled.path / "archive.sqlite"
    data = bytearray(path.read_bytes())
    page = int.from_bytes(data[16:18], "big")
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_images_sha256'").fetchone()
    data[(root - 1) * page + 12 : (root - 1) * page + 40] = bytes(28)
    path.write_bytes(data)
    findings = {finding.check: finding for finding in examine(filled.path).findings}
    assert "coin restore" in findings["database"].advice
    assert not findings["database"].repaired


def test_others_may_write_while_it_is_examined(filled: Archive, manifest: Path) -> None:
    changed: list[int] = []

    def change(done: int, total: int) -> None:
        if not changed:
            changed.append(done)
            filled.remove("case-11")
            add_manifest(filled, write_manifest(manifest, simple_rows(14)[:11] + simple_rows(14)[12:]))

    with Archive.open(filled.path, read_only=True) as reader:
        assert reader.examine(progress=change).findings == ()
    assert changed


def test_repairing_needs_the_writers_turn(filled: Archive) -> None:
    with Archive.open(filled.path, read_only=True) as reader, pytest.raises(ReadOnlyArchiveError):
        reader.examine(repair=True)
    with Archive.open(filled.path) as other, filled.writer(), pytest.raises(ArchiveBusyError):
        other.examine(repair=True)


def test_on_a_read_only_disk(small_disk: Path, tmp_path: Path) -> None:
    with Archive.create(small_disk / "archive") as archive:
        add_manifest(archive, write_manifest(tmp_path / "manifest.csv", simple_rows(3)))
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert examine(small_disk / "archive").findings == ()


@in_a_file
def test_a_first_addition_that_was_killed_before_its_index_was_saved_is_no_fault(
    archive: Archive, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images are committed, and no index was ever saved."""
    monkeypatch.setattr(type(archive._index), "save", lambda _index: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        add_manifest(archive, manifest)
    monkeypatch.undo()
    archive.close()
    (finding,) = examine(archive.path).findings
    assert finding.harmless
    assert "no saved vector index" in finding.what
    repair(archive.path)
    assert examine(archive.path).findings == ()
