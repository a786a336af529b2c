"""Precision at k on lists of labels, by hand and against random orders."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval import Label, precision_at_k

A1, A2, B1 = Label("cervix", "HSIL"), Label("cervix", "NILM"), Label("thyroid", "HSIL")


def test_precision_by_hand() -> None:
    measured = precision_at_k([A1, B1], [[A1, A2, B1, A1], [A1, B1]], [A1, A2, B1, B1], k=4)
    assert measured.site.mean == pytest.approx((3 / 4 + 1 / 4) / 2)
    assert measured.site_category.mean == pytest.approx((2 / 4 + 1 / 4) / 2)
    assert measured.chance_site == pytest.approx(1 / 2)
    assert measured.chance_site_category == pytest.approx((1 / 4 + 2 / 4) / 2)
    assert measured.queries == 2


def test_the_same_category_of_another_site_is_not_relevant() -> None:
    assert precision_at_k([A1], [[B1]], [B1], k=1).site_category.mean == 0


def test_only_the_first_k_count() -> None:
    assert precision_at_k([A1], [[A2, A1, A1]], [A1], k=1).site_category.mean == 0


@pytest.mark.slow
@pytest.mark.parametrize("k", [3, 50])
def test_chance_is_what_random_orders_reach(k: int) -> None:
    rng = np.random.default_rng(1)
    archive = [Label(f"site {i % 4}", f"category {i % 12}") for i in range(30)]
    queries = [archive[i] for i in rng.integers(30, size=4000)]
    results = [[archive[i] for i in rng.permutation(30)[:k]] for _ in queries]
    measured = precision_at_k(queries, results, archive, k=k)
    assert measured.chance_site == pytest.approx(measured.site.mean, abs=0.01)
    assert measured.chance_site_category == pytest.approx(measured.site_category.mean, abs=0.01)


@pytest.mark.parametrize(("queries", "archive", "k"), [([], [A1], 1), ([A1], [], 1), ([A1], [A1], 0)])
def test_nothing_to_average_is_refused(queries: list[Label], archive: list[Label], k: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        precision_at_k(queries, [[] for _ in queries], archive, k=k)
