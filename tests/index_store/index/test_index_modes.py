"""Every mode of the index against a brute force over the same vectors, in memory and by way of its files."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store import Archive
from index_store.atomic_write import write_durably
from index_store.index import faiss_index, searcher, vector_file
from index_store.index.candidate_index import EXACT, LISTS, SCAN, HalfPrecision, InvertedLists
from index_store.index.faiss_bindings import load_faiss
from index_store.index.faiss_index import FaissIndex
from index_store.index.gpu_flat import FlatOnDevice
from index_store.index.recall_tuning import DEPTHS, RECALL, IndexSizes, Setting, Tuning
from index_store.index.row_table import row_checksums
from index_store.index.searcher import Searcher
from index_store.index.storage import IndexFile, IndexFileProblem
from index_store.index.vector_file import DamagedRowsError, VectorRows
from index_store.vectors import IndexIdentity, LogPosition, Selection
from tests.index_store.archive_builders import DIM, FINGERPRINT, add_manifest, found_by_itself, unit, write_manifest

SIZES = {EXACT: IndexSizes(), SCAN: IndexSizes(0, 10**9), LISTS: IndexSizes(0, 0)}
MODES = pytest.mark.parametrize("mode", SIZES)
COUNT, WIDTH = 3000, 32
IDENTITY = IndexIdentity("archive", "encoder", WIDTH)


def clustered(count: int, seed: int, dim: int = WIDTH) -> np.ndarray:
    """Unit vectors about 40 centres, which are the same for every seed."""
    centres = np.random.default_rng(99).normal(size=(40, dim))
    rng = np.random.default_rng(seed)
    return unit(centres[rng.integers(0, 40, count)] + 0.7 * rng.normal(size=(count, dim)))


VECTORS = clustered(COUNT, 0)
IDS = np.sort(np.random.default_rng(5).choice(9 * COUNT, COUNT, replace=False)).astype(np.int64) + 1
QUERIES = clustered(40, 1)


def an_index(mode: str, spill: Path | None = None) -> FaissIndex:
    chunks = ((IDS[i : i + 500], VECTORS[i : i + 500]) for i in range(0, COUNT, 500))
    index = FaissIndex.filled(WIDTH, chunks, sizes=SIZES[mode], spill=spill, reports=lambda: clustered(30, 2))
    assert index.mode == mode
    return index


@pytest.fixture(scope="module")
def indexes() -> dict[str, FaissIndex]:
    return {mode: an_index(mode) for mode in SIZES}


def brute_force(query: np.ndarray, k: int, allowed: np.ndarray | None = None) -> list[tuple[int, float]]:
    chosen = np.arange(COUNT) if allowed is None else np.flatnonzero(allowed)
    scores = (VECTORS[chosen].astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return [(int(IDS[chosen[i]]), float(scores[i])) for i in np.lexsort((IDS[chosen], -scores))[:k]]


def recall(index: FaissIndex, k: int = 10) -> float:
    found = index.search(QUERIES, k)
    truth = [{i for i, _ in brute_force(query, k)} for query in QUERIES]
    return float(np.mean([len(t & {i for i, _ in f}) / k for t, f in zip(truth, found, strict=True)]))


@MODES
@settings(max_examples=25)
@given(share=st.sampled_from([0.001, 0.01, 0.1, 0.45, 0.7, 1.0]), seed=st.integers(0, 10**6), k=st.integers(1, 40))
def test_a_filter_by_value_is_exact_in_every_mode(
    indexes: dict[str, FaissIndex], mode: str, share: float, seed: int, k: int
) -> None:
    allowed = np.random.default_rng(seed).random(COUNT) < share
    named = np.concatenate([IDS[allowed], [0, 10 * COUNT]])  # and some that are not there
    queries = QUERIES[: 1 + seed % 7]
    found = indexes[mode].search(queries, k, selection=Selection(named))
    assert found == [brute_force(query, k, allowed) for query in queries]


@MODES
@settings(max_examples=15)
@given(left_out=st.sampled_from([1, 5, 60, 800, 1500]), seed=st.integers(0, 10**6))
def test_what_is_left_out_is_never_found_and_costs_no_answer(
    indexes: dict[str, FaissIndex], mode: str, left_out: int, seed: int
) -> None:
    query = QUERIES[seed % len(QUERIES)]
    out = [i for i, _ in brute_force(query, COUNT)[:left_out]]  # the worst case: the very best are left out
    (found,) = indexes[mode].search(query[None], 10, selection=Selection(np.array(out), excluding=True))
    assert len(found) == 10
    assert not {i for i, _ in found} & set(out)
    expected = brute_force(query, 10, ~np.isin(IDS, out))
    if mode == EXACT or left_out > 990:
        assert found == expected
    else:
        assert len({i for i, _ in found} & {i for i, _ in expected}) >= 8


@MODES
def test_unfiltered_recall_is_what_is_stated(indexes: dict[str, FaissIndex], mode: str) -> None:
    index = indexes[mode]
    if mode == EXACT:
        assert index.search(QUERIES, 10) == [brute_force(query, 10) for query in QUERIES]
        assert index.searcher.tuning is None
    else:
        assert index.searcher.tuning is not None
        assert set(index.searcher.tuning.recall) == {"images", "reports"}
        assert min(index.searcher.tuning.recall.values()) >= RECALL
        assert all(recall(index, k) >= RECALL for k in (10, 20, 50, 100))
        # Scores are those of the vectors, whatever found them.
        truth = dict(brute_force(QUERIES[0], COUNT))
        assert all(score == truth[i] for i, score in index.search(QUERIES[:1], 10)[0])


@MODES
def test_a_query_ranks_the_same_alone_and_in_a_batch(indexes: dict[str, FaissIndex], mode: str) -> None:
    together = indexes[mode].search(QUERIES, 10)
    assert together == [indexes[mode].search(query[None], 10)[0] for query in QUERIES]


@MODES
def test_more_than_there_are_brings_all(indexes: dict[str, FaissIndex], mode: str) -> None:
    assert indexes[mode].search(QUERIES[:2], COUNT + 5) == [brute_force(query, COUNT) for query in QUERIES[:2]]


@MODES
def test_removed_and_added_again(mode: str) -> None:
    index = an_index(mode)
    gone = IDS[::3]
    index.remove(np.append(gone, 10**6))
    assert index.count == COUNT - len(gone)
    for query in VECTORS[:30:3]:
        found = {i for i, _ in index.search(query[None], 10)[0]}
        assert len(found) == 10
        assert not found & set(gone.tolist())
    index.add(gone, VECTORS[::3])
    assert index.count == COUNT
    for row in range(0, 90, 3):
        assert index.search(VECTORS[row : row + 1], 1)[0][0][0] == IDS[row]
    assert recall(index) >= RECALL


def test_half_precision_never_decides() -> None:
    """Vectors that half precision cannot tell apart: the order is still that of float32."""
    rng = np.random.default_rng(0)
    vectors = unit(unit(rng.normal(size=(1, 64))) + 1e-5 * rng.normal(size=(9000, 64)))
    index = FaissIndex(64)
    index.add(np.arange(9000, dtype=np.int64), vectors)
    query = unit(vectors[:1] + 1e-3 * rng.normal(size=(1, 64)))
    scores = (vectors.astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    expected = np.lexsort((np.arange(9000), -scores))[:10].tolist()
    assert [i for i, _ in index.search(query, 10)[0]] == expected
    halves = (vectors.astype(np.float16).astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    assert np.argsort(-halves)[:10].tolist() != expected  # or this test would show nothing


def test_a_flat_index_on_a_device_answers_like_the_one_without() -> None:
    """The class that drives a GPU, over an index of the CPU: the contract, not the device."""
    faiss = load_faiss()
    plain = an_index(EXACT)
    device = FlatOnDevice(faiss.IndexFlatIP(WIDTH))
    device.add(VECTORS)
    index = FaissIndex.around(Searcher(plain.searcher.rows, device))
    few = Selection(IDS[:5], excluding=True)
    named = Selection(IDS[::7])
    for selection in (None, few, named):
        assert index.search(QUERIES[:5], 10, selection=selection) == plain.search(QUERIES[:5], 10, selection=selection)
    index.remove(IDS[:100])
    index.add(IDS[:10], VECTORS[:10])
    allowed = ~np.isin(IDS, IDS[10:100])
    assert index.search(QUERIES[:5], 10) == [brute_force(query, 10, allowed) for query in QUERIES[:5]]
    index.settle()  # no other mode is better
    assert index.searcher.candidates is device


def test_the_mode_follows_the_size() -> None:
    bytes_each = 2 * WIDTH
    sizes = IndexSizes(exact_bytes=1000 * bytes_each, scan_bytes=1500 * WIDTH // 8)
    index = FaissIndex(WIDTH, sizes=sizes)
    seen = []
    for start in range(0, COUNT, 250):
        index.add(IDS[start : start + 250], VECTORS[start : start + 250])
        index.settle()
        seen.append(index.mode)
    assert seen == [EXACT] * 4 + [SCAN] * 2 + [LISTS] * 6
    assert recall(index) >= RECALL
    assert index.searcher.tuning is not None
    assert index.searcher.tuning.rows * faiss_index.GROWN >= COUNT
    index.remove(IDS[500:])
    index.settle()
    assert (index.mode, index.count, len(index.searcher.rows)) == (EXACT, 500, 500)  # closed up


def test_it_does_not_wait_for_a_saving_to_change_its_mode() -> None:
    index = FaissIndex(WIDTH, sizes=IndexSizes(exact_bytes=2 * WIDTH * 1000))
    index.add(IDS[:1000], VECTORS[:1000])
    assert index.mode == EXACT
    index.add(IDS[1000:], VECTORS[1000:])
    assert index.mode == SCAN


def test_where_no_list_reaches_the_recall_it_stays_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faiss_index, "tune", lambda *_: None)
    index = FaissIndex.filled(WIDTH, [(IDS, VECTORS)], sizes=SIZES[SCAN])
    assert (index.mode, index.searcher.refused) == (EXACT, COUNT)
    assert index.search(QUERIES, 10) == [brute_force(query, 10) for query in QUERIES]
    before = index.searcher
    index.settle()
    assert index.searcher is before  # and does not try again at every saving


def test_a_search_uses_the_setting_of_the_next_depth() -> None:
    settings = tuple(Setting(depth, 4 * depth, 2 * depth, depth / 1000) for depth in DEPTHS)
    tuning = Tuning(1000, settings, {"images": 0.99})
    for shorter, longer in pairwise(settings):
        assert tuning.setting(shorter.depth) == shorter
        assert tuning.setting(shorter.depth + 1) == tuning.setting(longer.depth) == longer
    assert tuning.setting(1) == settings[0]
    assert Tuning.from_dict(json.loads(json.dumps(tuning.as_dict()))) == tuning


def test_lists_are_read_by_how_near_their_centres_are(indexes: dict[str, FaissIndex]) -> None:
    """Each query reads its own number of them, and gets what FAISS finds in so many, alone and beside others."""
    lists = indexes[LISTS].searcher.candidates
    assert isinstance(lists, InvertedLists)
    margin = lists.margins(QUERIES)[3]
    numbers = [round(lists.share(query[None], margin) * lists.lists) for query in QUERIES]
    assert len(set(numbers)) > 1
    scores, rows = lists.search(QUERIES, 20, margin)
    for query, number, own, found in zip(QUERIES, numbers, scores, rows, strict=True):
        expected, _ = lists.index.search(query[None], 20, params=load_faiss().IVFSearchParameters(nprobe=number))
        assert np.array_equal(own, expected[0])
        alone, alike = lists.search(query[None], 20, margin)
        assert np.array_equal(own, alone[0])
        assert set(found[own > own[-1]]) == set(alike[0][alone[0] > own[-1]])  # the last may tie with one left out
    everything = lists.margins(QUERIES)[-1]
    assert lists.share(QUERIES, everything) == 1.0


def test_lists_that_hold_too_few_are_not_the_whole_answer(
    indexes: dict[str, FaissIndex], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the nearest list alone: what it holds answers where it is enough, and all rows are read where it is not."""
    settings = tuple(Setting(depth, depth + 400 * (depth < 500), depth + 400, 0.0) for depth in DEPTHS)
    state = replace(indexes[LISTS].searcher, tuning=Tuning(COUNT, settings, {}))
    index = FaissIndex.around(state, sizes=SIZES[LISTS])
    assert index.search(QUERIES[:3], 500) == [brute_force(query, 500) for query in QUERIES[:3]]
    with monkeypatch.context() as patched:
        patched.setattr(searcher, "rank_all", lambda *_: pytest.fail("all rows were read"))
        found = index.search(QUERIES[:3], 10)
    for query, ranking in zip(QUERIES[:3], found, strict=True):
        truth = dict(brute_force(query, COUNT))
        assert len(ranking) == 10
        assert ranking == sorted(((i, truth[i]) for i, _ in ranking), key=lambda one: (-one[1], one[0]))


# On disk


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
    index = FaissIndex.filled(WIDTH, [(IDS[:2000], VECTORS[:2000])], sizes=SIZES[mode])
    file.write(index, LogPosition(1, 1))
    (vectors,) = tmp_path.glob("*.vectors")
    before = vectors.read_bytes()
    index.add(IDS[2000:], VECTORS[2000:])
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


# In an archive


@pytest.fixture(params=[SCAN, LISTS])
def compressed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Archives of every size are compressed."""
    monkeypatch.setattr(faiss_index, "IndexSizes", lambda: SIZES[request.param])
    return str(request.param)


def filled_archive(folder: Path, count: int = 80) -> Archive:
    (folder / "source").mkdir()
    rows = [
        {"image": f"{i}.png", "case": f"case-{i}", "patient": f"p-{i // 2}", "report": f"Report {i}.", "site": "cervix"}
        for i in range(count)
    ]
    archive = Archive.create(folder / "archive")
    add_manifest(archive, write_manifest(folder / "source" / "manifest.csv", rows), batch=50)
    return archive


def test_a_compressed_archive_lives_like_any_other(compressed: str, tmp_path: Path) -> None:
    with filled_archive(tmp_path) as archive:
        status = archive.status().index
        assert status is not None
        assert (status.mode, set(status.recall)) == (compressed, {"images", "reports"})
        found_by_itself(archive)
        archive.remove("case-3")
        found_by_itself(archive)
    with Archive.open(tmp_path / "archive") as archive:
        assert archive.notes == ()
        found_by_itself(archive)


@pytest.mark.parametrize("compressed", [SCAN], indirect=True)
def test_damage_that_a_search_meets_is_answered_by_rebuilding(compressed: str, tmp_path: Path) -> None:
    filled_archive(tmp_path).close()
    (vectors,) = (tmp_path / "archive" / "index").glob("*.vectors")
    data = np.frombuffer(bytearray(vectors.read_bytes()), np.float32)
    data[::DIM] += 0.25
    vectors.write_bytes(data.tobytes())
    with Archive.open(tmp_path / "archive") as archive:
        assert archive.notes == ()  # not read yet
        found_by_itself(archive)
        (note,) = archive.notes
        assert "its checksum did not match" in note
    with Archive.open(tmp_path / "archive") as archive:
        query = np.eye(1, DIM, dtype=np.float32)
        assert len(archive.search(query, 5, fingerprint=FINGERPRINT)[0]) == 5
        assert archive.notes == ()


@pytest.mark.parametrize("compressed", [SCAN], indirect=True)
def test_damage_that_a_saving_meets_is_answered_by_rebuilding(compressed: str, tmp_path: Path) -> None:
    filled_archive(tmp_path).close()
    (vectors,) = (tmp_path / "archive" / "index").glob("*.vectors")
    data = bytearray(vectors.read_bytes())
    data[3] ^= 64
    vectors.write_bytes(data)
    rows = [{"image": f"{i}.png", "case": f"case-{i}", "report": f"Report {i}."} for i in range(80, 110)]
    with Archive.open(tmp_path / "archive") as archive:
        add_manifest(archive, write_manifest(tmp_path / "source" / "more.csv", rows))  # recall is measured anew
        (note,) = archive.notes
        assert "its checksum did not match" in note
        found_by_itself(archive)


def test_an_exact_archive_says_so(tmp_path: Path) -> None:
    with filled_archive(tmp_path, 6) as archive:
        status = archive.status().index
        assert status is not None
        assert (status.mode, status.recall) == (EXACT, {})
        assert isinstance(archive._index._current.index.searcher.candidates, HalfPrecision)  # type: ignore[union-attr]
