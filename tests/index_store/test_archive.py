from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from index_store import (
    AlreadyAnArchiveError,
    Archive,
    CaseLabels,
    CaseNotFoundError,
    EncoderMismatchError,
    ImageNotFoundError,
    ImageProblem,
    ManifestRow,
    ReadOnlyArchiveError,
    VectorError,
    content_hash,
    decode_image,
    read_manifest,
)
from index_store.catalog.models import ChangeRow
from tests.index_store.archive_builders import (
    DIM,
    FINGERPRINT,
    add_manifest,
    encoded,
    found_by_itself,
    picture,
    records,
    simple_rows,
    stored_files,
    vector_of,
    vectors_for,
    write_manifest,
)
from tests.index_store.backends import in_a_file_first


def test_create_and_open(tmp_path: Path) -> None:
    with Archive.create(tmp_path / "new" / "archive", name="Reference") as archive:
        uuid = archive.uuid
        assert (archive.name, archive.encoder, archive.notes) == ("Reference", None, ())
        assert archive.status().images == 0
    with Archive.open(tmp_path / "new" / "archive") as archive:
        assert (archive.uuid, archive.name) == (uuid, "Reference")
    with pytest.raises(AlreadyAnArchiveError, match="is an archive already"):
        Archive.create(tmp_path / "new" / "archive")
    with pytest.raises(AlreadyAnArchiveError, match="holds other files"):
        Archive.create(tmp_path / "new")


def test_a_creation_that_was_cut_short_can_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "archive.sqlite.new").write_bytes(b"half")
    (tmp_path / "writer.lock").touch()
    with Archive.create(tmp_path) as archive:
        assert archive.status().cases == 0
    assert not (tmp_path / "archive.sqlite.new").exists()


def test_add_and_read(filled: Archive, manifest: Path) -> None:
    case = filled.case("case-3")
    assert (case.patient, case.report, case.site, case.category) == ("patient-1", "Report 3.", "cervix", "HSIL")
    (image,) = case.images
    assert filled.image(image.id) == image
    assert (image.case_key, image.stain, image.width, image.height) == ("case-3", "Giemsa", 24, 20)
    assert image.sha256 == content_hash(manifest.parent / "3.png")
    assert filled.image_path(image.id) == image.path
    assert np.array_equal(decode_image(image.path), picture(3))
    assert [found.key for found in filled.cases(limit=2, offset=3)] == ["case-3", "case-4"]
    assert filled.cases_of_images([image.id, 10_000]) == {image.id: case}
    found_by_itself(filled)
    assert filled.notes == ()


def test_status_and_facets(filled: Archive) -> None:
    status = filled.status()
    assert (status.patients, status.cases, status.images, status.indexed) == (6, 12, 12, 12)
    assert status.embeddings == {FINGERPRINT: 12}
    assert status.encoder is not None
    assert (status.encoder.name, status.encoder.dim) == ("test encoder", DIM)
    assert status.sites == {"cervix": 4, "thyroid": 4, "urine": 4}
    assert status.log_sequence == status.index_sequence == 12
    assert filled.facets()["stain"] == {"Giemsa": 6, "Papanicolaou": 6}
    assert filled.facets()["system"] == {}


@in_a_file_first
def test_adding_again_does_no_work(filled: Archive, manifest: Path) -> None:
    before = filled.status()
    plan = add_manifest(filled, manifest)
    assert (len(plan.new), len(plan.changed), len(plan.unchanged), plan.problems) == (0, 0, 12, ())
    assert filled.status() == before


def test_adding_more_adds_only_that(filled: Archive, manifest: Path) -> None:
    write_manifest(manifest, simple_rows(15))
    plan = add_manifest(filled, manifest)
    assert (len(plan.new), len(plan.unchanged)) == (3, 12)
    found_by_itself(filled)


@in_a_file_first
def test_a_case_may_get_more_images(filled: Archive, manifest: Path) -> None:
    rows = [{**row, "image": f"more/{row['image']}"} for row in simple_rows(2)]
    picture(100).save((manifest.parent / "more").mkdir() or manifest.parent / "more/0.png")
    picture(101).save(manifest.parent / "more/1.png")
    add_manifest(filled, write_manifest(manifest, rows))
    assert [len(filled.case(f"case-{i}").images) for i in range(3)] == [2, 2, 1]
    found_by_itself(filled)


def test_changes_need_no_embedding(filled: Archive, manifest: Path) -> None:
    before = filled.status()
    rows = simple_rows(12)
    rows[0] |= {"report": "Revised.", "stain": "MGG", "scanner": "A2"}
    rows[1] |= {"patient": "patient-9"}
    rows[2] |= {"site": "", "report": "Report 2."}  # an empty cell clears nothing
    plan = add_manifest(filled, write_manifest(manifest, rows))
    assert [item.row.case for item in plan.changed] == ["case-0", "case-1"]
    assert plan.new == ()
    (note,) = plan.notes
    assert note.startswith("The site is empty in line 4, and the archive keeps the one it has")
    case = filled.case("case-0")
    assert (case.report, case.stain, case.attributes) == ("Revised.", "MGG", {"scanner": "A2"})
    assert filled.case("case-1").patient == "patient-9"
    assert filled.case("case-2").site == "urine"
    after = filled.status()
    # Two images are found by another filter now: taken out of the log, and put in again.
    assert (after.log_sequence, after.images, after.patients) == (before.log_sequence + 4, 12, 7)
    found_by_itself(filled)


def test_a_patient_without_cases_is_forgotten(filled: Archive, manifest: Path) -> None:
    rows = simple_rows(2)
    for row in rows:
        row["patient"] = "patient-5"
    add_manifest(filled, write_manifest(manifest, rows))
    assert filled.status().patients == 5
    rows[0]["patient"] = "patient-0"
    add_manifest(filled, write_manifest(manifest, rows))
    assert (filled.case("case-0").patient, filled.status().patients) == ("patient-0", 6)


def test_a_manifest_without_patients_changes_none(filled: Archive, manifest: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "patient"} for row in simple_rows(12)]
    plan = add_manifest(filled, write_manifest(manifest, rows))
    assert len(plan.unchanged) == 12


def test_the_same_content_in_two_cases_is_one_file(archive: Archive, tmp_path: Path) -> None:
    rows = [{"image": "a.png", "case": case, "report": "r"} for case in ("one", "two")]
    add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows))
    (first,), (second,) = archive.case("one").images, archive.case("two").images
    assert first.id != second.id
    assert first.path == second.path
    assert archive.remove("one") == 1
    assert second.path.is_file()
    found_by_itself(archive)
    archive.remove("two")
    assert not second.path.exists()


def test_a_stored_file_that_is_gone_is_written_again_with_the_next_case_of_its_content(
    archive: Archive, tmp_path: Path
) -> None:
    rows = [{"image": "a.png", "case": case, "report": "r"} for case in ("one", "two")]
    add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows[:1]))
    (image,) = archive.case("one").images
    content = image.path.read_bytes()
    image.path.unlink()
    add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows))
    assert image.path.read_bytes() == content


def test_the_same_content_twice_in_a_case_is_skipped_and_reported(archive: Archive, tmp_path: Path) -> None:
    rows = [{"image": f"{name}.png", "case": "one", "report": "r"} for name in "ab"]
    for name in "ab":
        picture(0).save(tmp_path / f"{name}.png")
    plan = add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows))
    assert [str(problem) for problem in plan.problems] == [
        "line 3: repeats line 2 (same case, same content). Remove one of the two."
    ]
    assert archive.status().images == 1


@in_a_file_first
def test_two_folders_with_the_same_names_are_not_merged(archive: Archive, tmp_path: Path) -> None:
    for seed, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        picture(seed).save(tmp_path / folder / "a.png")
        plan = add_manifest(
            archive, write_manifest(tmp_path / folder / "manifest.csv", [{"image": "a.png", "report": f"Of {folder}."}])
        )
    (problem,) = plan.problems
    assert "has a case of that name with another image" in problem.what
    assert archive.case("a.png").report == "Of one."
    assert archive.status().images == 1


@in_a_file_first
def test_a_file_that_vanishes_or_changes_is_skipped(archive: Archive, manifest: Path) -> None:
    rows = read_manifest(manifest).rows
    rows[0].path.unlink()
    plan = archive.pending(rows)
    assert [problem.where for problem in plan.problems] == ["line 2"]
    rows[1].path.write_bytes(encoded(picture(50)))
    with pytest.raises(ImageProblem, match="changed while it was being added"):
        plan.new[0].load()


@in_a_file_first
def test_progress_is_reported(archive: Archive, manifest: Path) -> None:
    seen: list[tuple[int, int]] = []
    archive.pending(read_manifest(manifest).rows, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 12) for done in range(1, 13)]


@in_a_file_first
def test_in_place_copies_nothing(archive: Archive, manifest: Path) -> None:
    add_manifest(archive, manifest, in_place=True)
    (image,) = archive.case("case-0").images
    assert image.in_place
    assert image.path == (manifest.parent / "0.png").resolve()
    assert stored_files(archive.path) == set()
    found_by_itself(archive)
    archive.remove("case-0")
    assert image.path.is_file()
    (other,) = archive.case("case-1").images
    other.path.unlink()
    with pytest.raises(ImageNotFoundError, match="is gone"):
        archive.image_path(other.id)


@in_a_file_first
def test_in_place_follows_a_moved_folder(archive: Archive, manifest: Path) -> None:
    add_manifest(archive, manifest, in_place=True)
    moved = manifest.parent.rename(manifest.parent.with_name("moved"))
    plan = add_manifest(archive, moved / "manifest.csv", in_place=True)
    assert (len(plan.changed), len(plan.new)) == (12, 0)
    found_by_itself(archive)


@in_a_file_first
def test_metadata_never_enters_the_store(archive: Archive, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "Jane Doe"
    for seed, kind in enumerate(("jpg", "png", "tif", "webp")):
        picture(seed).save(tmp_path / f"a.{kind}", exif=exif)
        assert b"Jane" in (tmp_path / f"a.{kind}").read_bytes()
    rows = [{"image": f"a.{kind}", "report": "r"} for kind in ("jpg", "png", "tif", "webp")]
    add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows))
    for path in archive.path.rglob("*"):
        assert path.is_dir() or b"Jane" not in path.read_bytes()


def test_remove_takes_a_case_out_of_everything(filled: Archive) -> None:
    (image,) = filled.case("case-4").images
    assert filled.remove("case-4") == 1
    with pytest.raises(CaseNotFoundError):
        filled.case("case-4")
    with pytest.raises(ImageNotFoundError):
        filled.image(image.id)
    assert not image.path.exists()
    (hits,) = filled.search(vector_of(image.sha256)[None], 100, fingerprint=FINGERPRINT)
    assert image.id not in {hit.image_id for hit in hits}
    assert len(hits) == 11
    found_by_itself(filled)
    filled.remove("case-5")
    assert filled.status().patients == 5


def test_a_removed_report_leaves_no_trace(archive: Archive, tmp_path: Path) -> None:
    rows = simple_rows(3)
    rows[1]["report"] = "A most unusual sentence."
    add_manifest(archive, write_manifest(tmp_path / "manifest.csv", rows))
    archive.remove("case-1")
    for path in archive.path.rglob("*"):
        assert path.is_dir() or b"unusual" not in path.read_bytes()


@pytest.mark.slow
def test_ids_are_never_used_again(filled: Archive, manifest: Path) -> None:
    highest = max(image.id for case in filled.cases() for image in case.images)
    for i in range(12):
        filled.remove(f"case-{i}")
    add_manifest(filled, manifest)
    assert min(image.id for case in filled.cases() for image in case.images) > highest
    found_by_itself(filled)


@in_a_file_first
def test_unknown_names_are_answered_with_similar_ones(filled: Archive) -> None:
    with pytest.raises(CaseNotFoundError, match=r"no case 'case-33'.*Similar: .*case-3"):
        filled.case("case-33")
    with pytest.raises(CaseNotFoundError, match=r"no case 'CASE-3'.*Similar: case-3"):
        filled.case("CASE-3")
    with pytest.raises(CaseNotFoundError, match="no case"):
        filled.remove("something else")
    with pytest.raises(ImageNotFoundError, match="no image 999"):
        filled.image(999)


def test_vectors_come_in_the_order_asked_for(filled: Archive) -> None:
    images = [case.images[0] for case in filled.cases()][::-1]
    vectors = filled.vectors_of([image.id for image in images], FINGERPRINT)
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, [vector_of(image.sha256) for image in images])
    with pytest.raises(ImageNotFoundError, match="Image 999 has no vector"):
        filled.vectors_of([images[0].id, 999], FINGERPRINT)
    assert filled.vectors_of([], FINGERPRINT).shape == (0, DIM)


def test_another_encoder_is_refused_with_advice(filled: Archive, manifest: Path) -> None:
    with pytest.raises(
        EncoderMismatchError, match=r"embedded with test encoder .*is another \(encoder-b\).*embed the archive anew"
    ):
        filled.use_encoder("encoder-b", name="another", dim=DIM)
    with pytest.raises(EncoderMismatchError):
        filled.search(vector_of("0" * 64)[None], 1, fingerprint="encoder-b")
    with pytest.raises(EncoderMismatchError):
        filled.vectors_of([1], "encoder-b")
    with pytest.raises(EncoderMismatchError):
        filled.add([], np.empty((0, DIM), np.float32), fingerprint="encoder-b")
    filled.use_encoder(FINGERPRINT, name="test encoder", dim=DIM)


def test_an_archive_without_images_says_so(archive: Archive) -> None:
    with pytest.raises(EncoderMismatchError, match="no images yet"):
        archive.search(np.eye(1, DIM, dtype=np.float32), 1, fingerprint=FINGERPRINT)
    archive.use_encoder(FINGERPRINT, name="test encoder", dim=DIM)
    assert archive.search(np.eye(2, DIM, dtype=np.float32), 3, fingerprint=FINGERPRINT) == [[], []]


@in_a_file_first
@pytest.mark.parametrize("bad", ["nan", "long", "short", "few"])
def test_bad_vectors_never_get_in(archive: Archive, manifest: Path, bad: str) -> None:
    archive.use_encoder(FINGERPRINT, name="test encoder", dim=DIM)
    items = [planned.load() for planned in archive.pending(read_manifest(manifest).rows).new]
    vectors = vectors_for(items)
    if bad == "nan":
        vectors[3, 3] = np.nan
    elif bad == "long":
        vectors *= 2
    vectors = {"short": vectors[:, :-1], "few": vectors[:-1]}.get(bad, vectors)
    with pytest.raises(VectorError):
        archive.add(items, vectors, fingerprint=FINGERPRINT)
    assert archive.status().images == 0
    assert stored_files(archive.path) == set()


def test_an_old_plan_adds_nothing_twice(filled: Archive, manifest: Path) -> None:
    rows = read_manifest(manifest).rows
    filled.remove("case-0")
    items = [planned.load() for planned in filled.pending(rows).new]
    assert filled.add(items, vectors_for(items), fingerprint=FINGERPRINT) == 1
    assert filled.add(items, vectors_for(items), fingerprint=FINGERPRINT) == 0
    found_by_itself(filled)


def contents(folder: Path) -> dict[Path, bytes]:
    """All files but those by which SQLite's readers find each other."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if path.suffix not in (".sqlite-wal", ".sqlite-shm")}


def test_read_only_changes_nothing(filled: Archive, manifest: Path) -> None:
    filled.close()
    for path in (filled.path / "index").iterdir():
        path.unlink()
    before = contents(filled.path)
    with Archive.open(filled.path, read_only=True) as archive:
        found_by_itself(archive)
        assert any("rebuilt" in note for note in archive.notes)
        for change in (
            lambda: archive.remove("case-0"),
            lambda: archive.update([]),
            lambda: archive.add([], np.empty((0, DIM), np.float32), fingerprint=FINGERPRINT),
            lambda: archive.writer().__enter__(),
        ):
            with pytest.raises(ReadOnlyArchiveError, match="Open it for writing"):
                change()
    assert contents(filled.path) == before


def test_the_log_holds_every_change_of_an_embedding(filled: Archive) -> None:
    filled.remove("case-0")
    with records(filled.path) as session:
        changes = session.scalars(select(ChangeRow).order_by(ChangeRow.sequence)).all()
    assert [(row.operation, row.image_id) for row in changes] == [*(("add", i) for i in range(1, 13)), ("remove", 1)]
    assert len({row.token for row in changes}) == 13


@in_a_file_first
def test_records_are_frozen(filled: Archive) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        filled.case("case-0").report = "other"  # type: ignore[misc]


def derived_row(manifest: Path, *, derived: tuple[str, ...] | None, **particulars: str) -> ManifestRow:
    row = read_manifest(manifest).rows[0]
    return dataclasses.replace(row, **{"site": "", "category": "", "derived": derived, **particulars})


def stored_after(archive: Archive, *rows: ManifestRow) -> tuple[str, str, str, tuple[str, ...]]:
    """Site, system, category and mark of the rows' case once each row has been added or applied."""
    archive.use_encoder(FINGERPRINT, name="test encoder", dim=DIM)
    for row in rows:
        plan = archive.pending([row])
        archive.update(plan.changed)
        items = [planned.load() for planned in plan.new]
        archive.add(items, vectors_for(items), fingerprint=FINGERPRINT)
        assert not archive.pending([row]).changed, "what was applied is not applied again"
    case = archive.case(rows[0].case)
    found = archive.case_labels([case.key, "unknown"])
    assert found == {case.key: CaseLabels(case.site, case.system, case.category, case.derived)}
    return case.site, case.system, case.category, case.derived


READ = {"site": "cervix", "system": "Bethesda cervical 2014", "category": "HSIL"}


def test_what_was_derived_is_marked(archive: Archive, manifest: Path) -> None:
    row = derived_row(manifest, derived=tuple(READ), **READ)
    assert stored_after(archive, row) == ("cervix", "Bethesda cervical 2014", "HSIL", ("site", "system", "category"))


@in_a_file_first
def test_a_given_value_replaces_a_derived_one_and_its_mark(archive: Archive, manifest: Path) -> None:
    first = derived_row(manifest, derived=tuple(READ), **READ)
    given = derived_row(manifest, derived=None, category="LSIL")
    assert stored_after(archive, first, given) == ("cervix", "Bethesda cervical 2014", "LSIL", ("site", "system"))
    same = derived_row(manifest, derived=None, site="cervix")
    assert stored_after(archive, same) == ("cervix", "Bethesda cervical 2014", "LSIL", ("system",))


@in_a_file_first
def test_what_is_not_derived_any_more_goes(archive: Archive, manifest: Path) -> None:
    first = derived_row(manifest, derived=tuple(READ), **READ)
    now = derived_row(manifest, derived=("site",), site="urine", report="Another report.")
    assert stored_after(archive, first, now) == ("urine", "", "", ("site",))
    assert stored_after(archive, derived_row(manifest, derived=())) == ("", "", "", ())


def test_nobody_reading_leaves_what_was_derived(archive: Archive, manifest: Path) -> None:
    first = derived_row(manifest, derived=tuple(READ), **READ)
    silent = derived_row(manifest, derived=None, stain="Giemsa")
    assert stored_after(archive, first, silent) == (*READ.values(), tuple(READ))
