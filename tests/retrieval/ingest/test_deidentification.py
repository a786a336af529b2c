"""`add`: identifiers are counted, replaced or refused, and what was replaced is nowhere in the archive's folder."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from index_store import Archive
from retrieval import Encoder, IdentifiersError, add_manifest
from retrieval.ingest.deidentification import pseudonyms_of, screen_rows
from tests.retrieval.conftest import speckled

SECRETS = (
    "Jane",
    "Doe",
    "00482913",
    "12.03.2021",
    "1960-01-01",
    "S21-45678",
    "020 7946 0018",
    "555-010-4477",
    "Garden Road",
)
ROWS = [
    {"image": "one.png", "case": "S21-45678", "patient": "MRN 00482913", "report": "Mrs. Jane Doe, 12.03.2021: NILM."},
    {"image": "two.png", "case": "S21-45678", "patient": "MRN 00482913", "report": "Mrs. Jane Doe, 12.03.2021: NILM.",
     "remark": "call 020 7946 0018", "patient_name": "Jane Doe", "site": "12 Garden Road, left breast"},
    {"image": "DOE_JANE_1960-01-01.png", "report": "HSIL. Tel. 555-010-4477."},
    {"image": "plain.png", "case": "plain", "report": "T2 N1, 3 x 2 cm, Bethesda 2014."},
]  # fmt: skip


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    folder = tmp_path / "incoming"
    folder.mkdir()
    for number, row in enumerate(ROWS):
        speckled(number).save(folder / row["image"])
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in ROWS for name in row)))
        writer.writeheader()
        writer.writerows(ROWS)
    return folder / "manifest.csv"


def everything_stored(folder: Path) -> bytes:
    return b"".join(str(path).encode() + path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def leaked(folder: Path) -> list[str]:
    stored = everything_stored(folder)
    return [secret for secret in SECRETS if secret.encode() in stored]


def test_by_default_they_are_counted_and_never_shown(manifest: Path, tmp_path: Path, encoder: Encoder) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        summary = add_manifest(archive, manifest, encoder)
        assert summary.added == 4
        assert {(count.place, count.kind): count.count for count in summary.identifiers} == {
            ("reports", "name"): 1,  # two rows of one case are one report
            ("reports", "date"): 1,
            ("reports", "telephone number"): 1,
            ("particulars", "postal address"): 1,
            ("further columns", "telephone number"): 1,
            ("further columns", "name"): 1,
            ("keys", "record number"): 2,  # the case and the patient
            ("file names", "date"): 1,
        }
        assert not any(secret in str(summary) for secret in SECRETS)
        assert archive.case("S21-45678").report == ROWS[0]["report"]
    assert leaked(tmp_path / "archive") == list(SECRETS)


def test_redacted_nothing_of_them_is_in_any_file(manifest: Path, tmp_path: Path, encoder: Encoder) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        summary = add_manifest(archive, manifest, encoder, identifiers="redact")
        assert (summary.added, summary.skipped, summary.redacted) == (4, (), True)
        cases = archive.cases()
        assert [case.key[:5] for case in cases] == ["case-", "image", "plain"]
        assert cases[0].report == "Mrs. [name], [date]: NILM."
        assert cases[0].patient.startswith("patient-")
        assert cases[0].images[1].attributes == {"remark": "call [telephone number]"}
        assert cases[1].patient == cases[1].key
        assert cases[2].report == ROWS[3]["report"]
        again = add_manifest(archive, manifest, encoder, identifiers="redact")
        assert (again.added, again.updated, again.unchanged) == (0, 0, 4)
    assert leaked(tmp_path / "archive") == []


@pytest.mark.slow
def test_a_report_redacted_afterwards_leaves_no_trace(manifest: Path, tmp_path: Path, encoder: Encoder) -> None:
    text = manifest.read_text(encoding="utf-8").replace("S21-45678", "one").replace("MRN 00482913", "P1")
    manifest.write_text(text, encoding="utf-8")
    with Archive.create(tmp_path / "archive") as archive:
        add_manifest(archive, manifest, encoder)
        assert b"12.03.2021" in everything_stored(tmp_path / "archive")
        add_manifest(archive, manifest, encoder, identifiers="redact")
        assert archive.case("one").report == "Mrs. [name], [date]: NILM."
        assert b"12.03.2021" not in everything_stored(tmp_path / "archive")


def test_refused_nothing_is_stored(manifest: Path, tmp_path: Path, encoder: Encoder) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        before = archive.revision
        with pytest.raises(IdentifiersError, match=r"1 name in reports \(line 2\)") as refusal:
            add_manifest(archive, manifest, encoder, identifiers="refuse")
        assert not any(secret in str(refusal.value) for secret in SECRETS)
        assert (archive.revision, archive.status().images, archive.encoder) == (before, 0, None)
    assert leaked(tmp_path / "archive") == []


def test_a_file_in_place_whose_path_tells_is_left_out(manifest: Path, tmp_path: Path, encoder: Encoder) -> None:
    with Archive.create(tmp_path / "archive") as archive:
        summary = add_manifest(archive, manifest, encoder, identifiers="redact", in_place=True)
        assert summary.added == 3
        (problem,) = summary.skipped
        assert problem.where == "manifest.csv, line 4"
        assert not any(secret in str(problem) for secret in SECRETS)
    assert leaked(tmp_path / "archive") == []


def test_a_damaged_image_is_named_by_its_line_alone(manifest: Path, tmp_path: Path, encoder: Encoder) -> None:
    (manifest.parent / "DOE_JANE_1960-01-01.png").write_bytes(b"no picture")
    with Archive.create(tmp_path / "archive") as archive:
        summary = add_manifest(archive, manifest, encoder)
    (problem,) = summary.skipped
    assert str(problem).startswith("manifest.csv, line 4: The image is a text file")
    assert "DOE" not in str(problem)


def test_pseudonyms_are_an_archives_own() -> None:
    one, other = pseudonyms_of("archive-one"), pseudonyms_of("archive-two")
    assert one("S21-45678") == one("S21-45678")
    assert len({one("S21-45678"), one("S21-45679"), other("S21-45678")}) == 3


def test_nothing_to_say_of_no_rows() -> None:
    assert screen_rows(()).counts == ()
