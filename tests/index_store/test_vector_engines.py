"""The registry: an address names an engine, and an engine that is listed serves an archive like the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from index_store import IMAGE, Archive, CaseFilter, Hit, Role, StorageError, vector_engines
from index_store.catalog.case_reader import CaseReader
from index_store.catalog.change_log import log_head, stored_vectors
from index_store.catalog.encoders import active_encoder, encoder_of, require_encoder, serving_encoders
from index_store.catalog.models import EmbeddingRow, EncoderRow
from index_store.milvus.collection import ranked
from index_store.milvus.search import MILVUS
from index_store.search.local_search import FAISS
from index_store.search.protocols import ArchiveParts, SyncedIndex, VectorEngine
from index_store.vector_engines import engine_for
from index_store.vectors import Ids, LogPosition, Selection, VectorIndex, Vectors, checked_vectors
from tests.index_store.archive_builders import FINGERPRINT, add_manifest, embed_reports, simple_rows, write_manifest
from tests.index_store.filtered_search import FILTERS, QUERIES, expected


@pytest.mark.parametrize(
    ("address", "engine"),
    [
        ("", FAISS),
        ("http://milvus:19530", MILVUS),
        ("https://milvus.example:443", MILVUS),
        ("vectors.db", MILVUS),
        ("shared/vectors.db", MILVUS),
    ],
)
def test_an_address_names_an_engine(address: str, engine: VectorEngine) -> None:
    assert engine_for(address) is engine


@pytest.mark.parametrize(
    "address",
    ["milvus:19530", "http://", "hush-hush", "ftp://milvus/hush-hush", "tcp://x/hush-hush.db", "file://hush-hush.db"],
)
def test_an_address_of_no_engine_is_refused(address: str) -> None:
    with pytest.raises(StorageError, match=r"look like this: Milvus: http://HOST:19530 .*NAME\.db\.$") as refused:
        engine_for(address)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("address", ["http://root:hush-hush@milvus:19530", "root:hush-hush@milvus", "hush@x.db"])
def test_an_address_with_a_login_is_refused(address: str) -> None:
    with pytest.raises(StorageError, match=r"holds a login.*give it as COIN_MILVUS_TOKEN\.$") as refused:
        engine_for(address)
    assert "hush" not in str(refused.value)


# A further engine


class BruteForceIndex:
    """A `VectorIndex` and a `SyncedIndex` at once, over the stored vectors."""

    def __init__(self) -> None:
        self.ids, self.vectors = np.empty(0, np.int64), np.empty((0, 0), np.float32)
        self.position = LogPosition()

    @property
    def dim(self) -> int:
        return self.vectors.shape[1]

    @property
    def count(self) -> int:
        return len(self.ids)

    @property
    def index(self) -> VectorIndex:
        return self

    def add(self, ids: Ids, vectors: Vectors) -> None:
        raise AssertionError("it is rebuilt instead")

    def remove(self, ids: Ids) -> None:
        raise AssertionError("it is rebuilt instead")

    def search(self, queries: Vectors, k: int, *, selection: Selection | None = None) -> list[list[tuple[int, float]]]:
        allowed = np.ones(len(self.ids), np.bool_)
        if selection is not None:
            allowed = np.isin(self.ids, selection.ids) != selection.excluding
        return [ranked(query, self.ids[allowed], self.vectors[allowed], k) for query in queries]

    def rebuild(self, session: Session, reason: str) -> None:
        encoder = active_encoder(session)
        assert encoder is not None
        ids = session.scalars(select(EmbeddingRow.image_id).where(EmbeddingRow.encoder_id == encoder.id)).all()
        self.ids, self.vectors = stored_vectors(session, encoder.id, np.array(ids, np.int64), encoder.dim)
        self.position = log_head(session)

    def verify(self, session: Session) -> None:
        """It reads no file."""

    def status(self) -> None:
        return None


class BruteForceSearch:
    """A `VectorSearch` that reads all vectors whenever the log has grown."""

    def __init__(self, archive: ArchiveParts) -> None:
        self.notes: list[str] = []
        self._archive = archive
        self._index = BruteForceIndex()

    @contextmanager
    def synced(self, role: Role = IMAGE) -> Iterator[tuple[Session, EncoderRow, SyncedIndex] | None]:
        with self._archive.catalog.reading() as session:
            encoder = encoder_of(session, role)
            if encoder is not None and self._index.position != log_head(session):
                self._index.rebuild(session, "")
            yield (session, encoder, self._index) if encoder else None

    def search(self, vectors: object, k: int, *, where: CaseFilter | None, fingerprint: str) -> list[list[Hit]]:
        with self.synced() as current:
            assert current is not None
            session, encoder, index = current
            require_encoder(encoder, fingerprint=fingerprint)
            reader = CaseReader(session, self._archive.images)
            ids = np.array(sorted(reader.confirmed(self._index.ids.tolist(), where)), np.int64)
            if where is not None and where.excludes:
                ids = np.setdiff1d(ids, reader.excluded(where))
            queries = checked_vectors(vectors, dim=encoder.dim)
            return [
                [Hit(*hit) for hit in ranking] for ranking in index.index.search(queries, k, selection=Selection(ids))
            ]

    def sync(self) -> dict[Role, SyncedIndex]:
        with self.synced() as current:
            return dict.fromkeys(serving_encoders(current[0]), current[2]) if current else {}

    def save(self) -> None: ...

    def prepare(self, encoder: EncoderRow) -> None: ...

    def discard(self, encoder: EncoderRow) -> None: ...

    def close(self) -> None:
        self._index = BruteForceIndex()


@pytest.mark.slow
def test_a_further_engine_is_a_module_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = VectorEngine(
        name="Brute force",
        accepts=lambda address: address == "brute:",
        open=lambda archive, _: BruteForceSearch(archive),
        address_form="brute:",
    )
    with pytest.raises(StorageError):
        Archive.create(tmp_path / "archive", vectors="brute:")
    assert not (tmp_path / "archive").exists()
    monkeypatch.setattr(vector_engines, "ENGINES", (*vector_engines.ENGINES, engine))
    with Archive.create(tmp_path / "archive", vectors="brute:") as archive:
        add_manifest(archive, write_manifest(tmp_path / "manifest.csv", simple_rows(12)))
        embed_reports(archive)
    with Archive.open(tmp_path / "archive") as archive:
        for name, (where, permits) in FILTERS.items():
            found = archive.search(QUERIES, 5, where=where, fingerprint=FINGERPRINT)
            assert found == [expected(archive, query, 5, permits) for query in QUERIES], name
        status = archive.status()
        assert (status.index, status.indexed, status.index_sequence) == (None, 12, status.log_sequence)
        assert archive.examine(repair=True).healthy
        assert not (tmp_path / "archive" / "index").exists()
    monkeypatch.undo()
    with pytest.raises(StorageError, match="No vector engine has such an address"):
        Archive.open(tmp_path / "archive")
