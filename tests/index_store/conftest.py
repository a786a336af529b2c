"""Archives to test with."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from index_store import Archive
from tests.index_store.archive_builders import add_manifest, simple_rows, write_manifest
from tests.milvus_server import milvus_server
from tests.postgres_server import PostgresServer


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file that milvus-lite serves within this process, for as long as the tests run. Archives do not meet in it."""
    return str(tmp_path_factory.mktemp("milvus") / "vectors.db")


@pytest.fixture(scope="session")
def milvus_on_a_port() -> Iterator[str]:
    """The address of milvus-lite in a process of its own, for readers and writers in several."""
    with milvus_server() as uri:
        yield uri


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def catalog(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a new archive keeps its records, as `Archive.create` takes it. What uses it runs over every
    database; on PostgreSQL in `make test-slow` (`test_postgres.py` is what `make test` tries of it)."""
    if request.param == "sqlite":
        yield ""
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.schema() as url:
        yield url


def mixed_rows() -> list[dict[str, str]]:
    """Forty cases with every combination of values, some of them phantoms, some of two images."""
    rows = simple_rows(40)
    for i, row in enumerate(rows):
        row |= {
            "system": ("Bethesda", "")[i % 2],
            "preparation": ("smear", "cytospin", "")[i % 3],
            "kind": ("field", "cell")[i // 7 % 2],
            "source": f"source-{i // 10}",
            "phantom": ("true", "false", "")[i % 3],
        }
    return rows + [{**rows[i], "image": f"extra-{i}.png", "stain": "Diff-Quik"} for i in range(0, 40, 5)]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tests copy instead of building it: the archives `empty`, `filled` and `mixed`, and the folder `source` of
    the manifest that `filled` was filled from. A copy of an archive's folder is that archive: they share its id."""
    folder = tmp_path_factory.mktemp("prepared")
    with Archive.create(folder / "empty", name="archive"):
        pass
    for name, rows in {"filled": simple_rows(12), "mixed": mixed_rows()}.items():
        shutil.copytree(folder / "empty", folder / name)
        source = folder / ("source" if name == "filled" else "source of mixed")
        source.mkdir()
        with Archive.open(folder / name) as archive:
            add_manifest(archive, write_manifest(source / "manifest.csv", rows))
    return folder


@pytest.fixture
def archive(request: pytest.FixtureRequest, tmp_path: Path, catalog: str, prepared: Path) -> Iterator[Archive]:
    """An empty archive, or that of the fixture `filled` or `mixed` where the test uses it."""
    if catalog:
        with Archive.create(tmp_path / "archive", catalog=catalog) as archive:
            yield archive
        return
    contents = [name for name in ("filled", "mixed") if name in request.fixturenames] or ["empty"]
    shutil.copytree(prepared / contents[0], tmp_path / "archive")
    with Archive.open(tmp_path / "archive") as archive:
        yield archive


@pytest.fixture
def manifest(tmp_path: Path, prepared: Path) -> Path:
    """Twelve cases of one image each."""
    shutil.copytree(prepared / "source", tmp_path / "source")
    return tmp_path / "source" / "manifest.csv"


@pytest.fixture
def filled(archive: Archive, manifest: Path) -> Archive:
    """The twelve cases, added."""
    if not archive.cases(limit=1):  # not a copy
        add_manifest(archive, manifest)
    return archive


@pytest.fixture
def mixed(archive: Archive, tmp_path: Path) -> Archive:
    """The cases of `mixed_rows`, added."""
    if not archive.cases(limit=1):  # not a copy
        add_manifest(archive, write_manifest(tmp_path / "manifest.csv", mixed_rows()))
    return archive


@pytest.fixture
def quick_folder() -> Iterator[Path]:
    """A folder in memory where there is such a thing: for tests that wait for the disk hundreds of times, and look at
    what a killed process leaves, which is the same on any file system."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no `mount` here to make a small disk with")
    if done.returncode:
        pytest.skip(f"mounting a small disk is refused here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)
