"""Postings, by texts whose words can be counted by eye; and when their parts are merged."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.language.words.postings import Segment, first_to_merge, indexed, merged, renumbered

FIRST, SECOND = [["a", "b", "a"], [], ["b"]], [["c", "b"], ["a", "c", "c"]]


def told(segment: Segment) -> list[dict[int, float]]:
    """For each word how often each row has it."""
    words = [segment.of(word) for word in range(len(segment.starts) - 1)]
    return [dict(zip(segment.rows[of].tolist(), segment.counts[of].tolist(), strict=True)) for of in words]


def test_each_word_has_its_texts_and_how_often_they_have_it() -> None:
    number: dict[str, int] = {}
    one, lengths = indexed(FIRST, 3, number, 10)
    other, _ = indexed(SECOND, 2, number, 13)
    assert (number, lengths.tolist()) == ({"a": 0, "b": 1, "c": 2}, [3, 0, 1])
    assert told(one) == [{10: 2}, {10: 1, 12: 1}]
    assert one.of(2) == slice(0), "a word that came up later"
    assert told(other) == [{14: 1}, {13: 1}, {13: 1, 14: 2}]
    assert one.holding(1, np.array([9, 10, 11, 12, 13], dtype=np.int32)).tolist() == [False, True, False, True, False]
    assert one.holding(2, np.array([10], dtype=np.int32)).tolist() == [False]
    both = merged([one, other], 3)
    assert told(both) == [{10: 2, 14: 1}, {10: 1, 12: 1, 13: 1}, {13: 1, 14: 2}]
    assert both.rows.tolist() == [10, 14, 10, 12, 13, 13, 14]
    assert merged([one], 3) is one
    # Row 12 is left out, and the others are counted from the end.
    turned = renumbered(both, np.array([-1] * 10 + [3, 2, -1, 1, 0]))
    assert told(turned) == [{3: 2, 0: 1}, {3: 1, 1: 1}, {1: 1, 0: 2}]
    assert told(indexed([], 0, number, 0)[0]) == [{}, {}, {}]


@pytest.mark.parametrize(
    ("sizes", "first"),
    [
        ([], 0),
        ([1] * 8, 8),
        ([1] * 9, 0),
        ([65, *[1] * 8], 1),  # more than eight times as large as the others
        ([64, *[1] * 8], 0),
        ([1, 65, *[1] * 7], 0),
    ],
)
def test_more_than_eight_parts_are_merged_but_for_a_large_one(sizes: list[int], first: int) -> None:
    assert first_to_merge(sizes) == first
