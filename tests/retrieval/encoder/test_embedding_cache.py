"""The shelf: what was put is there for the next process, whole, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval import EvaluationError
from retrieval.encoder.embedding_cache import EmbeddingCache, embedding_key

KEYS = [embedding_key({"n": n}) for n in range(5)]
VECTORS = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)


def test_what_was_put_is_there_for_the_next(tmp_path: Path) -> None:
    shelf = EmbeddingCache(tmp_path / "new", 7)
    shelf.put(KEYS[:2], VECTORS[:2])
    shelf.put(KEYS[2:4], VECTORS[2:4])
    for one in (shelf, EmbeddingCache(tmp_path / "new", 7)):
        assert [key in one for key in KEYS] == [True] * 4 + [False]
        np.testing.assert_array_equal(one.take([KEYS[3], KEYS[0]]), VECTORS[[3, 0]])
    assert shelf.take([]).shape == (0, 7)
    with pytest.raises(KeyError):
        shelf.take(KEYS)


def test_damaged_foreign_and_unfinished_files_are_passed_over(tmp_path: Path) -> None:
    EmbeddingCache(tmp_path, 7).put(KEYS[:1], VECTORS[:1])
    (whole,) = tmp_path.iterdir()
    EmbeddingCache(tmp_path, 3).put(KEYS[1:2], VECTORS[1:2, :3])
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-3])
    (tmp_path / "half.tmp").write_bytes(b"x")
    shelf = EmbeddingCache(tmp_path, 7)
    assert [key in shelf for key in KEYS[:3]] == [True, False, False]


def test_a_folder_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(EvaluationError, match="--work"):
        EmbeddingCache(tmp_path / "file", 7)


def test_a_key_is_of_all_inputs_in_any_order() -> None:
    assert embedding_key({"a": 1, "b": "x"}) == embedding_key({"b": "x", "a": 1})
    assert embedding_key({"a": 1, "b": "x"}) != embedding_key({"a": 1, "b": "y"})
