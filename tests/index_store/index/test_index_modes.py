"""Every mode of the index against a brute force over the same vectors."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_store.index import faiss_index, recall_tuning, searcher
from index_store.index.candidate_index import EXACT, LISTS, SCAN, InvertedLists
from index_store.index.faiss_bindings import load_faiss
from index_store.index.faiss_index import FaissIndex
from index_store.index.gpu_flat import FlatOnDevice, gpu_index
from index_store.index.recall_tuning import DEPTHS, RECALL, IndexSizes, Setting, Tuning
from index_store.index.searcher import Searcher
from index_store.index.vector_file import VectorRows
from index_store.vectors import Selection
from tests.index_store.archive_builders import unit
from tests.index_store.index.indexes import (
    COUNT,
    IDS,
    MODES,
    QUERIES,
    SIZES,
    VECTORS,
    WIDTH,
    an_index,
    brute_force,
    built_index,
    recall,
)


@pytest.mark.slow
@MODES
@settings(max_examples=8)
@given(share=st.sampled_from([0.001, 0.01, 0.1, 0.45, 0.7, 1.0]), seed=st.integers(0, 10**6), k=st.integers(1, 40))
def test_a_filter_by_value_is_exact_in_every_mode(mode: str, share: float, seed: int, k: int) -> None:
    allowed = np.random.default_rng(seed).random(COUNT) < share
    named = np.concatenate([IDS[allowed], [0, 10 * COUNT]])  # and some that are not there
    queries = QUERIES[: 1 + seed % 7]
    found = built_index(mode).search(queries, k, selection=Selection(named))
    assert found == [brute_force(query, k, allowed) for query in queries]


@pytest.mark.slow
@MODES
@settings(max_examples=15)
@given(left_out=st.sampled_from([1, 5, 60, 800, 1500]), seed=st.integers(0, 10**6))
def test_what_is_left_out_is_never_found_and_costs_no_answer(mode: str, left_out: int, seed: int) -> None:
    query = QUERIES[seed % len(QUERIES)]
    out = [i for i, _ in brute_force(query, COUNT)[:left_out]]  # the worst case: the very best are left out
    (found,) = built_index(mode).search(query[None], 10, selection=Selection(np.array(out), excluding=True))
    assert len(found) == 10
    assert not {i for i, _ in found} & set(out)
    expected = brute_force(query, 10, ~np.isin(IDS, out))
    if mode == EXACT or left_out > 990:
        assert found == expected
    else:
        assert len({i for i, _ in found} & {i for i, _ in expected}) >= 8


@MODES
def test_unfiltered_recall_is_what_is_stated(mode: str) -> None:
    index = built_index(mode)
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
def test_a_query_ranks_the_same_alone_and_in_a_batch(mode: str) -> None:
    together = built_index(mode).search(QUERIES, 10)
    assert together == [built_index(mode).search(query[None], 10)[0] for query in QUERIES]


@MODES
def test_more_than_there_are_brings_all(mode: str) -> None:
    assert built_index(mode).search(QUERIES[:2], COUNT + 5) == [brute_force(query, COUNT) for query in QUERIES[:2]]


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


@MODES
def test_a_removed_vector_leaves_no_code(mode: str) -> None:
    """All removed rows have one code then, and so one score, whatever the query."""
    index, rows = an_index(mode), np.arange(0, 200, 7)

    def scores() -> np.ndarray:
        everything = index.searcher.candidates.search(QUERIES[:3], COUNT, 10.0)
        return np.array([own[np.isin(found, rows)] for own, found in zip(*everything, strict=True)])

    assert all(len(np.unique(own)) > 10 for own in scores())
    index.remove(IDS[rows])
    assert scores().shape == (3, len(rows))
    assert all(len(np.unique(own)) == 1 for own in scores())


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


@pytest.mark.parametrize(
    ("rows", "free", "held"), [(9, 2 * 9 * 4 * 4, 9), (9, 2 * 9 * 4 * 4 - 1, None), (0, 1e9, None)]
)
def test_a_device_gets_rows_that_fit_half_of_its_free_memory(
    rows: int, free: float, held: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice, for a device that is announced to be there; its index is one of the CPU."""
    announced = {"get_num_gpus": lambda: 1, "getFreeMemory": lambda _: free, "StandardGpuResources": object}
    announced["GpuIndexFlatIP"] = lambda _, dim: load_faiss().IndexFlatIP(dim)
    for name, value in announced.items():
        monkeypatch.setattr(load_faiss(), name, value, raising=False)
    vectors = VectorRows(4)
    vectors.append(np.arange(rows), np.ones((rows, 4), np.float32))
    index = gpu_index(vectors)
    assert (None if index is None else index.count) == held


def test_the_mode_follows_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_tuning, "QUERIES", 60)  # recall is measured four times; fewer queries make it quicker
    monkeypatch.setattr(faiss_index, "FEW_REMOVED", 100)
    index = FaissIndex(WIDTH, sizes=IndexSizes(exact_bytes=400 * 2 * WIDTH, scan_bytes=600 * WIDTH // 8))
    modes = []
    for start, stop in pairwise([0, 400, 401, 600, 601, 1200]):
        index.add(IDS[start:stop], VECTORS[start:stop])
        index.settle()
        modes.append(index.mode)
    assert modes == [EXACT, SCAN, SCAN, LISTS, LISTS]
    assert recall(index, rows=1200) >= RECALL
    assert index.searcher.tuning is not None
    assert index.searcher.tuning.rows == 1200  # the lists are those of 601 rows, and their recall is measured anew
    assert index.searcher.trained == 601
    index.remove(IDS[1000:1200])
    index.settle()
    assert len(index.searcher.rows) == 1200  # too few of them to compact the rows
    index.remove(IDS[300:1000])
    index.settle()
    assert (index.mode, index.count, len(index.searcher.rows)) == (EXACT, 300, 300)  # compacted


@pytest.mark.slow
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


def test_lists_are_read_by_how_near_their_centres_are() -> None:
    """Each query reads its own number of them, and gets what FAISS finds in so many, alone and beside others."""
    lists = built_index(LISTS).searcher.candidates
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


class LastIsLeftToChance:
    """Candidates in a fixed order, but for the last: two more have its score, and any of them may come along."""

    mode, max_error, count = SCAN, None, COUNT

    def __init__(self, lucky: int) -> None:
        self._lucky = lucky

    def search(self, queries: np.ndarray, fetch: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
        scores, rows = np.arange(fetch, 0, -1, dtype=np.float32), np.arange(fetch)
        rows[-1] = self._lucky
        return np.tile(scores, (len(queries), 1)), np.tile(rows, (len(queries), 1))


def test_a_candidate_that_came_along_by_chance_is_no_result() -> None:
    rows = built_index(SCAN).searcher.rows
    settings = tuple(Setting(depth, depth + 40, depth + 40) for depth in DEPTHS)
    query = VECTORS[2000:2001]  # 2000 is the best of all rows, and 2001 is not
    rankings = [
        Searcher(rows, LastIsLeftToChance(lucky), Tuning(COUNT, settings, {})).search(query, 10, np.empty(0, np.int64))  # type: ignore[arg-type]
        for lucky in (2000, 2001)
    ]
    assert rankings[0] == rankings[1] == [brute_force(query[0], 10, np.arange(COUNT) < 10 + 40 + 32 - 1)]


def test_lists_that_hold_too_few_are_not_the_whole_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the nearest list alone: what it holds answers where it is enough, and all rows are read where it is not."""
    settings = tuple(Setting(depth, depth + 400 * (depth < 500), depth + 400, 0.0) for depth in DEPTHS)
    state = replace(built_index(LISTS).searcher, tuning=Tuning(COUNT, settings, {}))
    index = FaissIndex.around(state, sizes=SIZES[LISTS])
    assert index.search(QUERIES[:3], 500) == [brute_force(query, 500) for query in QUERIES[:3]]
    with monkeypatch.context() as patched:
        patched.setattr(searcher, "rank_all", lambda *_: pytest.fail("all rows were read"))
        found = index.search(QUERIES[:3], 10)
    for query, ranking in zip(QUERIES[:3], found, strict=True):
        truth = dict(brute_force(query, COUNT))
        assert len(ranking) == 10
        assert ranking == sorted(((i, truth[i]) for i, _ in ranking), key=lambda one: (-one[1], one[0]))
