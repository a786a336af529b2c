"""Two encoders in one archive: one compares images, one texts; on every kind of catalog and of vector index."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from index_store import (
    Archive,
    CaseFilter,
    EncoderIncompleteError,
    EncoderMismatchError,
    ImageNotFoundError,
    PlannedImage,
    Role,
    read_manifest,
)
from tests.index_store.archive_builders import (
    DIMS,
    FINGERPRINT,
    OTHER,
    add_manifest,
    embed_images,
    embed_reports,
    found_by_itself,
    reembed,
    simple_rows,
    unit,
    vector_of,
    write_manifest,
)
from tests.index_store.backends import BACKENDS, SQLITE_FAISS, Backend

THIRD = "encoder-c"
ROWS = 6


@pytest.fixture(
    params=[
        "sqlite-faiss",
        pytest.param("postgres-faiss", marks=pytest.mark.slow),
        pytest.param("sqlite-milvus", marks=pytest.mark.cluster),
    ]
)
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param](request)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tests copy instead of building it, on SQLite with FAISS: six cases embedded by the first encoder (`one`),
    and by a second, which has the text role (`two`)."""
    folder = tmp_path_factory.mktemp("roles")
    with Archive.create(folder / "one", name="archive") as archive:
        fill(archive, folder)
    shutil.copytree(folder / "one", folder / "two")
    with Archive.open(folder / "two") as archive:
        reembed(archive, OTHER, role="text")
    return folder


def fill(archive: Archive, folder: Path) -> None:
    (folder / "source").mkdir()
    add_manifest(archive, write_manifest(folder / "source" / "manifest.csv", simple_rows(ROWS)))


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, backend: Backend, prepared: Path) -> Iterator[Path]:
    """Six cases, embedded by the first encoder (and by the second, where the test uses `archive`)."""
    folder = tmp_path / "archive"
    if backend is SQLITE_FAISS:
        shutil.copytree(prepared / ("two" if "archive" in request.fixturenames else "one"), folder)
        shutil.copytree(prepared / "source", tmp_path / "source")
    else:
        with backend.create(folder) as archive:
            fill(archive, tmp_path)
    yield folder
    backend.forget(folder)


@pytest.fixture
def archive(folder: Path, backend: Backend) -> Iterator[Archive]:
    """The second encoder has the text role."""
    with backend.open(folder) as archive:
        if archive.encoder_of("text") == archive.encoder:  # not a copy
            reembed(archive, OTHER, role="text")
        yield archive


def roles(archive: Archive) -> tuple[str, str]:
    image, text = archive.encoder_of("image"), archive.encoder_of("text")
    assert image is not None
    assert text is not None
    assert archive.encoder == image
    return image.fingerprint, text.fingerprint


def add_more(archive: Archive, tmp_path: Path) -> list[int]:
    """Two further cases by the first encoder alone; the ids of their images."""
    known = {image.id for case in archive.cases() for image in case.images}
    add_manifest(archive, write_manifest(tmp_path / "source" / "more.csv", simple_rows(ROWS + 2)[ROWS:]))
    return sorted({image.id for case in archive.cases() for image in case.images} - known)


def test_one_encoder_has_both_roles_until_another_is_given_one(folder: Path, backend: Backend) -> None:
    with backend.open(folder) as archive:
        assert roles(archive) == (FINGERPRINT, FINGERPRINT)
        status = archive.status()
        assert status.roles["image"] == status.roles["text"]
        assert [known.roles for known in archive.encoders()] == [("image", "text")]
        with pytest.raises(ValueError, match="no role 'sound'"):
            archive.encoder_of("sound")  # type: ignore[arg-type]
        archive.begin_encoder(OTHER, name="another", dim=DIMS[OTHER])
        embed_images(archive, OTHER)
        with pytest.raises(EncoderMismatchError):  # it has no role yet
            archive.search(vector_of("0" * 64, OTHER)[None], 1, fingerprint=OTHER)


@pytest.mark.slow
def test_each_role_is_answered_by_its_encoder_in_every_process(
    archive: Archive, folder: Path, backend: Backend
) -> None:
    assert roles(archive) == (FINGERPRINT, OTHER)
    with backend.open(folder, read_only=True) as elsewhere:
        for opened in (archive, elsewhere):
            found_by_itself(opened)
            where = CaseFilter(sites=("cervix",))
            for fingerprint in (FINGERPRINT, OTHER):
                query = unit(np.random.default_rng(5).normal(size=(1, DIMS[fingerprint])))
                (hits,) = opened.search(query, 9, where=where, fingerprint=fingerprint)
                expected = sorted(
                    (
                        -float(vector_of(image.sha256, fingerprint) @ query[0]),
                        image.id,
                    )
                    for case in opened.cases(where)
                    for image in case.images
                )
                assert [hit.image_id for hit in hits] == [image_id for _, image_id in expected]
        assert [known.roles for known in elsewhere.encoders()] == [("image",), ("text",)]
        assert elsewhere.notes == ()


@pytest.mark.slow
def test_the_text_role_needs_images_and_reports_and_the_image_role_images(folder: Path, backend: Backend) -> None:
    with backend.open(folder) as archive:
        archive.begin_encoder(OTHER, name="another", dim=DIMS[OTHER])
        embed_images(archive, OTHER)
        with pytest.raises(EncoderIncompleteError, match=f"0 images and {ROWS} reports"):
            archive.switch_encoder(OTHER, role="text")
        assert roles(archive) == (FINGERPRINT, FINGERPRINT)
        archive.switch_encoder(OTHER, role="image")  # the text role stays with the encoder that has it
        assert roles(archive) == (OTHER, FINGERPRINT)
        found_by_itself(archive)
        embed_reports(archive, fingerprint=OTHER)
        archive.switch_encoder(OTHER, role="text")
        assert roles(archive) == (OTHER, OTHER)
        with pytest.raises(EncoderMismatchError):
            archive.search(vector_of("0" * 64)[None], 1, fingerprint=FINGERPRINT)
        archive.switch_encoder(FINGERPRINT)
        assert roles(archive) == (FINGERPRINT, FINGERPRINT)
        before = archive.revision
        archive.switch_encoder(FINGERPRINT, role="text")  # it has it
        assert archive.revision == before


@pytest.mark.slow
def test_images_that_the_text_encoder_lacks_are_known_until_they_are_embedded(
    archive: Archive, folder: Path, backend: Backend, tmp_path: Path
) -> None:
    new = add_more(archive, tmp_path)
    status = archive.status()
    assert (status.indexed, status.roles["image"].images_without_vector) == (ROWS + 2, 0)
    text = status.roles["text"]
    assert (text.images_without_vector, text.reports_without_vector, text.indexed) == (2, 2, ROWS)
    assert archive.count_images_without_vector(OTHER) == 2
    assert archive.count_images_without_vector(FINGERPRINT) == 0
    found_by_itself(archive)
    ids, vectors = archive.known_vectors([*new, 1, 1], OTHER)
    assert ids.tolist() == [1]
    assert vectors.shape == (1, DIMS[OTHER])
    with pytest.raises(ImageNotFoundError):
        archive.vectors_of(new, OTHER)
    examination = archive.examine()
    assert examination.healthy
    assert {(finding.count, finding.harmless) for finding in examination.findings} == {(2, True)}
    assert any("text role's encoder" in finding.what for finding in examination.findings)
    assert all("--role text" in finding.advice for finding in examination.findings)
    embed_images(archive, OTHER)
    embed_reports(archive, fingerprint=OTHER)
    assert archive.examine().findings == ()
    found_by_itself(archive)
    with backend.open(folder, read_only=True) as elsewhere:
        found_by_itself(elsewhere)
        assert elsewhere.notes == ()


def test_removing_and_changing_keeps_both_indexes_right(archive: Archive, tmp_path: Path) -> None:
    archive.remove("case-1")
    rows = [{**row, "stain": "Diff-Quik", "report": "Another."} for row in simple_rows(ROWS) if row["case"] == "case-2"]
    for name in ("0.png", "1.png", "2.png"):
        assert (tmp_path / "source" / name).is_file()
    rows[0]["image"] = "2.png"
    plan = archive.pending(read_manifest(write_manifest(tmp_path / "source" / "changed.csv", rows)).rows)
    assert archive.update(plan.changed) == 1
    found_by_itself(archive)
    where = CaseFilter(stains=("Diff-Quik",))
    for fingerprint in (FINGERPRINT, OTHER):
        (hits,) = archive.search(vector_of("0" * 64, fingerprint)[None], 9, where=where, fingerprint=fingerprint)
        assert [archive.image(hit.image_id).case_key for hit in hits] == ["case-2"]
    assert [report.case_key for report in archive.reports_without_vector(OTHER)] == ["case-2"]
    assert archive.status().roles["text"].reports_without_vector == 1


@pytest.mark.slow
@pytest.mark.parametrize(("fingerprint", "role"), [(FINGERPRINT, "image"), (OTHER, "text")])
def test_an_encoder_with_a_role_is_not_dropped(archive: Archive, fingerprint: str, role: Role) -> None:
    with pytest.raises(EncoderMismatchError, match=f"answers searches by {role}"):
        archive.drop_encoder(fingerprint)
    found_by_itself(archive)
    other = OTHER if fingerprint == FINGERPRINT else FINGERPRINT
    archive.switch_encoder(other)
    assert roles(archive) == (other, other)
    assert archive.drop_encoder(fingerprint) == ROWS
    found_by_itself(archive)
    assert archive.examine().findings == ()


@pytest.mark.slow
def test_lost_indexes_are_made_anew_from_the_records(archive: Archive, folder: Path, backend: Backend) -> None:
    archive.close()
    backend.lose_index(folder)
    with backend.open(folder) as opened:
        assert len(opened.notes) == 2
        found_by_itself(opened)
        opened.rebuild_index()
        found_by_itself(opened)
    with backend.open(folder, read_only=True) as opened:
        assert opened.notes == ()
        found_by_itself(opened)


@pytest.mark.slow
def test_a_backup_keeps_the_roles(archive: Archive, backend: Backend, tmp_path: Path) -> None:
    if not backend.has_backup:
        pytest.skip("a server backs up its records itself")
    add_more(archive, tmp_path)
    archive.back_up(tmp_path / "backup")
    Archive.restore(tmp_path / "backup", tmp_path / "restored")
    with Archive.open(tmp_path / "restored") as restored:
        assert roles(restored) == (FINGERPRINT, OTHER)
        assert restored.count_images_without_vector(OTHER) == 2
        assert restored.notes == ()
        found_by_itself(restored)


def test_a_crash_between_the_two_encoders_leaves_what_the_first_has_added(archive: Archive, tmp_path: Path) -> None:
    """Adding writes the first encoder's vectors in one transaction; the second's follow, and may be missing."""
    write_manifest(tmp_path / "source" / "one.csv", [{"image": "new.png", "case": "new", "report": "r"}])
    (planned,) = archive.pending(read_manifest(tmp_path / "source" / "one.csv").rows).new
    assert isinstance(planned, PlannedImage)
    item = planned.load()
    with pytest.raises(EncoderMismatchError):  # of the text role only: an image comes with the image role's vector
        archive.add([item], vector_of(item.sha256, OTHER)[None], fingerprint=OTHER)
    archive.add([item], vector_of(item.sha256)[None], fingerprint=FINGERPRINT)
    assert archive.images_without_vector(OTHER).tolist() == [archive.case("new").images[0].id]


def test_an_unknown_encoder_gets_no_role(archive: Archive) -> None:
    with pytest.raises(EncoderMismatchError):
        archive.switch_encoder(THIRD, role="text")
    assert roles(archive) == (FINGERPRINT, OTHER)
