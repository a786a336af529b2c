"""The saved index: followed where it fits, rebuilt and reported where it does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive
from index_store.search import index_sync
from tests.index_store.archive_builders import (
    DIM,
    DIMS,
    FINGERPRINT,
    OTHER,
    add_manifest,
    embed_images,
    embed_reports,
    found_by_itself,
    simple_rows,
    vector_of,
    write_manifest,
)
from tests.index_store.backends import in_a_file, in_a_file_first


def card(folder: Path) -> Path:
    (path,) = (folder / "index").glob("*.json")
    return path


def vectors(folder: Path) -> Path:
    (path,) = (folder / "index").glob("*.vectors")
    return path


def halves(folder: Path) -> Path:
    (path,) = (folder / "index").glob("*.half")
    return path


def row_table(folder: Path) -> Path:
    (path,) = (folder / "index").glob("*.rows")
    return path


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@in_a_file_first
def test_a_saved_index_is_used_without_a_word(filled: Archive) -> None:
    filled.close()
    saved = vectors(filled.path).stat()
    with Archive.open(filled.path) as archive:
        assert archive.notes == ()
        found_by_itself(archive)
    assert vectors(filled.path).stat().st_mtime_ns == saved.st_mtime_ns


@in_a_file
def test_no_index_is_saved_before_there_is_a_vector(archive: Archive) -> None:
    archive.use_encoder(FINGERPRINT, name="test encoder", dim=DIM)
    assert archive.search(np.eye(1, DIM, dtype=np.float32), 3, fingerprint=FINGERPRINT) == [[]]
    assert not (archive.path / "index").exists()


@in_a_file
def test_a_read_only_archive_saves_no_index(filled: Archive) -> None:
    filled.close()
    shutil.rmtree(filled.path / "index")
    with Archive.open(filled.path, read_only=True) as archive:
        found_by_itself(archive)
        assert "it was missing" in archive.notes[0]
    assert not (filled.path / "index").exists()


@in_a_file
def test_a_reader_takes_the_index_of_the_encoder_that_was_switched_to(filled: Archive) -> None:
    """The switch itself is no entry of the log: the reader is in step with it already."""
    embed_reports(filled)
    filled.begin_encoder(OTHER, name="another", dim=DIMS[OTHER])
    embed_images(filled, OTHER)
    embed_reports(filled, fingerprint=OTHER)
    with Archive.open(filled.path, read_only=True) as reader:
        found_by_itself(reader)
        image = reader.image(1)
        filled.switch_encoder(OTHER)
        (hits,) = reader.search(vector_of(image.sha256, OTHER)[None], 1, fingerprint=OTHER)
        assert hits[0].image_id == image.id
        assert reader.notes == ()


def test_an_older_index_catches_up_without_a_word(filled: Archive, manifest: Path, tmp_path: Path) -> None:
    shutil.copytree(filled.path / "index", tmp_path / "older")
    add_manifest(filled, write_manifest(manifest, simple_rows(20)))
    filled.remove("case-1")
    filled.close()
    shutil.rmtree(filled.path / "index")
    shutil.copytree(tmp_path / "older", filled.path / "index")
    with Archive.open(filled.path) as archive:
        assert archive.notes == ()
        assert archive.status().indexed == 19
        found_by_itself(archive)


@pytest.mark.slow
@in_a_file  # the saved index is the same over every catalog
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: shutil.rmtree(folder / "index"), "it was missing"),
        (lambda folder: card(folder).unlink(), "it was missing"),
        (lambda folder: vectors(folder).unlink(), "it was missing"),
        (lambda folder: row_table(folder).unlink(), "it was missing"),
        (lambda folder: halves(folder).unlink(), "it was missing"),
        (lambda folder: flip_a_bit(halves(folder)), "its checksum did not match"),
        (lambda folder: flip_a_bit(row_table(folder)), "its checksum did not match"),
        (lambda folder: vectors(folder).write_bytes(vectors(folder).read_bytes()[:-40]), "its vectors were cut short"),
        (lambda folder: vectors(folder).write_bytes(b""), "its vectors were cut short"),
        (lambda folder: row_table(folder).write_bytes(b""), "its checksum did not match"),
        (lambda folder: card(folder).write_text("{"), "it cannot be read"),
        (lambda folder: card(folder).write_text("{}"), "its description lacks"),
        (lambda folder: edit(card(folder), archive="another"), "it was made for another archive"),
        (lambda folder: edit(card(folder), fingerprint="another"), "it was made for another fingerprint"),
        (lambda folder: edit(card(folder), format=99), "it was made for another format"),
        (lambda folder: edit(card(folder), count=11), "its size did not match"),
        (lambda folder: edit(card(folder), sequence=99), "the records are not those it had followed"),
        (lambda folder: edit(card(folder), sequence=7), "the records are not those it had followed"),
        (lambda folder: edit(card(folder), token=1), "the records are not those it had followed"),
    ],
)
def test_an_index_that_does_not_fit_is_rebuilt_and_reported(
    filled: Archive, spoil: Callable[[Path], object], reason: str
) -> None:
    filled.close()
    spoil(filled.path)
    with Archive.open(filled.path) as archive:
        (note,) = archive.notes
        assert note.startswith("The vector index was rebuilt from the archive's records: ")
        assert reason in note
        found_by_itself(archive)
    with Archive.open(filled.path) as archive:  # and was saved
        assert archive.notes == ()


@in_a_file
def test_a_damaged_vector_is_noticed_when_it_is_read(filled: Archive) -> None:
    """Opening reads half precision alone."""
    filled.close()
    flip_a_bit(vectors(filled.path))
    with Archive.open(filled.path, read_only=True) as archive:
        assert archive.notes == ()
        found_by_itself(archive)
        assert "its checksum did not match" in archive.notes[0]
    with Archive.open(filled.path) as archive:
        (finding,) = [each for each in archive.examine(checksums=False).findings if each.check == "index"]
        assert finding.examples == (
            "The vector index was rebuilt from the archive's records: its checksum did not match.",
        )
        found_by_itself(archive)


@pytest.mark.slow
@in_a_file
def test_few_additions_are_read_from_the_records_and_a_removal_is_saved_at_once(
    filled: Archive, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_sync, "UNSAVED", 0.5)
    saved, before = vectors(filled.path), vectors(filled.path).read_bytes()
    add_manifest(filled, write_manifest(manifest, simple_rows(20)))
    assert saved.read_bytes() == before, "8 of 20"
    with Archive.open(filled.path) as archive:
        assert archive.status().indexed == 20
        found_by_itself(archive)
        assert archive.notes == ()
    assert saved.read_bytes() == before, "it was not worth saving"
    add_manifest(filled, write_manifest(manifest, simple_rows(30)))
    assert len(saved.read_bytes()) == 30 * 4 * DIM, "18 of 30"
    add_manifest(filled, write_manifest(manifest, simple_rows(31)))
    filled.remove("case-1")
    assert len(saved.read_bytes()) == 31 * 4 * DIM
    rows = np.frombuffer(saved.read_bytes(), np.float32).reshape(-1, DIM)
    assert rows.any(axis=1).sum() == 30, "what was removed is on no disk"


@pytest.mark.slow
@in_a_file_first
def test_an_index_of_another_archive_is_never_used(filled: Archive, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with Archive.create(tmp_path / "other archive") as other:
        add_manifest(other, write_manifest(tmp_path / "other" / "manifest.csv", simple_rows(12, prefix="other")))
    filled.close()
    shutil.rmtree(filled.path / "index")
    shutil.copytree(tmp_path / "other archive" / "index", filled.path / "index")
    with Archive.open(filled.path) as archive:
        assert "another archive" in archive.notes[0]
        found_by_itself(archive)


@pytest.mark.slow
@in_a_file
def test_a_catalog_restored_from_a_backup_is_noticed(filled: Archive, manifest: Path, tmp_path: Path) -> None:
    filled.close()
    backup = shutil.copy(filled.path / "archive.sqlite", tmp_path / "backup.sqlite")
    with Archive.open(filled.path) as archive:
        archive.remove("case-2")
        add_manifest(archive, write_manifest(manifest, simple_rows(14)))
    shutil.copy(backup, filled.path / "archive.sqlite")
    with Archive.open(filled.path) as archive:
        assert "restored from a backup?" in archive.notes[0]
        assert archive.status().indexed == 12
        found_by_itself(archive)


@in_a_file
def test_two_histories_of_the_same_length_are_told_apart(filled: Archive, tmp_path: Path) -> None:
    filled.close()
    shutil.copytree(filled.path, tmp_path / "twin")
    with Archive.open(filled.path) as archive:
        archive.remove("case-2")
    with Archive.open(tmp_path / "twin") as twin:
        twin.remove("case-3")
    shutil.rmtree(filled.path / "index")
    shutil.copytree(tmp_path / "twin" / "index", filled.path / "index")
    with Archive.open(filled.path) as archive:
        assert "the records are not those it had followed" in archive.notes[0]
        found_by_itself(archive)


@in_a_file_first
def test_old_index_files_are_taken_away(filled: Archive) -> None:
    for i in range(4):
        filled.remove(f"case-{i}")
    assert len(list((filled.path / "index").iterdir())) == 4


@in_a_file_first
def test_an_index_that_cannot_be_saved_is_no_loss(filled: Archive) -> None:
    shutil.rmtree(filled.path / "index")
    (filled.path / "index").write_text("in the way")
    filled.remove("case-0")
    assert "could not be saved" in filled.notes[-1]
    found_by_itself(filled)
    filled.close()
    (filled.path / "index").unlink()
    with Archive.open(filled.path) as archive:
        found_by_itself(archive)
