"""Archives whose index is not exact: they are searched, changed, damaged and repaired like any other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from index_store import Archive
from index_store.index import faiss_index
from index_store.index.candidate_index import EXACT, LISTS, SCAN
from tests.index_store.archive_builders import DIM, FINGERPRINT, add_manifest, found_by_itself, write_manifest
from tests.index_store.index.indexes import (
    SIZES,
)


@pytest.fixture(params=[SCAN, LISTS])
def compressed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Archives of every size are compressed."""
    monkeypatch.setattr(faiss_index, "IndexSizes", lambda: SIZES[request.param])
    return str(request.param)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with the archive of eighty cases whose index is of that mode, and its pictures: built once."""

    @cache
    def build(mode: str) -> Path:
        folder = tmp_path_factory.mktemp("built")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(faiss_index, "IndexSizes", lambda: SIZES[mode])
            filled_archive(folder).close()
        return folder

    return build


@pytest.fixture
def folder(built: Callable[[str], Path], compressed: str, tmp_path: Path) -> Path:
    """A copy of the archive, which shares its id."""
    shutil.copytree(built(compressed), tmp_path, dirs_exist_ok=True)
    return tmp_path / "archive"


def filled_archive(folder: Path, count: int = 80) -> Archive:
    (folder / "source").mkdir()
    rows = [
        {"image": f"{i}.png", "case": f"case-{i}", "patient": f"p-{i // 2}", "report": f"Report {i}.", "site": "cervix"}
        for i in range(count)
    ]
    archive = Archive.create(folder / "archive")
    add_manifest(archive, write_manifest(folder / "source" / "manifest.csv", rows), batch=50)
    return archive


@pytest.mark.slow
def test_a_compressed_archive_lives_like_any_other(compressed: str, folder: Path) -> None:
    with Archive.open(folder) as archive:
        assert archive.notes == ()
        status = archive.status().index
        assert status is not None
        assert (status.mode, set(status.recall)) == (compressed, {"images", "reports"})
        found_by_itself(archive)
        archive.remove("case-3")
        found_by_itself(archive)
    with Archive.open(folder) as archive:
        assert archive.notes == ()
        found_by_itself(archive)


@pytest.mark.parametrize("compressed", [SCAN], indirect=True)
def test_damage_that_a_search_meets_is_answered_by_rebuilding(compressed: str, folder: Path) -> None:
    (vectors,) = (folder / "index").glob("*.vectors")
    data = np.frombuffer(bytearray(vectors.read_bytes()), np.float32)
    data[::DIM] += 0.25
    vectors.write_bytes(data.tobytes())
    with Archive.open(folder) as archive:
        assert archive.notes == ()  # not read yet
        found_by_itself(archive)
        (note,) = archive.notes
        assert "its checksum did not match" in note
    with Archive.open(folder) as archive:
        query = np.eye(1, DIM, dtype=np.float32)
        assert len(archive.search(query, 5, fingerprint=FINGERPRINT)[0]) == 5
        assert archive.notes == ()


@pytest.mark.slow
@pytest.mark.parametrize("compressed", [SCAN], indirect=True)
def test_damage_that_a_saving_meets_is_answered_by_rebuilding(compressed: str, folder: Path, tmp_path: Path) -> None:
    (vectors,) = (folder / "index").glob("*.vectors")
    data = bytearray(vectors.read_bytes())
    data[3] ^= 64
    vectors.write_bytes(data)
    rows = [{"image": f"{i}.png", "case": f"case-{i}", "report": f"Report {i}."} for i in range(80, 110)]
    with Archive.open(folder) as archive:
        add_manifest(archive, write_manifest(tmp_path / "source" / "more.csv", rows))  # recall is measured anew
        (note,) = archive.notes
        assert "its checksum did not match" in note
        found_by_itself(archive)


def test_an_exact_archive_says_so(tmp_path: Path) -> None:
    with filled_archive(tmp_path, 6) as archive:
        status = archive.status().index
        assert status is not None
        assert (status.mode, status.recall) == (EXACT, {})
