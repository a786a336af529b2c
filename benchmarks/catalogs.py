"""An archive's records on SQLite and on PostgreSQL: space, time to read all vectors, and their share of a search.

    python -m benchmarks.catalogs [--images 100000] [--catalog postgresql://USER@HOST/DATABASE]

Rows are inserted in bulk, one image for each case and two cases for each patient, without files. With --catalog the
same is measured in that (empty) database too. `read all vectors` is the first step of rebuilding any index. The lines
below it are the records' part of one search: selecting the images that a filter permits (for FAISS), and confirming ten
hits.
"""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import insert, select, text

from benchmarks.machine import describe_machine
from index_store import Archive, CaseFilter
from index_store.catalog.case_reader import CaseReader
from index_store.catalog.catalog import advance_revision
from index_store.catalog.change_log import stored_vectors
from index_store.catalog.models import ADDED, CaseRow, ChangeRow, EmbeddingRow, ImageRow, PatientRow

DIM = 512
CHUNK = 10_000
REPEATS = 21
SITES = 10
REPORT = "(Ascites) smear shows clustered atypical cells with enlarged nuclei, consistent with adenocarcinoma. " * 2


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    figures: dict[str, object] = {"machine": describe_machine(), "images": options.images}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name, url in {"SQLite": "", "PostgreSQL": options.catalog}.items():
            if name == "SQLite" or url:
                figures[name] = measure(Path(folder) / name, url, options.images)
    print(json.dumps(figures, indent=2))
    return 0


def measure(folder: Path, url: str, count: int) -> dict[str, float]:
    """Figures of an archive of `count` images. Times in seconds or milliseconds, by their names."""
    with Archive.create(folder, catalog=url) as archive:
        archive.use_encoder("benchmark", name="benchmark", dim=DIM)
        started = time.perf_counter()
        with archive._catalog.writing() as session:
            for start in range(0, count, CHUNK):
                for table, rows in _rows(range(start + 1, min(start + CHUNK, count) + 1)):
                    session.execute(insert(table), list(rows))
            advance_revision(session)
        written = time.perf_counter() - started
        if url:  # a server does so by itself a minute later
            with archive._catalog.writing() as session:
                session.execute(text("ANALYZE"))
        with archive._catalog.reading() as session:
            reader = CaseReader(session, archive._images)
            ids = np.array(session.scalars(select(EmbeddingRow.image_id)).all(), dtype=np.int64)
            started = time.perf_counter()
            for start in range(0, count, CHUNK):
                stored_vectors(session, 1, ids[start : start + CHUNK], DIM)
            read = time.perf_counter() - started
            tenth, patient = CaseFilter(sites=("site-3",)), CaseFilter(exclude_patients=("patient-7",))
            hits = [int(i) for i in np.linspace(1, count, 10)]
            return {
                "bytes an image": round(_size(archive) / count),
                "write, s": round(written, 1),
                "read all vectors, s": round(read, 1),
                "select 10 %, ms": _median(lambda: reader.selection(tenth)),
                "select all but a patient, ms": _median(lambda: reader.selection(patient)),
                "confirm 10 hits, ms": _median(lambda: reader.confirmed(hits, tenth)),
            }


def _rows(ids: range) -> Iterable[tuple[type, Iterable[dict[str, object]]]]:
    vectors = np.random.default_rng(ids.start).normal(size=(len(ids), DIM)).astype("<f4")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    empty = dict.fromkeys(("file", "path", "slide", "kind", "stain", "preparation"), "")
    yield PatientRow, ({"id": (i + 1) // 2, "key": f"patient-{(i + 1) // 2}"} for i in ids if i % 2)
    yield (
        CaseRow,
        (
            {"id": i, "key": f"case-{i}", "patient_id": (i + 1) // 2, "report": REPORT, "site": f"site-{i % SITES}"}
            | {**dict.fromkeys(("system", "category", "source", "license"), ""), "phantom": False}
            for i in ids
        ),
    )
    yield (
        ImageRow,
        (
            {**empty, "id": i, "case_id": i, "sha256": f"{i:064x}", "file_sha256": f"{i:064x}", "width": 1024}
            | {"height": 1024, "attributes": {}}
            for i in ids
        ),
    )
    yield (
        EmbeddingRow,
        ({"encoder_id": 1, "image_id": i, "vector": v.tobytes()} for i, v in zip(ids, vectors, strict=True)),
    )
    yield (
        ChangeRow,
        ({"encoder_id": 1, "image_id": i, "operation": ADDED, "token": secrets.randbits(62)} for i in ids),
    )


def _size(archive: Archive) -> int:
    """Bytes on disk of all tables with their indexes."""
    with archive._catalog.reading() as session:
        if session.get_bind().dialect.name == "sqlite":
            pages, page = (session.scalar(text(f"PRAGMA {name}")) or 0 for name in ("page_count", "page_size"))
            return int(pages) * int(page)
        tables = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND "
        return int(session.scalar(text(f"{tables} relnamespace = current_schema()::regnamespace")) or 0)


def _median(call: Callable[[], object]) -> float:
    """Milliseconds, of several calls."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(times), 2)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--catalog", default="", help="an empty PostgreSQL database")
    parser.add_argument("--folder", type=Path, help="where the archives are made (default: the system's)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
