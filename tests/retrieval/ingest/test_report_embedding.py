"""Adding a manifest embeds the reports that lack a vector: once, in batches, and never at the images' cost."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from index_store import Archive
from retrieval import Encoder, EncoderLoadError, add_manifest
from retrieval.arrays import Vectors
from tests.index_store.archive_builders import records
from tests.retrieval.conftest import speckled

WEIGHTS = "open_clip_model.safetensors"


class CountingEncoder(Encoder):
    """The real encoder, counting the texts of each call."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, device="cpu", batch_size=4)
        self.calls: list[int] = []

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(len(texts))
        return super().encode_texts(texts)


@pytest.fixture
def counting(clip_folder: Path) -> CountingEncoder:
    return CountingEncoder(clip_folder)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive.create(tmp_path / "archive") as archive:
        yield archive


@pytest.fixture
def without_tokenizer(clip_folder: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / name).unlink()
    return folder


def manifest(folder: Path, reports: Sequence[str]) -> Path:
    """A manifest of a case a report; the images are drawn where they are missing."""
    for number in range(len(reports)):
        if not (folder / f"{number}.png").exists():
            speckled(number).save(folder / f"{number}.png")
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [[f"{number}.png", f"case-{number}", report] for number, report in enumerate(reports)]
        csv.writer(file).writerows([["image", "case", "report"], *rows])
    return folder / "manifest.csv"


def check_vectors(archive: Archive, encoder: Encoder) -> int:
    """Each report has the vector of its own text. Returns how many there are."""
    reports = archive.reports()
    ids, vectors = archive.report_vectors(encoder.fingerprint)
    assert ids.tolist() == [report.case_id for report in reports]
    np.testing.assert_allclose(vectors, encoder.encode_texts([report.text for report in reports]), atol=1e-5)
    return len(reports)


REPORTS = [f"Report {number}." for number in range(7)]


def test_reports_are_embedded_in_batches_of_one_transaction(
    archive: Archive, counting: CountingEncoder, tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    summary = add_manifest(
        archive,
        manifest(tmp_path, REPORTS),
        counting,
        batch_size=3,
        embedding=lambda done, total: seen.append((done, total)),
    )
    assert (summary.added, summary.reports, summary.notes) == (7, 7, ())
    assert seen == [(3, 7), (6, 7), (7, 7)]
    assert counting.calls == [3, 3, 1]
    assert archive.revision == 6  # three batches of images, three of reports
    assert check_vectors(archive, counting) == 7


def test_equal_reports_are_encoded_once_a_batch(archive: Archive, counting: CountingEncoder, tmp_path: Path) -> None:
    reports = ["NILM.", "HSIL.", "NILM.", "NILM.", "HSIL.", "NILM."]
    assert add_manifest(archive, manifest(tmp_path, reports), counting, batch_size=4).reports == 6
    assert counting.calls == [2, 1]  # two HSIL and two NILM; two NILM
    assert check_vectors(archive, counting) == 6


def test_only_what_lacks_a_vector_is_embedded(archive: Archive, counting: CountingEncoder, tmp_path: Path) -> None:
    add_manifest(archive, manifest(tmp_path, REPORTS[:4]), counting)
    counting.calls.clear()
    assert add_manifest(archive, manifest(tmp_path, REPORTS[:4]), counting).reports == 0
    assert counting.calls == []
    changed = [*REPORTS[:3], "Corrected.", *REPORTS[4:]]
    summary = add_manifest(archive, manifest(tmp_path, changed), counting)
    assert (summary.added, summary.updated, summary.reports) == (3, 1, 4)
    assert counting.calls == [4]
    assert check_vectors(archive, counting) == 7


def test_an_archive_made_before_gets_its_vectors(archive: Archive, counting: CountingEncoder, tmp_path: Path) -> None:
    path = manifest(tmp_path, REPORTS)
    add_manifest(archive, path, counting)
    with records(archive.path, writing=True) as session:
        session.connection().exec_driver_sql("DELETE FROM report_embeddings")
    summary = add_manifest(archive, path, counting)
    assert (summary.added, summary.updated, summary.reports) == (0, 0, 7)
    assert check_vectors(archive, counting) == 7


def test_without_a_tokenizer_the_images_are_added_and_it_is_reported(
    archive: Archive, without_tokenizer: Path, tmp_path: Path
) -> None:
    encoder = Encoder(without_tokenizer, device="cpu")
    summary = add_manifest(archive, manifest(tmp_path, REPORTS), encoder)
    assert (summary.added, summary.reports, summary.skipped) == (7, 0, ())
    (note,) = summary.notes
    assert note.startswith("7 reports have no vector")
    assert "no tokenizer files" in note
    assert len(archive.cases()) == 7
    assert len(archive.reports_without_vector(encoder.fingerprint)) == 7


def test_a_broken_tokenizer_is_said_as_well(archive: Archive, without_tokenizer: Path, tmp_path: Path) -> None:
    (without_tokenizer / "tokenizer.json").write_text("{}")
    encoder = Encoder(without_tokenizer, device="cpu")
    with pytest.raises(EncoderLoadError, match="tokenizer of 'clip' could not be loaded"):
        encoder.encode_texts(["HSIL"])
    summary = add_manifest(archive, manifest(tmp_path, REPORTS), encoder)
    assert (summary.added, summary.reports) == (7, 0)
    assert "could not be loaded" in summary.notes[0]


def test_a_text_tower_that_gives_no_vectors_is_reported(archive: Archive, clip_folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(clip_folder, tmp_path / "broken")
    weights = load_file(broken / WEIGHTS)
    weights["text_projection"][:] = float("nan")
    save_file(weights, broken / WEIGHTS)
    summary = add_manifest(archive, manifest(tmp_path, REPORTS), Encoder(broken, device="cpu"))
    assert (summary.added, summary.reports) == (7, 0)
    assert "no usable vector" in summary.notes[0]


def test_an_archive_without_images_has_no_reports_to_embed(
    archive: Archive, counting: CountingEncoder, tmp_path: Path
) -> None:
    (tmp_path / "0.png").write_bytes(b"bad")
    summary = add_manifest(archive, manifest(tmp_path, REPORTS[:1]), counting)
    assert (summary.added, summary.reports, summary.notes) == (0, 0, ())
    assert counting.calls == []
