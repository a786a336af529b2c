"""The codes that say which candidates are worth reading, by themselves and in their file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from index_store.index.candidate_index import SCAN
from index_store.index.refinement_codes import MAX_CODE, RefinementCodes, code_size, header_bytes
from index_store.index.storage import IndexFile, IndexFileProblem
from index_store.vectors import LogPosition
from tests.index_store.archive_builders import unit
from tests.index_store.index.indexes import (
    COUNT,
    IDENTITY,
    IDS,
    MORE_IDS,
    MORE_VECTORS,
    QUERIES,
    SIZES,
    VECTORS,
    WIDTH,
    an_index,
)


@pytest.fixture
def codes() -> RefinementCodes:
    made = RefinementCodes.train(VECTORS[::2])
    made.add(VECTORS)
    return made


def test_the_best_by_codes_are_the_best(codes: RefinementCodes) -> None:
    """Random rows would hold 60 of 3,000 in 2 %; those with half as many axes lose some."""
    everything = np.arange(COUNT)
    for query in QUERIES:
        truth = np.argsort(-(VECTORS @ query))[:10]
        kept = codes.best(query, everything, 60)
        assert len(kept) == 60  # no two of these rows have one score
        assert np.isin(truth, kept).mean() >= 0.9


def test_a_score_is_the_inner_product_in_another_unit(codes: RefinementCodes) -> None:
    """Along the axes that are kept, and but for rounding."""
    axes = np.frombuffer(codes.header, np.float32)[: code_size(WIDTH) * WIDTH].reshape(-1, WIDTH)
    np.testing.assert_allclose(axes @ axes.T, np.eye(len(axes)), atol=1e-5)
    for query in QUERIES[:5]:
        scores = codes.scores(query, np.arange(COUNT))
        exact = (VECTORS @ axes.T) @ (axes @ query)
        slope, constant = np.polyfit(scores, exact, 1)
        assert np.percentile(np.abs(slope * scores + constant - exact), 99) < 0.01  # the others are beyond the sample


def test_scores_are_whole_numbers_and_do_not_depend_on_company(codes: RefinementCodes) -> None:
    rng = np.random.default_rng(3)
    rows = rng.permutation(COUNT)[:777]
    for query in [*QUERIES[:5], np.zeros(WIDTH, np.float32), unit(np.eye(WIDTH)[:1])[0]]:
        scores = codes.scores(query, rows)
        assert np.array_equal(scores, np.rint(scores))
        assert np.abs(scores).max() < 2**24
        alone = np.concatenate([codes.scores(query, rows[i : i + 1]) for i in range(50)])
        assert np.array_equal(scores[:50], alone)


def test_equal_scores_are_kept_together(codes: RefinementCodes) -> None:
    codes.add(np.repeat(VECTORS[:1], 5, axis=0))
    kept = codes.best(VECTORS[0], np.arange(COUNT + 5), 3)
    assert {0, *range(COUNT, COUNT + 5)} <= set(kept.tolist())


def test_what_lies_beyond_the_sample_is_clipped() -> None:
    codes = RefinementCodes.train(0.1 * VECTORS[:100])
    codes.add(VECTORS)
    assert codes.codes.min() == -MAX_CODE
    assert codes.codes.max() == MAX_CODE


def test_a_sample_without_spread_is_no_error() -> None:
    codes = RefinementCodes.train(np.repeat(VECTORS[:1], 64, axis=0))
    codes.add(VECTORS)
    assert np.isfinite(codes.scores(QUERIES[0], np.arange(COUNT))).all()


def stored(codes: RefinementCodes) -> np.ndarray:
    """int8[rows, code_size]: the codes as they are written."""
    file = io.BytesIO()
    codes.write(file)
    return np.frombuffer(file.getvalue()[header_bytes(WIDTH) :], np.int8).reshape(-1, code_size(WIDTH))


def test_zeroed_codes_leave_nothing(codes: RefinementCodes) -> None:
    before = stored(codes)
    codes.zero(np.array([4, 9]))
    after = stored(codes)
    assert not after[[4, 9]].any()
    others = np.delete(np.arange(COUNT), [4, 9])
    assert np.array_equal(after[others], before[others])
    assert before[[4, 9]].any(axis=1).all()


def test_additions_join_the_file_and_removals_make_another(tmp_path: Path) -> None:
    file = IndexFile(tmp_path, IDENTITY, sizes=SIZES[SCAN])
    index = an_index(SCAN)
    file.write(index, LogPosition(1, 1))
    (first,) = tmp_path.glob("*.fine")
    before = first.read_bytes()
    assert len(before) == header_bytes(WIDTH) + COUNT * code_size(WIDTH)

    with first.open("ab") as end:
        end.write(b"of a killed writer")
    index, _ = file.read()
    index.add(MORE_IDS[:100], MORE_VECTORS[:100])
    file.write(index, LogPosition(2, 2))
    assert list(tmp_path.glob("*.fine")) == [first]
    assert first.read_bytes()[: len(before)] == before
    assert len(first.read_bytes()) == len(before) + 100 * code_size(WIDTH)
    again, _ = IndexFile(tmp_path, IDENTITY, sizes=SIZES[SCAN]).read()
    assert again.search(QUERIES, 10) == index.search(QUERIES, 10)

    removed = index.searcher.codes.codes[7].tobytes()  # type: ignore[union-attr]
    index.remove(IDS[7:8])
    file.write(index, LogPosition(3, 3))
    (second,) = tmp_path.glob("*.fine")
    assert second != first
    assert removed not in second.read_bytes()
    last, _ = IndexFile(tmp_path, IDENTITY, sizes=SIZES[SCAN]).read()
    assert last.count == COUNT + 99
    assert last.search(QUERIES, 10) == index.search(QUERIES, 10)


def test_a_second_writer_leaves_what_another_appended(tmp_path: Path) -> None:
    first, second = (IndexFile(tmp_path, IDENTITY, sizes=SIZES[SCAN]) for _ in range(2))
    first.write(an_index(SCAN), LogPosition(1, 1))
    mine, theirs = first.read()[0], second.read()[0]
    mine.add(MORE_IDS[:100], MORE_VECTORS[:100])
    first.write(mine, LogPosition(2, 2))
    theirs.add(MORE_IDS[:10], MORE_VECTORS[:10])
    second.write(theirs, LogPosition(3, 3))
    last, position = IndexFile(tmp_path, IDENTITY, sizes=SIZES[SCAN]).read()
    assert (position.sequence, last.count) == (3, COUNT + 10)
    assert last.search(QUERIES, 10) == theirs.search(QUERIES, 10)


@pytest.mark.parametrize("harm", ["flipped", "cut short", "gone"])
def test_damaged_codes_are_not_used(tmp_path: Path, harm: str) -> None:
    IndexFile(tmp_path, IDENTITY).write(an_index(SCAN), LogPosition(1, 1))
    (path,) = tmp_path.glob("*.fine")
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(data if harm == "flipped" else data[:-5])
    with pytest.raises(IndexFileProblem, match="missing" if harm == "gone" else "checksum"):
        IndexFile(tmp_path, IDENTITY).read()
