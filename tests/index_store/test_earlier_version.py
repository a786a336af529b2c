"""An archive made by version 0.1.0 (commit 13c22ec) opens, and answers as that version did.

`archive_0.1.0.tar.gz` is its folder, and `archive_0.1.0.json` what `answers` returned there. It holds seven phantom
cases (an eighth was removed), eight images of 40 x 40 pixels (one came as a JPEG with EXIF data), image and report
vectors of eight dimensions, a second encoder that has embedded some of the images, and derived labels.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index_store import Archive, CaseFilter

FILES = Path(__file__).with_name("archive_0.1.0.tar.gz"), Path(__file__).with_name("archive_0.1.0.json")
FINGERPRINT, DIM = "a" * 64, 8
FILTERS: dict[str, CaseFilter | None] = {
    "none": None,
    "site": CaseFilter(sites=("cervix",)),
    "category and stain": CaseFilter(categories=("LSIL", "NILM", "SHGUC"), stains=("Papanicolaou",)),
    "no phantoms": CaseFilter(phantoms=False),
    "kind": CaseFilter(kinds=("cell",)),
    "without a patient and a case": CaseFilter(exclude_patients=("patient 1",), exclude_cases=("case 5",)),
}


def answers(archive: Archive) -> dict[str, Any]:
    """What an archive says of itself and finds, as JSON values. Paths are those within the archive's folder."""
    queries = np.random.default_rng(3).normal(size=(3, DIM))
    vectors = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    ids, report_vectors = archive.report_vectors(FINGERPRINT)
    images = [image for case in archive.cases() for image in case.images]
    found: dict[str, Any] = {
        "cases": [dataclasses.asdict(case) for case in archive.cases()],
        "filtered": {name: [case.key for case in archive.cases(where)] for name, where in FILTERS.items()},
        "hits": {
            name: [
                [hit._asdict() for hit in hits]
                for hits in archive.search(vectors, 5, where=where, fingerprint=FINGERPRINT)
            ]
            for name, where in FILTERS.items()
        },
        "facets": archive.facets(),
        "pictures": [hashlib.sha256(archive.picture(image.id).tobytes()).hexdigest() for image in images],
        "vectors": archive.vectors_of([image.id for image in images], FINGERPRINT).tolist(),
        "report vectors": [ids.tolist(), report_vectors.tolist()],
        "reports": [dataclasses.asdict(report) for report in archive.reports()],
        "without vector": [report.case_key for report in archive.reports_without_vector(FINGERPRINT)],
        "encoders": [dataclasses.asdict(encoder) for encoder in archive.encoders()],
        "status": dataclasses.asdict(archive.status()),
        "examination": dataclasses.asdict(archive.examine()),
    }
    text = json.dumps(found, default=str).replace(f"{archive.path}/", "").replace(str(archive.path), ".")
    document: dict[str, Any] = json.loads(text)
    return document


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(FILES[0]) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "archive"


@pytest.mark.slow
@pytest.mark.parametrize("read_only", [False, True])
def test_an_archive_of_the_version_before_answers_the_same(folder: Path, read_only: bool) -> None:
    expected = json.loads(FILES[1].read_text(encoding="utf-8"))
    for path in [folder, *folder.rglob("*")]:  # as that version made them, whatever tar makes of it
        path.chmod(0o755 if path.is_dir() else 0o644)
    if not read_only:
        Archive.migrate(folder)
    with Archive.open(folder, read_only=read_only) as archive:
        found = answers(archive)
        assert archive.encoder_of("text") == archive.encoder_of("image") == archive.encoder
    # What this version adds: an encoder of the text role, which such an archive does not name, the scale of images,
    # which it does not know, kept counts, and whole slides.
    for document in (found["status"], found["examination"]):
        assert document.pop("schema_version") == (3 if read_only else 8)
    for document in (expected["status"], expected["examination"]):
        assert document.pop("schema_version") == 3
    if read_only:
        assert "coin migrate" in found["status"]["notes"][-1]
        found["status"]["notes"] = found["status"]["notes"][:-1]
    assert found["status"].pop("scales") == {"unknown": 8}
    assert set(found["status"].pop("derived")) == {"site", "system", "category"}
    image, text = found["status"].pop("roles").values()
    assert image == text
    assert image["encoder"] == expected["status"]["encoder"]
    assert (image["images_without_vector"], image["reports_without_vector"], image["indexed"]) == (0, 1, 8)
    for encoders in (found["encoders"], found["examination"]["encoders"]):
        assert [encoder.pop("roles") for encoder in encoders] == [["image", "text"], []]
    assert [case.pop("slides") for case in found["cases"]] == [[]] * len(found["cases"])
    for image in (image for case in found["cases"] for image in case["images"]):
        assert (image.pop("mpp"), image.pop("mpp_source"), image.pop("place")) == (None, "", None)
        assert image.pop("file_sha256") and not image.pop("note")  # not told by that version
    opened = found["examination"]["findings"].pop()  # that version let everybody read
    assert opened["harmless"]
    assert "other accounts" in opened["what"]
    for answer in (found, expected):
        assert answer["status"]["index"].pop("memory_bytes") >= 0  # depends on the machine and on FAISS
        for finding in answer["examination"]["findings"]:
            assert finding.pop("what")  # sentences for people, which may be reworded
            assert finding.pop("advice")
    assert found == expected


def test_an_archive_of_the_version_before_takes_a_second_encoder(folder: Path) -> None:
    Archive.migrate(folder)
    with Archive.open(folder) as archive:
        other = "b" * 64
        rows = np.eye(6, dtype=np.float32)
        ids = archive.images_without_vector(other).tolist()
        archive.add_vectors(ids, rows[: len(ids)], fingerprint=other)
        lacking = archive.reports_without_vector(other)
        texts = [report.text for report in lacking]
        archive.add_report_vectors([r.case_id for r in lacking], texts, rows[np.arange(7) % 6], fingerprint=other)
        archive.switch_encoder(other, role="text")
    with Archive.open(folder, read_only=True) as archive:
        assert [archive.encoder_of(role).fingerprint for role in ("image", "text")] == [FINGERPRINT, other]  # type: ignore[union-attr]
        (hits,) = archive.search(rows[:1], 1, fingerprint=other)
        assert hits[0].score == 1.0
        assert archive.examine().healthy


def test_an_archive_of_the_version_before_goes_on(folder: Path, tmp_path: Path) -> None:
    """It is written to, backed up and restored."""
    Archive.migrate(folder)
    with Archive.open(folder) as archive:
        archive.remove("case 2")
        backup = archive.back_up(tmp_path / "backup")
        assert (backup.cases, backup.files) == (6, 7)
        assert archive.examine().healthy
    Archive.restore(tmp_path / "backup", tmp_path / "restored")
    with Archive.open(tmp_path / "restored") as archive:
        assert [case.key for case in archive.cases()] == [f"case {i}" for i in (0, 1, 3, 4, 5, 6)]
        assert archive.examine().healthy
