"""Reading ahead: order, a bound on memory, and a clean end whatever happens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from retrieval.ingest.prefetch import MemoryWindow, read_ahead


def run(
    work: Callable[[int], int], items: range, *, limit: int = 100, workers: int = 4, ahead: int = 16, batch: int = 1
) -> list[int]:
    """Consume in batches, as ingest does, and let go of each batch."""
    window = MemoryWindow(limit)
    taken: list[int] = []
    held = 0
    for result in read_ahead(work, items, size=abs, window=window, workers=workers, ahead=ahead):
        taken.append(result)
        held += abs(result)
        if len(taken) % batch == 0 or held >= limit:
            window.leave(held)
            held = 0
    return taken


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("limit", [1, 100, 10**9])
@pytest.mark.parametrize("workers", [1, 4])
def test_results_come_in_order_whatever_fits(limit: int, workers: int, batch: int) -> None:
    assert run(lambda x: x * x, range(60), limit=limit, workers=workers, batch=batch) == [x * x for x in range(60)]


def test_nothing_to_do_is_nothing_done() -> None:
    assert run(abs, range(0)) == []


def test_no_more_is_held_than_the_window_and_what_stands_before_it() -> None:
    workers, limit, size = 3, 50, 10
    lock = threading.Lock()
    made, most, taken = 0, 0, 0

    def work(_: int) -> int:
        nonlocal made, most
        with lock:
            made += 1
            most = max(most, made - taken)
        return size

    window = MemoryWindow(limit)
    for result in read_ahead(work, range(200), size=abs, window=window, workers=workers, ahead=100):
        with lock:
            taken += 1
        window.leave(result)
    assert made == 200
    assert most <= limit // size + workers


def test_the_first_failure_is_raised_in_its_place_and_ends_the_threads() -> None:
    def work(item: int) -> int:
        if item == 5:
            raise LookupError("the sixth")
        return 0

    before = threading.active_count()
    taken = []
    with pytest.raises(LookupError, match="the sixth"):
        for result in read_ahead(work, range(50), size=abs, window=MemoryWindow(1), workers=4, ahead=8):
            taken.append(result)
    assert len(taken) == 5
    assert threading.active_count() == before


def test_a_consumer_may_stop_while_the_window_is_full() -> None:
    before = threading.active_count()
    with closing(read_ahead(abs, range(1, 50), size=abs, window=MemoryWindow(1), workers=4, ahead=8)) as results:
        assert next(results) == 1
    assert threading.active_count() == before


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_items_are_taken_no_further_ahead_than_allowed(ahead: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield number

    with closing(read_ahead(abs, items(), size=abs, window=MemoryWindow(10**9), workers=2, ahead=ahead)) as results:
        for done, _ in enumerate(results, start=1):
            assert taken == min(50, done + ahead)
