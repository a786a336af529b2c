"""From a manifest to an archive: incremental, unstoppable by a bad row, and whole after a kill."""

from __future__ import annotations

import contextlib
import csv
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from index_store import Archive, ArchiveBusyError, ManifestError, ReadOnlyArchiveError, decode_image, read_manifest
from retrieval import Encoder, EncodingError, add_manifest, import_encoder
from retrieval.arrays import Vectors
from retrieval.ingest import embed_images
from tests.retrieval.conftest import speckled

ROOT = Path(__file__).parents[3]


class CountingEncoder(Encoder):
    """The real encoder, counting what it is given."""

    prepared = 0
    encoded = 0

    def prepare(self, image: PIL.Image.Image, mpp: float | None = None) -> torch.Tensor:
        self.prepared += 1
        return super().prepare(image, mpp)

    def encode_prepared(self, prepared: Sequence[torch.Tensor]) -> Vectors:
        self.encoded += len(prepared)
        return super().encode_prepared(prepared)


@pytest.fixture
def counting(clip_folder: Path) -> CountingEncoder:
    return CountingEncoder(clip_folder, device="cpu", batch_size=4)


@pytest.fixture
def archive(tmp_path: Path) -> contextlib.AbstractContextManager[Archive]:
    with Archive.create(tmp_path / "archive") as archive:
        yield archive


def write_manifest(folder: Path, rows: Sequence[Sequence[str]], *, name: str = "manifest.csv") -> Path:
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "case", "report", "site"], *rows])
    return path


def write_images(folder: Path, count: int, *, first: int = 0) -> list[list[str]]:
    rows = []
    for number in range(first, first + count):
        speckled(number).save(folder / f"{number}.png")
        rows.append([f"{number}.png", f"case {number}", f"Report {number}.", "cervix"])
    return rows


def check_every_vector_is_its_images(archive: Archive, encoder: Encoder) -> int:
    """Each stored vector is that of the image it is stored for. Returns how many there are."""
    images = [image for case in archive.cases() for image in case.images]
    stored = archive.vectors_of([image.id for image in images], encoder.fingerprint)
    expected = encoder.encode_images([decode_image(image.path) for image in images])
    np.testing.assert_allclose(stored, expected, atol=1e-5)
    return len(images)


def test_all_rows_become_cases_with_their_own_vectors(
    archive: Archive, counting: CountingEncoder, tmp_path: Path
) -> None:
    manifest = write_manifest(tmp_path, write_images(tmp_path, 10))
    seen: list[tuple[int, int]] = []
    started = time.perf_counter()
    summary = add_manifest(
        archive, manifest, counting, batch_size=4, progress=lambda done, total: seen.append((done, total))
    )
    assert 0 < summary.seconds <= time.perf_counter() - started
    assert (summary.added, summary.updated, summary.unchanged, summary.skipped) == (10, 0, 0, ())
    assert summary.images_per_second == pytest.approx(10 / summary.seconds)
    assert seen == [(4, 10), (8, 10), (10, 10)]
    assert [case.key for case in archive.cases()] == [f"case {i}" for i in range(10)]
    assert archive.encoder is not None
    assert (archive.encoder.fingerprint, archive.encoder.name) == (counting.fingerprint, counting.name)
    assert check_every_vector_is_its_images(archive, counting) == 10


def test_adding_again_decodes_and_encodes_nothing(archive: Archive, counting: CountingEncoder, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, write_images(tmp_path, 5))
    add_manifest(archive, manifest, counting)
    before = archive.status()
    counting.prepared = counting.encoded = 0
    summary = add_manifest(archive, manifest, counting)
    assert (summary.added, summary.updated, summary.unchanged) == (0, 0, 5)
    assert (counting.prepared, counting.encoded) == (0, 0)
    assert archive.status() == before


def test_only_what_is_new_is_encoded(archive: Archive, counting: CountingEncoder, tmp_path: Path) -> None:
    rows = write_images(tmp_path, 5)
    add_manifest(archive, write_manifest(tmp_path, rows), counting)
    counting.prepared = counting.encoded = 0
    summary = add_manifest(archive, write_manifest(tmp_path, rows + write_images(tmp_path, 2, first=5)), counting)
    assert (summary.added, summary.unchanged) == (2, 5)
    assert (counting.prepared, counting.encoded) == (2, 2)


def test_a_new_report_is_an_update_without_encoding(
    archive: Archive, counting: CountingEncoder, tmp_path: Path
) -> None:
    rows = write_images(tmp_path, 3)
    add_manifest(archive, write_manifest(tmp_path, rows), counting)
    rows[1][2] = "Corrected report."
    counting.prepared = counting.encoded = 0
    summary = add_manifest(archive, write_manifest(tmp_path, rows), counting)
    assert (summary.added, summary.updated, summary.unchanged) == (0, 1, 2)
    assert counting.prepared == 0
    assert archive.case("case 1").report == "Corrected report."


@pytest.mark.slow
def test_bad_rows_are_named_and_stop_or_shift_nothing(archive: Archive, encoder: Encoder, tmp_path: Path) -> None:
    rows = write_images(tmp_path, 9)
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "2.png").write_bytes(b"")
    (tmp_path / "3.png").write_text("%PDF-1.7 not an image")
    PIL.Image.new("1", (11_000, 11_000)).save(tmp_path / "4.png")  # 121 megapixels in a few kB
    PIL.Image.new("RGB", (5000, 9)).save(tmp_path / "5.png")
    (tmp_path / "6.png").unlink()
    rows[7][2] = ""
    manifest = write_manifest(tmp_path, rows)
    summary = add_manifest(archive, manifest, encoder, batch_size=3)
    assert summary.added == 2
    problems = {problem.where: f"{problem.what}. {problem.advice}" for problem in summary.skipped}
    assert sorted(problems) == [f"manifest.csv, line {line}" for line in range(3, 10)]
    for line, words in {3: "damaged", 4: "empty", 5: "is a PDF", 6: "megapixels", 7: "strip", 8: "not there",
                        9: "no report"}.items():  # fmt: skip
        assert words in problems[f"manifest.csv, line {line}"]
    assert [case.key for case in archive.cases()] == ["case 0", "case 8"]
    assert check_every_vector_is_its_images(archive, encoder) == 2


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_images_of_every_mode_are_taken(archive: Archive, encoder: Encoder, tmp_path: Path, mode: str) -> None:
    image = PIL.Image.new("I;16", (40, 40), 30_000) if mode == "I;16" else speckled(1).convert(mode)
    image.save(tmp_path / "image.tif")
    manifest = write_manifest(tmp_path, [["image.tif", "case", "Report.", ""]])
    assert add_manifest(archive, manifest, encoder).added == 1
    assert check_every_vector_is_its_images(archive, encoder) == 1


def test_an_archive_of_bad_images_alone_is_bound_to_no_encoder(
    archive: Archive, encoder: Encoder, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"bad")
    summary = add_manifest(archive, write_manifest(tmp_path, [["bad.png", "case", "Report.", ""]]), encoder)
    assert (summary.added, len(summary.skipped)) == (0, 1)
    assert archive.encoder is None


def test_images_stay_where_they_are_in_place(archive: Archive, encoder: Encoder, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, write_images(tmp_path, 2))
    assert add_manifest(archive, manifest, encoder, in_place=True).added == 2
    assert [case.images[0].path for case in archive.cases()] == [tmp_path / "0.png", tmp_path / "1.png"]


def test_the_images_may_lie_in_another_folder(archive: Archive, encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    manifest = write_manifest(tmp_path, write_images(tmp_path / "pictures", 2))
    assert add_manifest(archive, manifest, encoder, images=tmp_path / "pictures").added == 2


@pytest.mark.slow
def test_large_images_close_a_batch_early(
    archive: Archive, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed_images, "DECODED_BYTES", 60_000)  # four of these images
    seen: list[int] = []
    manifest = write_manifest(tmp_path, write_images(tmp_path, 12))
    add_manifest(archive, manifest, encoder, batch_size=8, progress=lambda done, _: seen.append(done))
    assert seen[-1] == 12
    assert max(np.diff([0, *seen])) < 8
    assert check_every_vector_is_its_images(archive, encoder) == 12


class FailingEncoder(Encoder):
    """The real encoder, until it breaks down in the third batch."""

    batches = 0

    def encode_prepared(self, prepared: Sequence[torch.Tensor]) -> Vectors:
        self.batches += 1
        if self.batches == 3:
            raise EncodingError("The encoder broke down.")
        return super().encode_prepared(prepared)


@pytest.mark.slow
def test_a_breakdown_keeps_the_batches_before_it_and_leaves_no_thread(
    archive: Archive, encoder: Encoder, clip_folder: Path, tmp_path: Path
) -> None:
    manifest = write_manifest(tmp_path, write_images(tmp_path, 20))
    before = threading.active_count()
    with pytest.raises(EncodingError, match="broke down"):
        add_manifest(archive, manifest, FailingEncoder(clip_folder, device="cpu"), batch_size=3)
    assert threading.active_count() == before
    assert archive.status().images == 6
    assert add_manifest(archive, manifest, encoder).added == 14
    assert check_every_vector_is_its_images(archive, encoder) == 20


def test_a_manifest_that_is_none_changes_nothing(archive: Archive, encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("picture,text\na.png,Report\n")
    with pytest.raises(ManifestError, match="no column image"):
        add_manifest(archive, tmp_path / "manifest.csv", encoder)
    assert archive.encoder is None


def test_a_second_writer_and_a_read_only_archive_are_refused(encoder: Encoder, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, write_images(tmp_path, 1))
    with Archive.create(tmp_path / "archive") as first, Archive.open(tmp_path / "archive") as second:
        with first.writer(), pytest.raises(ArchiveBusyError, match=str(os.getpid())):
            add_manifest(second, manifest, encoder)
        assert add_manifest(second, manifest, encoder).added == 1
    with Archive.open(tmp_path / "archive", read_only=True) as archive, pytest.raises(ReadOnlyArchiveError):
        add_manifest(archive, manifest, encoder)


ADDING = """
import sys
from index_store import Archive
from retrieval import Encoder, add_manifest

def progress(done, total):
    sys.stdout.write(f"{done}\\n")
    sys.stdout.flush()

with Archive.open(sys.argv[1]) as archive:
    add_manifest(archive, sys.argv[2], Encoder(sys.argv[3], device="cpu"), batch_size=3, progress=progress)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_killed_add_leaves_whole_batches_and_the_next_one_finishes(clip_folder: Path, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, write_images(tmp_path, 60))
    Archive.create(tmp_path / "archive").close()
    adding = subprocess.Popen(
        [sys.executable, "-c", ADDING, str(tmp_path / "archive"), str(manifest), str(clip_folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert adding.stdout is not None
    acknowledged = 0
    for line in adding.stdout:
        acknowledged = int(line)
        if acknowledged >= 9:
            adding.send_signal(signal.SIGKILL)
            break
    acknowledged = max([acknowledged, *(int(line) for line in adding.stdout)])
    assert adding.wait() == -signal.SIGKILL
    adding.stdout.close()
    counting = CountingEncoder(clip_folder, device="cpu")
    with Archive.open(tmp_path / "archive") as archive:
        found = archive.status().images
        assert acknowledged <= found < 60
        assert found % 3 == 0
        summary = add_manifest(archive, manifest, counting)
        assert (summary.added, summary.unchanged, summary.skipped) == (60 - found, found, ())
        assert counting.encoded == 60 - found
        assert [case.key for case in archive.cases()] == [f"case {number}" for number in range(60)]
        assert check_every_vector_is_its_images(archive, counting) == 60
        assert archive.status().indexed == 60
    stored = [path for path in (tmp_path / "archive" / "images").rglob("*") if path.is_file()]
    assert len(stored) == 60


def with_scales(folder: Path, scales: Sequence[str]) -> Path:
    rows = [[*row, mpp] for row, mpp in zip(write_images(folder, len(scales)), scales, strict=True)]
    path = folder / "manifest.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "case", "report", "site", "mpp"], *rows])
    return path


def check_scaled_vectors(archive: Archive, encoder: Encoder) -> None:
    images = [image for case in archive.cases() for image in case.images]
    stored = archive.vectors_of([image.id for image in images], encoder.fingerprint)
    pictures = [decode_image(image.path) for image in images]
    np.testing.assert_allclose(stored, encoder.encode_images(pictures, mpp=[i.mpp for i in images]), atol=1e-5)


@pytest.fixture(scope="module")
def field_folder(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test encoder as one that sees fields of 20 µm."""
    return import_encoder(str(clip_folder), tmp_path_factory.mktemp("imported") / "fields", field_um=20.0).folder


@pytest.mark.slow
def test_an_image_is_embedded_by_its_scale_and_anew_where_that_is_corrected(
    archive: Archive, field_folder: Path, tmp_path: Path
) -> None:
    counting = CountingEncoder(field_folder, device="cpu", batch_size=4)
    add_manifest(archive, with_scales(tmp_path, ["", "1", "1"]), counting)
    check_scaled_vectors(archive, counting)
    counting.prepared = 0
    summary = add_manifest(archive, with_scales(tmp_path, ["1", "1", "0.3"]), counting)
    assert (summary.updated, summary.unchanged, summary.added, counting.prepared) == (2, 1, 0, 2)
    assert any("2 stored images were embedded anew" in note for note in summary.notes)
    check_scaled_vectors(archive, counting)
    assert archive.examine().healthy


def test_a_run_that_was_killed_before_it_embedded_anew_is_resumed(
    archive: Archive, field_folder: Path, tmp_path: Path
) -> None:
    encoder = Encoder(field_folder, device="cpu", batch_size=4)
    add_manifest(archive, with_scales(tmp_path, ["", ""]), encoder)
    manifest = with_scales(tmp_path, ["1", ""])
    archive.update(archive.pending(read_manifest(manifest).rows).changed, drop_rescaled=True)
    assert archive.count_images_without_vector(encoder.fingerprint) == 1
    assert add_manifest(archive, manifest, encoder).unchanged == 2
    check_scaled_vectors(archive, encoder)


def test_a_corrected_scale_costs_nothing_where_the_encoder_sees_whole_images(
    archive: Archive, counting: CountingEncoder, tmp_path: Path
) -> None:
    add_manifest(archive, with_scales(tmp_path, ["", "1"]), counting)
    counting.prepared = 0
    assert add_manifest(archive, with_scales(tmp_path, ["1", "0.5"]), counting).updated == 2
    assert counting.prepared == archive.count_images_without_vector(counting.fingerprint) == 0


def test_a_scale_for_all_is_for_those_that_have_none(
    archive: Archive, counting: CountingEncoder, tmp_path: Path
) -> None:
    add_manifest(archive, with_scales(tmp_path, ["0.3", ""]), counting, mpp=0.5)
    scales = [(image.mpp, image.mpp_source) for case in archive.cases() for image in case.images]
    assert scales == [(0.3, "manifest"), (0.5, "option")]
    with pytest.raises(ValueError, match="mpp must be from"):
        add_manifest(archive, tmp_path / "manifest.csv", counting, mpp=250)
