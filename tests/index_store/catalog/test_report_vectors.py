from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from index_store import (
    Archive,
    ArchiveBusyError,
    EncoderMismatchError,
    PlannedImage,
    ReadOnlyArchiveError,
    VectorError,
    read_manifest,
)
from index_store.catalog.models import ReportEmbeddingRow
from tests.index_store.archive_builders import (
    DIM,
    FINGERPRINT,
    add_manifest,
    embed_reports,
    records,
    reports_embedded,
    simple_rows,
    vector_of_text,
    vectors_for,
    write_manifest,
)


@pytest.fixture
def unembedded(archive: Archive, manifest: Path) -> Archive:
    """The twelve cases, added by a version that knew no report vectors."""
    archive.use_encoder(FINGERPRINT, name="test encoder", dim=DIM)
    items = [planned.load() for planned in archive.pending(read_manifest(manifest).rows).new]
    archive.add(items, vectors_for(items), fingerprint=FINGERPRINT)
    return archive


def changed_report(archive: Archive, manifest: Path, case: str, report: str) -> None:
    rows = simple_rows(12)
    for row in rows:
        row["report"] = report if row["case"] == case else row["report"]
    plan = archive.pending(read_manifest(write_manifest(manifest, rows)).rows)
    assert archive.update(plan.changed) == 1


def test_every_report_gets_its_vector_once(unembedded: Archive) -> None:
    assert [report.case_key for report in unembedded.reports_without_vector(FINGERPRINT)] == [
        f"case-{i}" for i in range(12)
    ]
    ids, vectors = unembedded.report_vectors(FINGERPRINT)
    assert (ids.shape, ids.dtype, vectors.shape, vectors.dtype) == ((0,), "int64", (0, DIM), "float32")
    assert embed_reports(unembedded, batch=5) == 12
    ids, vectors = unembedded.report_vectors(FINGERPRINT)
    assert ids.tolist() == unembedded.case_ids().tolist()
    assert (vectors.shape, vectors.dtype) == ((12, DIM), "float32")
    assert len(reports_embedded(unembedded)) == 12
    assert embed_reports(unembedded) == 0


def test_they_outlast_closing(unembedded: Archive) -> None:
    embed_reports(unembedded)
    unembedded.close()
    with Archive.open(unembedded.path, read_only=True) as archive:
        assert len(reports_embedded(archive)) == 12


def test_a_changed_report_has_no_current_vector(filled: Archive, manifest: Path) -> None:
    changed_report(filled, manifest, "case-3", "Another report.")
    assert [report.text for report in filled.reports_without_vector(FINGERPRINT)] == ["Another report."]
    assert "case-3" not in reports_embedded(filled)
    assert embed_reports(filled) == 1
    assert np.array_equal(reports_embedded(filled)["case-3"], vector_of_text("Another report."))


def test_a_report_changed_back_is_embedded_still(filled: Archive, manifest: Path) -> None:
    changed_report(filled, manifest, "case-3", "Another report.")
    changed_report(filled, manifest, "case-3", "Report 3.")
    assert filled.reports_without_vector(FINGERPRINT) == []


def test_what_vanished_or_changed_meanwhile_is_passed_over(unembedded: Archive, manifest: Path) -> None:
    reports = unembedded.reports_without_vector(FINGERPRINT)[:4]
    changed_report(unembedded, manifest, "case-1", "Another report.")
    unembedded.remove("case-2")
    ids, texts = [report.case_id for report in reports], [report.text for report in reports]
    vectors = np.array([vector_of_text(text) for text in texts])
    assert unembedded.add_report_vectors(ids, texts, vectors, fingerprint=FINGERPRINT) == 2
    assert reports_embedded(unembedded).keys() == {"case-0", "case-3"}


def test_a_removed_case_takes_its_vector_along(filled: Archive, catalog: str) -> None:
    (gone,) = (report.case_id for report in filled.reports() if report.case_key == "case-3")
    filled.remove("case-3")
    ids, _ = filled.report_vectors(FINGERPRINT)
    assert len(ids) == 11
    assert gone not in ids
    data = vector_of_text("Report 3.").tobytes()
    with records(filled.path) as session:
        assert session.scalar(select(ReportEmbeddingRow).where(ReportEmbeddingRow.vector == data)) is None
    if not catalog:
        assert data not in (filled.path / "archive.sqlite").read_bytes()


def test_blank_reports_have_none(archive: Archive, manifest: Path) -> None:
    archive.use_encoder(FINGERPRINT, name="test encoder", dim=DIM)
    items = [planned.load() for planned in archive.pending(read_manifest(manifest).rows[:1]).new]
    archive.add(items, vectors_for(items), fingerprint=FINGERPRINT)
    with records(archive.path, writing=True) as session:
        session.connection().exec_driver_sql("UPDATE cases SET report = ' \n'")
    assert [report.text for report in archive.reports()] == [" \n"]
    assert archive.reports_without_vector(FINGERPRINT) == []


def test_what_is_refused(unembedded: Archive) -> None:
    report = unembedded.reports_without_vector(FINGERPRINT)[0]
    good = vector_of_text(report.text)[None]

    def add(vectors: object, texts: list[str] | None = None, fingerprint: str = FINGERPRINT) -> int:
        texts = [report.text] if texts is None else texts
        return unembedded.add_report_vectors([report.case_id], texts, vectors, fingerprint=fingerprint)

    for bad in (good * 2, good[:, 1:], np.full_like(good, np.nan), np.vstack([good, good])):
        with pytest.raises(VectorError, match=r"each report|has length|shape"):
            add(bad)
    with pytest.raises(ValueError, match="1 cases and 2 texts"):
        add(good, [report.text, report.text])
    for call in (
        lambda: add(good, fingerprint="encoder-b"),
        lambda: unembedded.reports_without_vector("encoder-b"),
        lambda: unembedded.report_vectors("encoder-b"),
    ):
        with pytest.raises(EncoderMismatchError, match="cannot be compared"):
            call()
    with Archive.open(unembedded.path, read_only=True) as archive, pytest.raises(ReadOnlyArchiveError):
        archive.add_report_vectors([report.case_id], [report.text], good, fingerprint=FINGERPRINT)
    with Archive.open(unembedded.path) as other, other.writer(), pytest.raises(ArchiveBusyError):
        add(good)
    assert reports_embedded(unembedded) == {}
    assert add(good) == 1


def test_the_revision_grows_with_every_change(archive: Archive, manifest: Path) -> None:
    assert archive.revision == 0
    add_manifest(archive, manifest, batch=6)
    assert archive.revision == 4  # two batches of images, two of reports
    add_manifest(archive, manifest, batch=6)
    assert archive.revision == 4
    changed_report(archive, manifest, "case-3", "Another report.")
    assert archive.revision == 5
    unknown = PlannedImage(read_manifest(manifest).rows[0], "0" * 64)
    assert archive.update([unknown]) == 0
    assert archive.revision == 5
    archive.remove("case-3")
    assert archive.revision == 6
    with Archive.open(archive.path, read_only=True) as reader:
        assert reader.revision == 6
