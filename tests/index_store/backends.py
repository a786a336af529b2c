"""Where an archive may keep its records and its vectors: what the tests run over that must hold for all of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pytest

from index_store import Archive
from index_store.catalog.descriptor import DESCRIPTOR_FILE, ArchiveDescriptor
from index_store.milvus.connection import MilvusServer
from index_store.milvus.sync_position import SyncPositions
from tests.postgres_server import PostgresServer

in_a_file = pytest.mark.parametrize("catalog", ["sqlite"], indirect=True)
"""For tests that look into the file of a catalog, or copy it."""
in_a_file_first = pytest.mark.parametrize(
    "catalog", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
"""For tests of what lies in files, or of rules that know no database: `make test-slow` tries PostgreSQL, too."""


class Opener(Protocol):
    def __call__(self, folder: Path, *, read_only: bool = False, keep_derived: bool | None = None) -> Archive: ...


@dataclass(frozen=True)
class Backend:
    """One way to keep an archive. A new one is added to `BACKENDS`, and is tested as the others are."""

    name: str
    create: Callable[[Path], Archive]
    """A new archive in the folder; whatever else it needs (a schema on a server, a collection) is made here."""
    open: Opener
    """That archive again, as another process would open it."""
    lose_index: Callable[[Path], object]
    """Take away what is derived, while the archive is closed."""
    forget: Callable[[Path], object]
    """Take away all of it, while it is closed."""
    has_backup: bool = True
    """Whether `Archive.back_up` copies this kind."""


SQLITE_FAISS = Backend(
    name="sqlite-faiss",
    create=Archive.create,
    open=Archive.open,
    lose_index=lambda folder: shutil.rmtree(folder / "index", ignore_errors=True),
    forget=shutil.rmtree,
)


def postgres_faiss(request: pytest.FixtureRequest) -> Backend:
    """The records in a schema of their own on a PostgreSQL server."""
    server: PostgresServer = request.getfixturevalue("postgres")
    schemas: dict[Path, ExitStack] = {}

    def create(folder: Path) -> Archive:
        schemas[folder] = ExitStack()
        return Archive.create(folder, catalog=schemas[folder].enter_context(server.schema()))

    def forget(folder: Path) -> None:
        shutil.rmtree(folder)
        schemas.pop(folder).close()

    return replace(SQLITE_FAISS, name="postgres-faiss", create=create, forget=forget, has_backup=False)


def sqlite_milvus(request: pytest.FixtureRequest) -> Backend:
    """The vectors in Milvus. A backup has none, so what is restored is searched by FAISS."""
    uri: str = request.getfixturevalue("milvus_on_a_port")

    def lose_index(folder: Path) -> None:
        """The collections, and with them their sync positions."""
        descriptor = ArchiveDescriptor.read(folder / DESCRIPTOR_FILE)
        if descriptor is None:  # restored
            SQLITE_FAISS.lose_index(folder)
            return
        server = MilvusServer(uri, folder)
        for name in server.client.list_collections():
            if name.startswith(SyncPositions(server, descriptor.archive).prefix):
                server.client.drop_collection(name)
        server.close()

    def forget(folder: Path) -> None:
        lose_index(folder)
        shutil.rmtree(folder)

    return replace(
        SQLITE_FAISS,
        name="sqlite-milvus",
        create=lambda folder: Archive.create(folder, vectors=uri),
        lose_index=lose_index,
        forget=forget,
    )


BACKENDS: dict[str, Callable[[pytest.FixtureRequest], Backend]] = {
    "sqlite-faiss": lambda _request: SQLITE_FAISS,
    "postgres-faiss": postgres_faiss,
    "sqlite-milvus": sqlite_milvus,
}
"""Each is made when a test asks for it, and only then is a server started."""
