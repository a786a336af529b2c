"""The candidate index of half precision in its file: what is saved is scanned where it lies, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index_store.index import faiss_bindings
from index_store.index.candidate_index import EXACT
from index_store.index.faiss_bindings import half_codes, half_index, half_view, is_viewable
from index_store.index.half_precision import HalfPrecision
from index_store.index.row_table import row_checksums
from index_store.index.storage import IndexFile, IndexFileProblem
from index_store.vectors import LogPosition
from tests.index_store.index.indexes import COUNT, IDENTITY, IDS, MORE_IDS, MORE_VECTORS, QUERIES, VECTORS, an_index


def halves(folder: Path) -> np.ndarray:
    (file,) = folder.glob("*.half")
    return np.fromfile(file, np.float16).reshape(-1, IDENTITY.dim)


def saved(folder: Path) -> IndexFile:
    file = IndexFile(folder, IDENTITY)
    file.write(an_index(EXACT), LogPosition(1, 1))
    return file


def test_a_view_scans_rows_where_they_are() -> None:
    owner = half_index(IDENTITY.dim)
    owner.add(VECTORS)
    rows = half_codes(owner).copy()
    view = half_view(rows)
    for expected, found in zip(owner.search(QUERIES, 20), view.search(QUERIES, 20), strict=True):
        assert np.array_equal(expected, found)
    rows[:] = 0
    if is_viewable(owner.codes):
        assert not view.search(QUERIES[:1], 20)[0].any(), "it has no copy"


def test_a_faiss_that_cannot_view_rows_copies_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 1.11 an index without a copy had no codes at all, and read whatever lay there."""
    monkeypatch.setattr(faiss_bindings, "is_viewable", lambda codes: False)
    saved(tmp_path)
    index, _ = IndexFile(tmp_path, IDENTITY).read()
    assert isinstance(index.searcher.candidates, HalfPrecision)
    assert index.searcher.candidates.in_file == COUNT
    assert index.search(QUERIES, 12) == an_index(EXACT).search(QUERIES, 12)


def test_what_was_saved_is_mapped_and_what_was_added_lies_behind_it(tmp_path: Path) -> None:
    file = saved(tmp_path)
    index, _ = file.read()
    candidates = index.searcher.candidates
    assert isinstance(candidates, HalfPrecision)
    assert (candidates.in_file, candidates.memory_bytes()) == (COUNT, 0)
    index.add(MORE_IDS, MORE_VECTORS)
    assert (candidates.in_file, candidates.memory_bytes()) == (COUNT, 2 * MORE_VECTORS.size)
    whole = an_index(EXACT)
    whole.add(MORE_IDS, MORE_VECTORS)
    queries = np.concatenate([QUERIES[:5], MORE_VECTORS[:5]])
    for fetch in (3, 40, COUNT + len(MORE_IDS)):
        (scores, rows), (expected, in_one) = (
            each.searcher.candidates.search(queries, fetch) for each in (index, whole)
        )
        assert np.array_equal(scores, expected)
        assert (rows == in_one).mean() > 0.99, "but for equal scores"
    assert index.search(queries, 12) == whole.search(queries, 12)
    before = halves(tmp_path)
    file.write(index, LogPosition(2, 2))
    assert np.array_equal(halves(tmp_path)[:COUNT], before), "added at the end"
    assert candidates.memory_bytes() == 0
    again, _ = IndexFile(tmp_path, IDENTITY).read()
    assert again.search(queries, 12) == whole.search(queries, 12)


def test_what_was_removed_is_not_in_the_file(tmp_path: Path) -> None:
    file = saved(tmp_path)
    index, _ = file.read()
    index.add(MORE_IDS, MORE_VECTORS)
    index.remove(np.append(IDS[5:9], MORE_IDS[:3]))
    file.write(index, LogPosition(2, 2))
    stored = halves(tmp_path)
    assert not stored[5:9].any()
    assert not stored[COUNT : COUNT + 3].any()
    assert stored.any(axis=1).sum() == COUNT + len(MORE_IDS) - 7
    again, _ = IndexFile(tmp_path, IDENTITY).read()  # its checksum is that of the others
    assert again.search(VECTORS[5:9], 3) == index.search(VECTORS[5:9], 3)


def test_a_damaged_row_is_not_believed(tmp_path: Path) -> None:
    saved(tmp_path)
    (file,) = tmp_path.glob("*.half")
    data = file.read_bytes()
    row = 2 * IDENTITY.dim
    flipped = bytearray(data)
    flipped[100 * row + 7] ^= 1
    exchanged = data[row : 2 * row] + data[:row] + data[2 * row :]
    for wrong in (bytes(flipped), exchanged, data[:-1]):
        file.write_bytes(wrong)
        with pytest.raises(IndexFileProblem, match="checksum"):
            IndexFile(tmp_path, IDENTITY).read()
    file.write_bytes(data)
    IndexFile(tmp_path, IDENTITY).read()


@pytest.mark.parametrize("dim", [15, 16, 18])
def test_one_bit_of_a_half_changes_a_checksum(dim: int) -> None:
    rows = np.random.default_rng(0).normal(size=(1, dim)).astype(np.float16)
    (whole,) = row_checksums(np.array([3], np.int64), rows)
    for bit in range(16 * dim):
        changed = np.frombuffer(rows.tobytes(), np.uint8).copy()
        changed[bit // 8] ^= 1 << bit % 8
        assert row_checksums(np.array([3], np.int64), changed.view(np.float16)[None])[0] != whole
