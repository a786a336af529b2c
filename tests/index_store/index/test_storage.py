"""The saved index: what is written is read again, and what does not agree is not used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from index_store.atomic_write import write_durably
from index_store.index import vector_file
from index_store.index.candidate_index import EXACT, LISTS, SCAN
from index_store.index.faiss_index import FaissIndex
from index_store.index.row_table import row_checksums
from index_store.index.storage import IndexFile, IndexFileProblem
from index_store.index.vector_file import DamagedRowsError, VectorRows
from index_store.vectors import LogPosition, Selection
from tests.index_store.index.indexes import (
    COUNT,
    IDENTITY,
    IDS,
    MODES,
    MORE_IDS,
    MORE_VECTORS,
    QUERIES,
    SIZES,
    VECTORS,
    WIDTH,
    an_index,
    brute_force,
    clustered,
)


@MODES
def test_survives_its_files(mode: str, tmp_path: Path) -> None:
    index = an_index(mode, tmp_path)
    index.remove(IDS[:7])
    expected = index.search(QUERIES, 12)
    IndexFile(tmp_path, IDENTITY).write(index, LogPosition(3, 4))
    assert index.search(QUERIES, 12) == expected  # its vectors are read from the file now
    again, position = IndexFile(tmp_path, IDENTITY, sizes=SIZES[mode]).read()
    assert (position, again.mode, again.count) == (LogPosition(3, 4), mode, COUNT - 7)
    assert again.searcher.tuning == index.searcher.tuning
    assert again.search(QUERIES, 12) == expected
    again.check()
    kilobyte = 1024 * WIDTH / 512  # what is a kilobyte at 512 dimensions; ids and marks weigh more at fewer
    assert again.memory_bytes() / COUNT - 18 <= {EXACT: 1.0, SCAN: 0.35, LISTS: 0.85}[mode] * kilobyte + 8


@MODES
def test_saving_again_adds_to_the_file(mode: str, tmp_path: Path) -> None:
    file = IndexFile(tmp_path, IDENTITY)
    index = an_index(mode)
    file.write(index, LogPosition(1, 1))
    (vectors,) = tmp_path.glob("*.vectors")
    before = vectors.read_bytes()
    index.add(MORE_IDS, MORE_VECTORS)
    index.remove(IDS[10:12])
    expected = index.search(QUERIES, 10)
    file.write(index, LogPosition(2, 2))
    assert list(tmp_path.glob("*.vectors")) == [vectors]
    after = np.frombuffer(vectors.read_bytes(), np.float32).reshape(-1, WIDTH)
    assert np.array_equal(after[:10], np.frombuffer(before, np.float32).reshape(-1, WIDTH)[:10])
    assert not after[10:12].any()  # what was removed is not kept
    again, _ = IndexFile(tmp_path, IDENTITY, sizes=SIZES[mode]).read()
    assert again.search(QUERIES, 10) == expected


def test_a_second_writer_never_changes_what_a_reader_has_mapped(tmp_path: Path) -> None:
    """Both have read the same file. One appends and saves; the other, who followed the log, must not append there."""
    first = IndexFile(tmp_path, IDENTITY)
    first.write(FaissIndex.filled(WIDTH, [(IDS[:1000], VECTORS[:1000])]), LogPosition(1, 1))
    second = IndexFile(tmp_path, IDENTITY)
    mine, _ = first.read()
    theirs, _ = second.read()
    mine.add(IDS[1000:1500], VECTORS[1000:1500])
    first.write(mine, LogPosition(2, 2))
    reader, _ = IndexFile(tmp_path, IDENTITY).read()
    theirs.add(IDS[1000:1500][::-1].copy(), VECTORS[1000:1500][::-1].copy())
    theirs.add(IDS[1500:1501], VECTORS[1500:1501])
    second.write(theirs, LogPosition(3, 3))
    reader.check()
    last, position = IndexFile(tmp_path, IDENTITY).read()
    assert (position.sequence, last.count) == (3, 1501)
    assert len(list(tmp_path.glob("*.vectors"))) == 1


def test_a_writer_that_wipes_while_the_index_is_read_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card was read, then another saves: removed rows are wiped in the file that the card names."""
    index, writer = an_index(EXACT), IndexFile(tmp_path, IDENTITY)
    writer.write(index, LogPosition(1, 1))
    as_ever, saved = VectorRows.stored, []

    def meanwhile(*arguments: object) -> VectorRows:
        if not saved:
            saved.append(index.remove(IDS[:50]))
            writer.write(index, LogPosition(2, 2))
        return as_ever(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(VectorRows, "stored", meanwhile)
    again, position = IndexFile(tmp_path, IDENTITY).read()
    assert (position.sequence, again.count) == (2, COUNT - 50)
    assert len(saved) == 1


@pytest.mark.parametrize("changes", [True, False])
def test_what_a_killed_writer_did_not_zero_is_zeroed_by_the_next(
    changes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after it saved that rows are removed, and before it overwrote them."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    file, index = IndexFile(tmp_path, IDENTITY), an_index(EXACT)
    file.write(index, LogPosition(1, 1))
    index.remove(IDS[10:13])
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(VectorRows, "zero_removed", killed)
        file.write(index, LogPosition(2, 2))
    (vectors,) = tmp_path.glob("*.vectors")
    (halves,) = tmp_path.glob("*.half")
    assert np.fromfile(vectors, np.float32).reshape(-1, WIDTH)[10:13].any()
    writer = IndexFile(tmp_path, IDENTITY)
    again, _ = writer.read()
    if changes:
        again.add(MORE_IDS[:1], MORE_VECTORS[:1])
        writer.write(again, LogPosition(3, 3))
    else:
        writer.wipe(again)
    for path, kind in ((vectors, np.float32), (halves, np.float16)):
        stored = np.fromfile(path, kind).reshape(-1, WIDTH)
        assert not stored[10:13].any()
        assert stored[[9, 13]].any(axis=1).all()
    IndexFile(tmp_path, IDENTITY).read()


def test_what_a_killed_writer_appended_does_not_count(tmp_path: Path) -> None:
    file = IndexFile(tmp_path, IDENTITY)
    index = FaissIndex.filled(WIDTH, [(IDS[:1000], VECTORS[:1000])])
    file.write(index, LogPosition(1, 1))
    (vectors,) = tmp_path.glob("*.vectors")
    with vectors.open("ab") as end:
        end.write(b"half a row")
    again, _ = file.read()
    assert again.count == 1000
    again.add(IDS[1000:1100], VECTORS[1000:1100])
    file.write(again, LogPosition(2, 2))
    last, _ = IndexFile(tmp_path, IDENTITY).read()
    last.check()
    assert last.search(VECTORS[1050:1051], 1)[0][0][0] == IDS[1050]


def test_a_damaged_vector_never_answers(tmp_path: Path) -> None:
    IndexFile(tmp_path, IDENTITY).write(an_index(SCAN), LogPosition(1, 1))
    (vectors,) = tmp_path.glob("*.vectors")
    data = bytearray(vectors.read_bytes())
    data[100 * 4 * WIDTH + 7] ^= 1
    vectors.write_bytes(data)
    index, _ = IndexFile(tmp_path, IDENTITY, sizes=SIZES[SCAN]).read()  # opens without reading all of them
    with pytest.raises(DamagedRowsError):
        index.search(VECTORS[100:101], 1)
    with pytest.raises(DamagedRowsError):
        index.search(VECTORS[:1], 1, selection=Selection(IDS[95:105]))
    with pytest.raises(DamagedRowsError):
        index.check()


def test_damaged_codes_are_not_believed(tmp_path: Path) -> None:
    IndexFile(tmp_path, IDENTITY).write(an_index(SCAN), LogPosition(1, 1))
    (codes,) = tmp_path.glob("*.faiss")
    data = bytearray(codes.read_bytes())
    data[-9] ^= 1
    codes.write_bytes(data)
    with pytest.raises(IndexFileProblem, match="checksum"):
        IndexFile(tmp_path, IDENTITY).read()


@pytest.mark.parametrize("dim", [16, 33])
def test_one_bit_always_changes_a_checksum(dim: int) -> None:
    vectors = clustered(1, 3, dim)
    ids = np.array([12], np.int64)
    (whole,) = row_checksums(ids, vectors)
    for bit in range(32 * dim):
        changed = np.frombuffer(vectors.tobytes(), np.uint8).copy()
        changed[bit // 8] ^= 1 << bit % 8
        assert row_checksums(ids, changed.view(np.float32)[None])[0] != whole
    assert row_checksums(ids + 1, vectors)[0] != whole


def test_many_vectors_wait_in_a_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_file, "IN_MEMORY", 400)
    index = FaissIndex(WIDTH, spill=tmp_path)
    for start in range(0, COUNT, 300):
        index.add(IDS[start : start + 300], VECTORS[start : start + 300])
    rows = index.searcher.rows
    assert rows.memory_bytes() < 4 * WIDTH * 800 + 18 * COUNT
    assert list(tmp_path.iterdir()) == []  # it has no name: nothing is left of it, whatever happens
    assert index.search(QUERIES, 10) == [brute_force(query, 10) for query in QUERIES]
    assert index.search(QUERIES[:1], 10, selection=Selection(IDS[::2])) == [
        brute_force(QUERIES[0], 10, np.arange(COUNT) % 2 == 0)
    ]
    write_durably(tmp_path / "all", rows.write)
    assert (tmp_path / "all").read_bytes() == VECTORS.tobytes()


def test_without_a_place_for_it_they_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_file, "IN_MEMORY", 400)
    (tmp_path / "file").write_text("in the way")
    rows = VectorRows(WIDTH, spill=tmp_path / "file")
    rows.append(IDS, VECTORS)
    assert np.array_equal(rows.vectors(np.arange(COUNT)), VECTORS)


def test_a_wiped_row_is_not_taken_for_a_vector(tmp_path: Path) -> None:
    """A reader that has not followed a removal yet must not rank the zeros that are left."""
    file = IndexFile(tmp_path, IDENTITY)
    file.write(an_index(EXACT), LogPosition(1, 1))
    reader, _ = IndexFile(tmp_path, IDENTITY).read()
    writer, _ = file.read()
    writer.remove(IDS[100:101])
    file.write(writer, LogPosition(2, 2))
    with pytest.raises(DamagedRowsError):
        reader.search(VECTORS[100:101], 1, selection=Selection(IDS[95:105]))
    with pytest.raises(DamagedRowsError):
        reader.search(VECTORS[:20], 3)  # a batch, which reads all
