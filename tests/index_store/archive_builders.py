"""Small pictures, manifests and archives for the tests of this package (also run by the processes they start)."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from sqlalchemy.orm import Session

from index_store import Archive, NewImage, Plan, Role, read_manifest
from index_store.catalog.layout import catalog_of

DIM = 16
FINGERPRINT = "encoder-a"
OTHER = "encoder-b"
"""A second encoder, to embed an archive anew with."""
DIMS = {FINGERPRINT: DIM, OTHER: 12}


@contextlib.contextmanager
def records(folder: Path, *, writing: bool = False) -> Iterator[Session]:
    """A session on the records of the archive in `folder`, behind its back: by a connection of its own."""
    catalog, _ = catalog_of(folder, read_only=not writing)
    try:
        with catalog.writing() if writing else catalog.reading() as session:
            yield session
    finally:
        catalog.close()


def picture(seed: int = 0, size: tuple[int, int] = (24, 20)) -> Image.Image:
    """A smooth coloured picture, another for every seed."""
    corners = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def unit(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def vector_of(sha256: str, fingerprint: str = FINGERPRINT) -> np.ndarray:
    """The test encoders: a unit vector that follows from the content."""
    seed = int(sha256[:15], 16) if fingerprint == FINGERPRINT else [int(sha256[:15], 16), 1]
    return unit(np.random.default_rng(seed).normal(size=DIMS[fingerprint]))


def vectors_for(items: Iterable[NewImage]) -> np.ndarray:
    return np.array([vector_of(item.sha256) for item in items], dtype=np.float32).reshape(-1, DIM)


def write_manifest(path: Path, rows: list[dict[str, str]]) -> Path:
    """A CSV manifest; every image it names is made where it is missing (by its position in the manifest)."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for seed, row in enumerate(rows):
        image = path.parent / row["image"]
        if not image.exists():
            image.parent.mkdir(parents=True, exist_ok=True)
            picture(seed).save(image)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def simple_rows(count: int, *, prefix: str = "") -> list[dict[str, str]]:
    """Cases of one image each, of three sites and two stains, two cases a patient."""
    return [
        {
            "image": f"{prefix}{i}.png",
            "case": f"case-{prefix}{i}",
            "patient": f"patient-{prefix}{i // 2}",
            "report": f"Report {prefix}{i}.",
            "site": ("cervix", "thyroid", "urine")[i % 3],
            "category": ("NILM", "HSIL")[i % 2],
            "stain": ("Papanicolaou", "Giemsa")[i % 2],
        }
        for i in range(count)
    ]


def vector_of_text(text: str, fingerprint: str = FINGERPRINT) -> np.ndarray:
    """The test encoders' text towers."""
    return vector_of(hashlib.sha256(text.encode()).hexdigest(), fingerprint)


def embed_reports(archive: Archive, *, batch: int = 8, fingerprint: str = FINGERPRINT) -> int:
    """Give every report its vector, in batches; returns how many were stored."""
    lacking = archive.reports_without_vector(fingerprint)
    stored = 0
    for start in range(0, len(lacking), batch):
        part = lacking[start : start + batch]
        texts = [report.text for report in part]
        vectors = np.array([vector_of_text(text, fingerprint) for text in texts])
        stored += archive.add_report_vectors([r.case_id for r in part], texts, vectors, fingerprint=fingerprint)
    return stored


def embed_images(archive: Archive, fingerprint: str, *, batch: int = 8) -> int:
    """Give every image its vector of this encoder, in batches; returns how many were stored."""
    stored = 0
    while (ids := archive.images_without_vector(fingerprint, limit=batch)).size:
        vectors = np.array([vector_of(archive.image(int(i)).sha256, fingerprint) for i in ids])
        stored += archive.add_vectors(ids.tolist(), vectors, fingerprint=fingerprint)
    return stored


def reembed(archive: Archive, fingerprint: str, *, batch: int = 8, role: Role | None = None) -> None:
    """What `retrieval` does with an archive and another encoder, with the test encoders."""
    archive.begin_encoder(fingerprint, name=f"test {fingerprint}", dim=DIMS[fingerprint])
    embed_images(archive, fingerprint, batch=batch)
    embed_reports(archive, batch=batch, fingerprint=fingerprint)
    archive.switch_encoder(fingerprint, role=role)


def add_manifest(archive: Archive, manifest: Path, *, batch: int = 8, in_place: bool = False) -> Plan:
    """What `retrieval` does with a manifest, with the test encoder."""
    archive.use_encoder(FINGERPRINT, name="test encoder", dim=DIM)
    with archive.writer():
        plan = archive.pending(read_manifest(manifest).rows)
        archive.update(plan.changed)
        for start in range(0, len(plan.new), batch):
            items = [planned.load() for planned in plan.new[start : start + batch]]
            archive.add(items, vectors_for(items), fingerprint=FINGERPRINT, in_place=in_place)
        embed_reports(archive, batch=batch)
    return plan


def everything(archive: Archive) -> dict[str, list[str]]:
    """Contents by case, as the records have them."""
    return {case.key: [image.sha256 for image in case.images] for case in archive.cases()}


def found_by_itself(archive: Archive) -> None:
    """Every image of the archive is the best answer to its own vector, and the index holds nothing else; by the text
    role's encoder, every image that it has embedded."""
    images = [image for case in archive.cases() for image in case.images]
    status = archive.status()
    assert status.indexed == status.images == len(images)
    assert status.index_sequence == status.log_sequence
    fingerprint = status.encoder.fingerprint if status.encoder else FINGERPRINT
    for image in images:
        (hits,) = archive.search(vector_of(image.sha256, fingerprint)[None], 1, fingerprint=fingerprint)
        assert archive.image(hits[0].image_id).sha256 == image.sha256
        assert image.path.is_file()
    text = status.roles.get("text")
    if text is None or text.encoder == status.encoder:
        return
    fingerprint = text.encoder.fingerprint
    lacking = set(archive.images_without_vector(fingerprint).tolist())
    assert text.images_without_vector == len(lacking) == len(images) - text.indexed
    for image in images:
        (hits,) = archive.search(vector_of(image.sha256, fingerprint)[None], 1, fingerprint=fingerprint)
        found = {archive.image(hit.image_id).sha256 for hit in hits}
        assert (image.sha256 in found) or image.id in lacking


def reports_embedded(archive: Archive, fingerprint: str = FINGERPRINT) -> dict[str, np.ndarray]:
    """The reports' vectors by case key; each is that of the report as it is, and no other report claims to have one."""
    reports = {report.case_id: report for report in archive.reports()}
    ids, vectors = archive.report_vectors(fingerprint)
    for case_id, vector in zip(ids.tolist(), vectors, strict=True):
        assert np.array_equal(vector, vector_of_text(reports[case_id].text, fingerprint))
    lacking = {report.case_id for report in archive.reports_without_vector(fingerprint)}
    assert lacking == {i for i, report in reports.items() if report.text.strip()} - set(ids.tolist())
    return {reports[i].case_key: vector for i, vector in zip(ids.tolist(), vectors, strict=True)}


def stored_files(folder: Path) -> set[str]:
    """The names of all files below the archive's images."""
    return {path.name for path in (folder / "images").rglob("*") if path.is_file()}
