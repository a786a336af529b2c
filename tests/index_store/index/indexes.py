"""One set of vectors, and an index of it in every mode. An index is built once and copied, since training and measuring
its recall take seconds."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from index_store.index.candidate_index import EXACT, LISTS, SCAN, CandidateIndex, FastScan
from index_store.index.faiss_index import FaissIndex
from index_store.index.half_precision import HalfPrecision
from index_store.index.recall_tuning import IndexSizes
from index_store.index.refinement_codes import RefinementCodes
from index_store.index.searcher import Searcher
from index_store.index.vector_file import VectorRows
from index_store.vectors import IndexIdentity
from tests.index_store.archive_builders import unit

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
MORE_VECTORS, MORE_IDS = clustered(600, 3), np.arange(600, dtype=np.int64) + 10 * COUNT
"""Vectors to add to an index."""
QUERIES = clustered(40, 1)


@cache
def built_index(mode: str) -> FaissIndex:
    """An index of all vectors. Shared: do not change it."""
    chunks = ((IDS[i : i + 500], VECTORS[i : i + 500]) for i in range(0, COUNT, 500))
    index = FaissIndex.filled(WIDTH, chunks, sizes=SIZES[mode], reports=lambda: clustered(30, 2))
    assert index.mode == mode
    return index


def an_index(mode: str, spill: Path | None = None) -> FaissIndex:
    """A copy of `built_index` of one's own."""
    shared = built_index(mode).searcher
    rows = VectorRows(WIDTH, spill=spill)
    rows.append(IDS, VECTORS)
    candidates: CandidateIndex
    codes = None
    if isinstance(shared.candidates, FastScan) and shared.codes is not None:
        file = io.BytesIO()
        shared.candidates.write(file)
        file.seek(0)
        candidates = type(shared.candidates).read(file)
        file = io.BytesIO()
        shared.codes.write(file)
        codes = RefinementCodes.from_bytes(np.frombuffer(file.getvalue(), np.uint8).copy(), COUNT, WIDTH)
    else:
        candidates = HalfPrecision.build(rows)
    searcher = Searcher(rows, candidates, shared.tuning, codes, trained=shared.trained)
    return FaissIndex.around(searcher, sizes=SIZES[mode], spill=spill)


def brute_force(query: np.ndarray, k: int, allowed: np.ndarray | None = None) -> list[tuple[int, float]]:
    chosen = np.arange(COUNT) if allowed is None else np.flatnonzero(allowed)
    scores = (VECTORS[chosen].astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    return [(int(IDS[chosen[i]]), float(scores[i])) for i in np.lexsort((IDS[chosen], -scores))[:k]]


def recall(index: FaissIndex, k: int = 10, rows: int = COUNT) -> float:
    """Of the k nearest of the first `rows` vectors, the share that the index finds."""
    found = index.search(QUERIES, k)
    truth = [{i for i, _ in brute_force(query, k, np.arange(COUNT) < rows)} for query in QUERIES]
    return float(np.mean([len(t & {i for i, _ in f}) / k for t, f in zip(truth, found, strict=True)]))
