"""Ids and tombstones by row against a plain list."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_store.index.row_table import ROW_BYTES, GrowableArray, RowTable

IDS = st.lists(st.integers(0, 30), unique=True, max_size=8)


@given(st.lists(st.tuples(IDS, IDS), max_size=6), st.lists(st.integers(0, 35), max_size=20), st.booleans())
def test_the_rows_of_ids_are_those_added_last_and_not_removed(
    changes: list[tuple[list[int], list[int]]], asked: list[int], consecutive: bool
) -> None:
    table = RowTable.empty()
    ids: list[int] = []
    row_of: dict[int, int] = {}
    for removed, added in changes:
        table.remove(table.rows_of(np.array(removed, np.int64)))
        for image_id in removed:
            row_of.pop(image_id, None)
        new = [len(ids) + i for i in range(len(added))] if consecutive else [i for i in added if i not in row_of]
        row_of |= {image_id: len(ids) + number for number, image_id in enumerate(new)}
        ids += new
        if new:
            table.append(np.array(new, np.int64), np.arange(len(new), dtype=np.uint64))
        wanted = np.array([*asked, *removed, *added], np.int64)
        assert table.rows_of(wanted).tolist() == sorted({row_of[i] for i in wanted.tolist() if i in row_of})
        present = np.array(sorted(row_of), np.int64)
        if present.size:
            assert table.rows_in_order(present).tolist() == [row_of[i] for i in present.tolist()]
        assert table.ids.tolist() == ids
        assert table.alive.tolist() == [row_of.get(image_id) == row for row, image_id in enumerate(ids)]
    file = io.BytesIO()
    table.write(file)
    assert len(file.getvalue()) == ROW_BYTES * len(ids)
    again = RowTable.from_bytes(file.getvalue())
    for name in ("ids", "checksums", "alive"):
        assert getattr(again, name).tolist() == getattr(table, name).tolist()
    assert again.rows_of(np.arange(36)).tolist() == table.rows_of(np.arange(36)).tolist()


@pytest.mark.parametrize("sizes", [[0, 1, 1, 1, 5], [3, 0, 100], [1000, 1, 600]])
def test_a_growable_array_holds_what_was_added(sizes: list[int]) -> None:
    growing = GrowableArray(np.empty((0, 2), np.int64))
    parts = [np.random.default_rng(size).integers(0, 9, (size, 2)) for size in sizes]
    views = []
    for part in parts:
        growing.append(part)
        views.append((growing.array, growing.array.copy()))
    assert np.array_equal(growing.array, np.concatenate(parts))
    assert growing.count == sum(sizes)
    assert all(np.array_equal(view, then) for view, then in views)
