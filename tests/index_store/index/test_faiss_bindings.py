"""Products by FAISS, against numpy's."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from index_store.index.faiss_bindings import SHARED_ROWS, inner_products


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("rows", [0, 1, SHARED_ROWS - 1, SHARED_ROWS, SHARED_ROWS + 2])
def test_every_row_is_multiplied_however_many_threads_share_them(threads: int, rows: int) -> None:
    rng = np.random.default_rng(0)
    block = rng.normal(size=(2 * SHARED_ROWS, 8)).astype(np.float32)
    query, chosen = block[7].copy(), rng.permutation(len(block))[:rows]
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        products = inner_products(query, block, chosen)
    finally:
        faiss.omp_set_num_threads(before)
    np.testing.assert_allclose(products, (block @ query)[chosen], atol=1e-4)


@pytest.mark.parametrize(("rows", "parts"), [(SHARED_ROWS - 1, 1), (SHARED_ROWS, 3)])
def test_threads_share_the_rows_where_they_are_many(rows: int, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    products: list[int] = []
    before = faiss.omp_get_max_threads()
    monkeypatch.setattr(faiss, "fvec_inner_products_by_idx", lambda *arguments: products.append(arguments[-1]))
    faiss.omp_set_num_threads(3)
    try:
        inner_products(np.ones(8, np.float32), np.ones((1, 8), np.float32), np.zeros(rows, np.int64))
    finally:
        faiss.omp_set_num_threads(before)
    assert (len(products), sum(products)) == (parts, rows)
