"""The tuning against a count of its own: every setting tried, recall counted by its definition, bytes added up."""

from __future__ import annotations

from itertools import product
from math import sqrt
from typing import Any

import numpy as np
import pytest

from index_store.index import recall_tuning
from index_store.index.candidate_index import EXACT, LISTS, SCAN
from index_store.index.recall_tuning import KEPT, LENGTHS, LONGEST, RECALL, Cost, IndexSizes, tune
from index_store.index.vector_file import VectorRows
from tests.index_store.index.indexes import clustered

DIM, COUNT = 16, 400
DEPTHS = (5, 12)
REMOVED = np.array([3, 50, 51, 399])


class NoisyCandidates:
    """Ranks rows by inner products with noise, of those rows that a margin reads."""

    count = COUNT

    def __init__(self, vectors: np.ndarray, noise: float, margins: dict[float, float]) -> None:
        rng = np.random.default_rng(11)
        self._vectors = vectors + noise * rng.normal(size=vectors.shape).astype(np.float32)
        self._order = rng.permutation(COUNT)
        self._shares = margins
        self.tried: list[float] = []
        self.queries = np.empty((0, DIM), np.float32)

    def margins(self, queries: np.ndarray) -> list[float]:
        self.queries = queries
        return list(self._shares)

    def share(self, queries: np.ndarray, margin: float) -> float:
        self.tried.append(margin)
        return self._shares[margin]

    def search(self, queries: np.ndarray, fetch: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
        read = self._order[: round(COUNT * min(1.0, 2 * self._shares[margin]))]
        scores = queries @ self._vectors[read].T
        order = np.argsort(-scores, axis=1, kind="stable")
        rows = np.full((len(queries), fetch), -1, np.int64)
        rows[:, : len(read)] = read[order][:, :fetch]
        return np.take_along_axis(scores, order, 1), rows


class NoisyCodes:
    """Coarse scores: many are equal."""

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors + 0.02 * np.random.default_rng(12).normal(size=vectors.shape).astype(np.float32)

    def scores(self, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.rint(40 * self._vectors[rows] @ query)


@pytest.fixture
def vectors() -> np.ndarray:
    return clustered(COUNT, 0, DIM)


@pytest.fixture
def rows(vectors: np.ndarray) -> VectorRows:
    rows = VectorRows(DIM)
    rows.append(np.arange(COUNT, dtype=np.int64) * 7 + 1, vectors)
    rows.remove(REMOVED)
    return rows


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall_tuning, "DEPTHS", DEPTHS)
    monkeypatch.setattr(recall_tuning, "QUERIES", 15)
    monkeypatch.setattr(recall_tuning, "FEW_QUERIES", 8)


def counted(
    vectors: np.ndarray, candidates: Any, codes: Any, queries: dict[str, list[tuple[np.ndarray, int]]], depth: int
) -> tuple[float, dict[str, float]] | None:
    """The fewest bytes by which a setting reaches the recall at a depth, and the recall then. `queries`: by kind,
    vectors and their own rows (-1: none)."""
    alive = np.setdiff1d(np.arange(COUNT), REMOVED)
    recalls: dict[tuple[float, int, int, str], list[float]] = {}
    for margin, (kind, members) in product(candidates.margins(vectors), queries.items()):
        for query, own in members:
            others = alive[alive != own]
            truth = others[np.argsort(-(vectors[others].astype(np.float64) @ query), kind="stable")][:depth]
            listed = candidates.search(query[None], COUNT, margin)[1][0].tolist()
            listed = [row for row in listed if row in others]
            scores = np.sort(codes.scores(query, np.array(listed)))
            # Of each neighbour: how many candidates come before it, and how many score as much or more by the codes.
            before = {row: position for position, row in enumerate(listed)}
            as_good = {row: (scores >= codes.scores(query, np.array([row]))[0]).sum() for row in truth.tolist()}
            for factor, length in product(KEPT, LENGTHS):
                kept = round(factor * depth)
                if kept <= length <= 2 * COUNT:
                    reached = sum(before.get(row, LONGEST) < length and as_good[row] <= kept for row in truth.tolist())
                    recalls.setdefault((margin, kept, length, kind), []).append(reached / depth)
    found: list[tuple[float, dict[str, float]]] = []
    for margin, kept, length in {key[:3] for key in recalls}:
        means, enough = {}, True
        for kind in queries:
            shares = recalls[margin, kept, length, kind]
            mean = sum(shares) / len(shares)
            deviation = sqrt(sum((share - mean) ** 2 for share in shares) / len(shares))
            enough &= mean - 1.645 * deviation / sqrt(len(shares)) >= RECALL
            means[kind] = round(mean, 4)
        if enough:
            scanned = candidates.share(vectors, margin) * COUNT * DIM / 8
            found.append((scanned + 4 * (4 * DIM * kept) + 4 * (DIM / 2 * length), means))
    return min(found, key=lambda each: each[0]) if found else None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "margins"),
    [
        (0.02, {0.0: 1.0}),
        (0.1, {0.0: 1.0}),
        (0.05, {0.1: 0.1, 0.2: 0.3, 0.3: 0.5, 0.4: 0.6, 0.5: 0.9, 0.6: 1.0}),
        (0.02, {0.3: 0.5, 0.4: 4.0, 0.5: 40.0}),
    ],
)
def test_the_cheapest_setting_that_reaches_the_recall_is_found(
    rows: VectorRows, vectors: np.ndarray, noise: float, margins: dict[float, float]
) -> None:
    candidates, codes, reports = NoisyCandidates(vectors, noise, margins), NoisyCodes(vectors), clustered(10, 5, DIM)
    tuning = tune(rows, candidates, codes, reports)  # type: ignore[arg-type]
    assert tuning is not None
    images = candidates.queries[: -len(reports)]
    sampled = [int(np.flatnonzero((vectors == image).all(axis=1))[0]) for image in images]
    assert len(set(sampled)) == 15
    assert not set(sampled) & set(REMOVED.tolist())
    queries = {"images": [(vectors[row], row) for row in sampled], "reports": [(report, -1) for report in reports]}
    for depth, setting in zip(DEPTHS, tuning.settings, strict=True):
        expected = counted(vectors, candidates, codes, queries, depth)
        assert expected is not None
        scanned = margins[setting.margin] * COUNT * DIM / 8
        cost = scanned + 16 * DIM * setting.kept + 2 * DIM * setting.length
        assert cost == pytest.approx(expected[0])
        assert setting.depth == depth
        if depth == DEPTHS[0]:
            assert tuning.recall == expected[1]
    assert tuning.rows == COUNT


def test_margins_that_cannot_be_cheaper_are_not_measured(rows: VectorRows, vectors: np.ndarray) -> None:
    candidates = NoisyCandidates(vectors, 0.02, {0.0: 1.0, 0.5: 1000.0, 0.6: 2000.0})
    assert tune(rows, candidates, NoisyCodes(vectors), vectors[:0]) is not None  # type: ignore[arg-type]
    assert candidates.tried == [0.0, 0.5]


def test_where_no_setting_reaches_the_recall_there_is_no_tuning(rows: VectorRows, vectors: np.ndarray) -> None:
    hopeless = NoisyCandidates(vectors, 0.02, {0.0: 0.4})  # a fifth of the rows is in no list
    assert tune(rows, hopeless, NoisyCodes(vectors), vectors[:0]) is None  # type: ignore[arg-type]


class ExactCodes(NoisyCodes):
    """Scores without noise, as of the rows themselves."""

    def __init__(self, vectors: np.ndarray) -> None:
        self._vectors = vectors

    def scores(self, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        scores: np.ndarray = self._vectors[rows] @ query
        return scores


def test_a_list_is_at_least_as_long_as_what_is_kept_of_it(
    rows: VectorRows, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every neighbour is found, five rows are read for four results, and lists have the next of `LENGTHS`."""
    monkeypatch.setattr(recall_tuning, "DEPTHS", (4, 8, 9, 16, 17))
    tuning = tune(rows, NoisyCandidates(vectors, 0.0, {0.0: 1.0}), ExactCodes(vectors), vectors[:0])  # type: ignore[arg-type]
    assert tuning is not None
    lists = [(setting.kept, setting.length) for setting in tuning.settings]
    assert lists == [(5, 10), (10, 10), (11, 12), (20, 20), (21, 24)]
    assert tuning.recall == {"images": 1.0}


def test_the_costs_of_a_search_are_added_up() -> None:
    """At 512 dimensions: rows are 2 kB, refinement codes 256 B, and both count four times."""
    assert Cost(512, 1000.0).total == 1000
    assert Cost(512, 1000.0, kept=3).total == 1000 + 4 * 3 * 2048
    assert Cost(512, 1000.0, kept=3, length=7).total == 1000 + 4 * (3 * 2048 + 7 * 256)
    assert max(LENGTHS) < LONGEST


@pytest.mark.parametrize(
    ("dim", "most_exact", "most_scanned"),
    # 200 MB at two bytes a number; 32 MB at one bit a number.
    [(512, 195_312, 500_000), (1024, 97_656, 250_000), (64, 1_562_500, 4_000_000)],
)
def test_an_index_changes_its_kind_at_the_sizes_that_are_documented(
    dim: int, most_exact: int, most_scanned: int
) -> None:
    sizes = IndexSizes()
    assert [sizes.mode(count, dim) for count in (most_exact, most_exact + 1)] == [EXACT, SCAN]
    assert [sizes.mode(count, dim) for count in (most_scanned, most_scanned + 1)] == [SCAN, LISTS]
