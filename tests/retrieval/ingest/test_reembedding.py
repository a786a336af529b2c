"""An archive embedded with another encoder while the one before answers: whole, resumable, and reversible."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from index_store import Archive, EncoderIncompleteError, EncoderMismatchError
from retrieval import CaseSearch, Encoder, add_manifest, reembed
from retrieval.arrays import Vectors
from tests.clip_model import tiny_clip
from tests.retrieval.conftest import speckled

IMAGES = 9
BATCH = 4


class CountingEncoder(Encoder):
    """The real encoder, counting the images it is given."""

    encoded = 0

    def encode_prepared(self, prepared: Sequence[torch.Tensor]) -> Vectors:
        self.encoded += len(prepared)
        return super().encode_prepared(prepared)


@pytest.fixture(scope="session")
def other_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("models") / "other", seed=1)


@pytest.fixture
def other(other_folder: Path) -> CountingEncoder:
    return CountingEncoder(other_folder, device="cpu", batch_size=BATCH)


@pytest.fixture
def archive(tmp_path: Path, encoder: Encoder) -> Iterator[Archive]:
    """Nine cases of one image each, embedded with the first encoder."""
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, manifest(tmp_path, range(IMAGES)), encoder)
        yield archive


def manifest(folder: Path, numbers: Sequence[int]) -> Path:
    for number in numbers:
        speckled(number).save(folder / f"{number}.png")
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [[f"{number}.png", f"case-{number}", f"Report {number}."] for number in numbers]
        csv.writer(file).writerows([["image", "case", "report"], *rows])
    return folder / "manifest.csv"


def check_embedded_by(archive: Archive, encoder: Encoder, count: int) -> None:
    """Every image and report has this encoder's own vector, and is found by it."""
    images = [image for case in archive.cases() for image in case.images]
    assert len(images) == count
    vectors = archive.vectors_of([image.id for image in images], encoder.fingerprint)
    pictures = [archive.picture(image.id) for image in images]
    np.testing.assert_allclose(vectors, encoder.encode_images(pictures), atol=1e-5)
    ids, texts = archive.report_vectors(encoder.fingerprint)
    reports = {report.case_id: report.text for report in archive.reports()}
    assert ids.tolist() == sorted(reports)
    np.testing.assert_allclose(texts, encoder.encode_texts([reports[i] for i in ids.tolist()]), atol=1e-5)
    search = CaseSearch(archive, encoder)
    for image, picture in zip(images, pictures, strict=True):
        assert search.by_image(picture, k=1).cases[0].case.key == image.case_key


@pytest.mark.slow
def test_the_encoder_before_answers_until_the_other_is_complete(
    archive: Archive, encoder: Encoder, other: CountingEncoder
) -> None:
    answers = []

    def ask(done: int, total: int) -> None:
        assert total == IMAGES
        answers.append([case.case.key for case in CaseSearch(archive, encoder).by_case("case-3", k=3).cases])

    before = [case.case.key for case in CaseSearch(archive, encoder).by_case("case-3", k=3).cases]
    with Archive.open(archive.path, read_only=True) as reader:
        summary = reembed(archive, other, batch_size=BATCH, progress=ask)
        assert answers == [before] * 3
        assert (summary.embedded, summary.reports, summary.waiting, summary.switched) == (IMAGES, IMAGES, 0, True)
        assert (summary.skipped, summary.notes) == ((), ())
        check_embedded_by(archive, other, IMAGES)
        check_embedded_by(reader, other, IMAGES)  # it was open all the time
        assert reader.notes == archive.notes == ()
        with pytest.raises(EncoderMismatchError, match="coin reembed"):
            CaseSearch(reader, encoder).by_case("case-3")
    assert other.encoded == IMAGES + 2 * 2 * IMAGES  # once each, and twice by each of the two checks


@pytest.mark.slow
def test_an_interrupted_run_goes_on_where_it_stopped(
    archive: Archive, encoder: Encoder, other: CountingEncoder
) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reembed(archive, other, batch_size=BATCH, progress=interrupt)
    assert archive.encoder is not None
    assert archive.encoder.fingerprint == encoder.fingerprint
    assert [known.vectors for known in archive.encoders()] == [IMAGES, BATCH]
    with pytest.raises(EncoderIncompleteError, match=rf"{IMAGES - BATCH} images and {IMAGES} reports"):
        archive.switch_encoder(other.fingerprint)
    other.encoded = 0
    summary = reembed(archive, other, batch_size=BATCH)
    assert other.encoded == summary.embedded == IMAGES - BATCH
    assert summary.switched
    check_embedded_by(archive, other, IMAGES)


@pytest.mark.slow
def test_what_others_add_and_remove_meanwhile_is_seen(
    archive: Archive, encoder: Encoder, other: CountingEncoder, tmp_path: Path
) -> None:
    changed = []

    def change(done: int, total: int) -> None:
        if changed:
            return
        changed.append(done)
        with Archive.open(archive.path) as writer:
            add_manifest(writer, manifest(tmp_path, range(IMAGES, IMAGES + 3)), encoder)
            writer.remove("case-0")  # embedded already
            writer.remove(f"case-{IMAGES - 1}")  # not yet

    summary = reembed(archive, other, batch_size=BATCH, progress=change)
    assert summary.switched
    check_embedded_by(archive, other, IMAGES + 1)


def test_an_image_that_was_altered_is_named_and_keeps_the_other_from_answering(
    archive: Archive, encoder: Encoder, other: CountingEncoder
) -> None:
    image = archive.case("case-2").images[0]
    good = image.path.read_bytes()
    speckled(77).save(image.path)
    summary = reembed(archive, other, batch_size=BATCH)
    assert (summary.embedded, summary.waiting, summary.switched) == (IMAGES - 1, 1, False)
    (problem,) = summary.skipped
    assert "case-2" in problem.where
    assert "altered" in problem.what
    assert "1 images and 0 reports" in summary.notes[0]
    assert CaseSearch(archive, encoder).by_case("case-3", k=1).cases
    image.path.write_bytes(good)
    assert reembed(archive, other).switched
    check_embedded_by(archive, other, IMAGES)


def test_an_encoder_without_a_text_tower_may_take_over(archive: Archive, other_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(other_folder, tmp_path / "clip")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    summary = reembed(archive, Encoder(folder, device="cpu"))
    assert summary.switched
    assert "Reports were not embedded" in summary.notes[0]


@pytest.mark.slow
def test_switching_can_wait_and_be_undone(archive: Archive, encoder: Encoder, other: CountingEncoder) -> None:
    assert not reembed(archive, other, switch=False).switched
    check_embedded_by(archive, encoder, IMAGES)
    archive.switch_encoder(other.fingerprint)
    check_embedded_by(archive, other, IMAGES)
    archive.switch_encoder(encoder.fingerprint)
    check_embedded_by(archive, encoder, IMAGES)


def test_it_fills_in_what_the_archives_own_encoder_lacks(archive: Archive, encoder: Encoder) -> None:
    summary = reembed(archive, encoder)
    assert (summary.embedded, summary.reports, summary.switched) == (0, 0, True)
    check_embedded_by(archive, encoder, IMAGES)


def test_an_empty_archive_has_nothing_to_embed_anew(tmp_path: Path, other: CountingEncoder) -> None:
    with Archive.create(tmp_path / "empty") as archive, pytest.raises(EncoderMismatchError, match="no images yet"):
        reembed(archive, other)
