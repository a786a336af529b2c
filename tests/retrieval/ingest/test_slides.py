"""Whole slides of a manifest: their fields become images that know their place, once, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index_store import Archive, Case, FieldChoice, Slide, decode_image
from index_store.catalog.slide_tables import cut, planned
from retrieval import Encoder, add_manifest, reembed
from retrieval.ingest import ingest
from tests.clip_model import tiny_clip
from tests.retrieval.ingest.test_ingest import ROOT, check_every_vector_is_its_images, write_images, write_manifest
from tests.small_slides import FIELD, damage, small_slide
from ui.text.case import case_text, image_summary

CHOICE = FieldChoice(most=6)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive.create(tmp_path / "archive") as archive:
        yield archive


@pytest.fixture(scope="module")
def glass(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_slide(tmp_path_factory.mktemp("glass") / "glass.svs")


@pytest.fixture
def slide(glass: Path, tmp_path: Path) -> Path:
    return copied(glass, tmp_path / "slide.svs")


def copied(source: Path, target: Path) -> Path:
    target.write_bytes(source.read_bytes())
    return target


def one(slide: Path, *, case: str = "C", report: str = "R.", name: str = "manifest.csv") -> Path:
    return write_manifest(slide.parent, [[slide.name, case, report, "urine"]], name=name)


def places(case: Case) -> set[tuple[int, int]]:
    return {(image.place.x, image.place.y) for image in case.images if image.place is not None}


def test_a_slide_becomes_images_that_know_their_place(
    archive: Archive, encoder: Encoder, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    manifest = one(slide)
    summary = add_manifest(
        archive,
        manifest,
        encoder,
        choice=CHOICE,
        batch_size=4,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (summary.added, summary.skipped, summary.notes) == (6, (), ())
    assert seen == [(4, 6), (6, 6)]
    (added,) = summary.slides
    assert (added.line, added.fields, added.unread, added.width_um, added.places) == (2, 6, 0, 128.0, 16)
    case = archive.case("C")
    (stored,) = case.slides
    assert (stored.width, stored.height, stored.mpp, stored.planes) == (4 * FIELD, 4 * FIELD, 0.5, 1)
    assert list(stored.choices.values()) == [True]
    assert len(places(case)) == 6
    assert check_every_vector_is_its_images(archive, encoder) == 6
    with Slide(slide) as opened:
        for image in case.images:
            place = image.place
            assert place is not None
            assert (place.slide, place.width, place.height, place.level) == (stored.fingerprint, FIELD, FIELD, 0)
            assert (image.mpp, image.mpp_source, image.slide) == (0.5, "slide", "slide")
            assert image.path.is_relative_to(archive.path)
            shown = np.asarray(decode_image(image.path, expected=image.file_sha256)).astype(int)
            assert np.abs(shown - opened.read_region(place.x, place.y, FIELD, FIELD)).mean() < 2
            assert archive.image(image.id) == image
    assert stored.overview is not None
    assert max(decode_image(stored.overview, expected=stored.overview_sha256).size) == 1024
    place = case.images[0].place
    assert place is not None
    assert image_summary(case, case.images[0]).startswith(f"field at {place.x:,}, {place.y:,} of slide slide, 128 µm, ")
    assert "slide: TIFF, 1,024 × 1,024 px, 0.5 µm a pixel, 6 fields" in case_text(case)

    def never(*_: object) -> Any:
        raise AssertionError("the slide is looked at again")

    monkeypatch.setattr(cut, "choose_fields", never)
    monkeypatch.setattr(cut.SlideSource, "read", never)
    before = archive.revision
    again = add_manifest(archive, manifest, encoder, choice=CHOICE)
    assert (again.added, again.updated, again.unchanged, again.slides, again.notes) == (0, 0, 6, (), ())
    assert archive.revision == before

    renamed = slide.rename(slide.with_name("other.svs"))
    changed = add_manifest(archive, one(renamed, report="Another."), encoder, choice=CHOICE)
    assert (changed.added, changed.updated) == (0, 6)
    case = archive.case("C")
    assert (case.report, {image.slide for image in case.images}) == ("Another.", {"other"})
    assert {image.mpp_source for image in case.images} == {"slide"}


@pytest.mark.slow
def test_other_settings_add_fields_beside_the_first(archive: Archive, encoder: Encoder, slide: Path) -> None:
    add_manifest(archive, one(slide), encoder, choice=CHOICE)
    first = places(archive.case("C"))
    summary = add_manifest(archive, one(slide), encoder, choice=FieldChoice(most=9, width_um=64))
    assert (summary.added, summary.unchanged) == (9, 6)
    assert "6 fields of this slide were chosen by other settings before" in summary.notes[0]
    case = archive.case("C")
    assert first < places(case)
    assert len(case.slides) == 1
    assert len(case.slides[0].choices) == 2
    assert {image.place.width for image in case.images if image.place} == {FIELD, FIELD // 2}
    again = add_manifest(archive, one(slide), encoder, choice=FieldChoice(most=9, width_um=64))
    assert (again.added, again.unchanged, again.notes) == (0, 15, ())


@pytest.mark.slow
def test_a_slide_under_two_cases_and_two_slides_of_one_case(
    archive: Archive, encoder: Encoder, slide: Path, tmp_path: Path
) -> None:
    other = small_slide(tmp_path / "other.svs", seed=1)
    image = write_images(tmp_path, 1)[0][0]
    rows = [[slide.name, "C", "R.", ""], [slide.name, "D", "R.", ""], [other.name, "C", "", ""], [image, "C", "", ""]]
    summary = add_manifest(archive, write_manifest(tmp_path, rows), encoder, choice=CHOICE)
    assert (summary.added, len(summary.slides)) == (19, 3)
    assert "A slide is of more than one patient (lines 2, 3): check whose it is." in summary.notes
    case = archive.case("C")
    assert [len([i for i in case.images if i.slide == name]) for name in ("slide", "other", "")] == [6, 6, 1]
    assert len({slide.fingerprint for slide in case.slides}) == 2
    assert sum(image.place is None for image in case.images) == 1
    stored = {path for path in (archive.path / "images").rglob("*") if path.is_file()}
    assert len(stored) == 6 + 6 + 1 + 2  # what two cases share is one file, and so is a slide's overview
    archive.remove("C")
    shared = archive.case("D")
    kept = {path for path in (archive.path / "images").rglob("*") if path.is_file()}
    assert kept == {image.path for image in shared.images} | {shared.slides[0].overview}
    assert archive.examine().findings == ()
    archive.remove("D")
    assert not [path for path in (archive.path / "images").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_damaged_slide_gives_what_can_be_read_and_a_note(
    archive: Archive, encoder: Encoder, slide: Path, tmp_path: Path
) -> None:
    damage(slide, level=0, tiles=range(6))
    cut_short = tmp_path / "short.svs"
    cut_short.write_bytes(slide.read_bytes()[:150_000])
    rows = [[slide.name, "C", "R.", ""], [cut_short.name, "D", "R.", ""]]
    summary = add_manifest(archive, write_manifest(tmp_path, rows), encoder, choice=FieldChoice(most=16))
    assert 0 < summary.added <= 10
    (problem,) = summary.skipped
    assert problem.where == "manifest.csv, line 3"
    assert "its slide is" in problem.what
    (noted,) = summary.slides
    (note,) = archive.case("C").slides[0].notes
    assert noted.notes == (note,)
    assert note.startswith("The slide is damaged: ")
    assert note.split("Note: ")[-1] in case_text(archive.case("C")).replace("\n", " ")
    assert add_manifest(archive, write_manifest(tmp_path, rows[:1]), encoder, choice=FieldChoice(most=16)).added == 0


@pytest.mark.slow
def test_fields_that_cannot_be_read_later_are_noted_and_not_tried_again(
    archive: Archive, encoder: Encoder, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = cut.SlideSource.read
    refused: list[object] = []

    def sometimes(source: cut.SlideSource, place: cut.SlidePlace) -> Any:
        pixels = read(source, place)
        if len(refused) < 2:
            refused.append(place)
            raise cut.SlideProblem("slide.svs cannot be read there: the file is damaged. Copy it.")
        return pixels

    monkeypatch.setattr(cut.SlideSource, "read", sometimes)
    summary = add_manifest(archive, one(slide), encoder, choice=CHOICE)
    assert (summary.added, summary.skipped, summary.slides[0].unread) == (4, (), 2)
    note = "2 of 6 fields could not be read (its slide cannot be read there: the file is damaged)."
    assert archive.case("C").slides[0].notes == summary.slides[0].notes == (note,)
    assert add_manifest(archive, one(slide), encoder, choice=CHOICE).unchanged == 4
    assert len(refused) == 2


@pytest.mark.slow
def test_a_slide_of_which_nothing_can_be_stored_is_skipped(
    archive: Archive, encoder: Encoder, slide: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def never(*_: object) -> Any:
        raise cut.SlideProblem("slide.svs cannot be read there. Copy it again.")

    monkeypatch.setattr(cut.SlideSource, "read", never)
    blank = small_slide(tmp_path / "blank.svs", cells=0)
    unscaled = small_slide(tmp_path / "unscaled.svs", mpp=None)
    rows = [[path.name, path.stem, "R.", ""] for path in (slide, blank, unscaled)]
    summary = add_manifest(archive, write_manifest(tmp_path, rows), encoder, choice=CHOICE)
    assert (summary.added, archive.cases()) == (0, [])
    assert {problem.where[-1]: problem.what.partition(" (")[0] for problem in summary.skipped} == {
        "2": "its slide cannot be read there",
        "3": "its slide holds no field worth cutting out",
        "4": "its slide has no scale that is known",
    }


@pytest.mark.slow
def test_a_slide_that_is_gone_harms_nothing(archive: Archive, encoder: Encoder, slide: Path, tmp_path: Path) -> None:
    add_manifest(archive, one(slide), encoder, choice=CHOICE, in_place=True)
    slide.unlink()
    case = archive.case("C")
    assert not any(image.in_place for image in case.images)
    assert archive.examine().findings == ()
    vectors = archive.vectors_of([image.id for image in case.images], encoder.fingerprint)
    hits = archive.search(vectors, 1, fingerprint=encoder.fingerprint)
    assert [hit[0].image_id for hit in hits] == [image.id for image in case.images]
    other = Encoder(tiny_clip(tmp_path / "other", seed=5), device="cpu")
    assert reembed(archive, other).embedded == 6
    archive.back_up(tmp_path / "backup")
    archive.close()
    assert Archive.restore(tmp_path / "backup", tmp_path / "restored").examination.findings == ()
    with Archive.open(tmp_path / "restored") as restored:
        again = restored.case("C")
        assert places(again) == places(case)
        overview = again.slides[0].overview
        assert overview is not None
        overview.write_bytes(b"")
        (finding,) = restored.examine().findings
        assert (finding.what, finding.examples) == (
            "stored image files were altered",
            ("case C, overview of a slide",),
        )
        overview.unlink()
        assert [finding.what for finding in restored.examine().findings] == ["stored image files are missing"]


ADDING = """
import sys
from index_store import Archive, FieldChoice
from retrieval import Encoder, add_manifest

def progress(done, total):
    print(done, flush=True)
    sys.stdin.readline()

with Archive.open(sys.argv[1]) as archive:
    encoder = Encoder(sys.argv[3], device="cpu")
    add_manifest(archive, sys.argv[2], encoder, batch_size=2, choice=FieldChoice(most=6), progress=progress)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_add_goes_on_within_a_slide(
    clip_folder: Path, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Archive.create(tmp_path / "archive").close()
    command = [sys.executable, "-c", ADDING, str(tmp_path / "archive"), str(one(slide)), str(clip_folder)]
    adding = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert adding.stdin is not None
    assert adding.stdout is not None
    assert adding.stdout.readline() == "2\n"  # and it waits: one batch is stored
    adding.send_signal(signal.SIGKILL)
    assert adding.wait() == -signal.SIGKILL
    adding.stdin.close()
    adding.stdout.close()

    def never(*_: object, **__: object) -> Any:
        raise AssertionError("the fields are chosen again")

    monkeypatch.setattr(cut, "choose_fields", never)
    with Archive.open(tmp_path / "archive") as archive:
        case = archive.case("C")
        assert len(case.images) == 2
        assert list(case.slides[0].choices.values()) == [False]
        assert "2 fields, not all that were chosen" in case_text(case)
        encoder = Encoder(clip_folder, device="cpu")
        summary = add_manifest(archive, one(slide), encoder, choice=CHOICE)
        assert (summary.added, summary.unchanged) == (4, 2)
        case = archive.case("C")
        assert len(places(case)) == 6
        assert list(case.slides[0].choices.values()) == [True]
        assert check_every_vector_is_its_images(archive, encoder) == 6
        assert [finding for finding in archive.examine().findings if not finding.harmless] == []


@pytest.mark.slow
def test_of_many_fields_few_are_in_memory(
    archive: Archive, encoder: Encoder, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fields are read while earlier ones are stored, and no more of them wait than the window holds."""
    waiting, most = 0, 0
    load, add = cut.PlannedField.load, Archive.add

    def loaded(field: cut.PlannedField) -> Any:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        return load(field)

    def added(archive: Archive, items: Any, *arguments: Any, **options: Any) -> int:
        nonlocal waiting
        waiting -= len(items)
        return add(archive, items, *arguments, **options)

    monkeypatch.setattr(cut.PlannedField, "load", loaded)
    monkeypatch.setattr(Archive, "add", added)
    choice = FieldChoice(most=40, width_um=32)
    assert add_manifest(archive, one(slide), encoder, choice=choice, batch_size=2).added == 40
    assert most <= 2 * (2 + 2) + 2  # two batches ahead, one in the encoder, one being stored, and those being read


@pytest.mark.slow
@pytest.mark.parametrize("identifiers", ["warn", "redact"])
def test_a_slide_whose_files_name_holds_an_identifier_is_called_after_its_fingerprint(
    archive: Archive, encoder: Encoder, glass: Path, tmp_path: Path, identifiers: Any
) -> None:
    slide = copied(glass, tmp_path / "Mrs Jane Doe, MRN 12345678.svs")
    manifest = write_manifest(tmp_path, [[slide.name, "" if identifiers == "redact" else "C", "R.", ""]])
    summary = add_manifest(archive, manifest, encoder, choice=CHOICE, identifiers=identifiers)
    assert summary.added == 6
    (case,) = archive.cases()
    assert case.key == "C" or case.key.startswith("image-")
    assert {image.slide for image in case.images} == {f"slide-{case.slides[0].fingerprint[:12]}"}
    for path in archive.path.rglob("*"):
        assert not path.is_file() or b"Jane" not in path.read_bytes()
    assert add_manifest(archive, manifest, encoder, choice=CHOICE, identifiers=identifiers).unchanged == 6


def test_the_settings_of_a_choice_outlive_settings_that_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def settings(choice: FieldChoice, mpp: float = 0.25) -> str:
        return planned.PlannedSlide(None, None, choice, mpp, "slide").settings  # type: ignore[arg-type]

    assert settings(FieldChoice()) == '{"most": 64, "mpp": 0.25, "width_um": 128.0}'
    assert settings(FieldChoice(most=8, seed=3)) == '{"most": 8, "mpp": 0.25, "seed": 3, "width_um": 128.0}'
    assert settings(FieldChoice()) != settings(FieldChoice(), 0.5)


@pytest.mark.slow
def test_a_break_ends_the_slides_processes(
    archive: Archive,
    encoder: Encoder,
    slide: Path,
    started: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(ingest.SlideFields, "take", broken)
    with contextlib.suppress(RuntimeError):
        add_manifest(archive, one(slide), encoder, choice=CHOICE, batch_size=2)
    assert started
    assert all(process.poll() is not None for process in started)
