"""Readers together, a writer alone, and no writer starved. Threads signal by events; nothing waits for a clock."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from queue import SimpleQueue

import pytest

from index_store.search.readers_writer_lock import ReadersWriterLock

DEADLOCK = 600
"""Seconds after which a test fails that would hang otherwise. No passing test waits for it."""


class Holder:
    """A thread that takes a lock, reports it, and holds it until released."""

    def __init__(
        self, hold: Callable[[], AbstractContextManager[None]], turns: SimpleQueue[Holder] | None = None
    ) -> None:
        """`turns`: where it enters itself as soon as it holds the lock."""
        self.holds = threading.Event()
        self._turns = turns
        self.release = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(hold,), daemon=True)
        self.thread.start()

    def _run(self, hold: Callable[[], AbstractContextManager[None]]) -> None:
        with contextlib.suppress(KeyboardInterrupt), hold():
            self.holds.set()
            if self._turns is not None:
                self._turns.put(self)
            assert self.release.wait(DEADLOCK)

    def finish(self) -> None:
        self.release.set()
        self.thread.join(DEADLOCK)
        assert not self.thread.is_alive()


class ObservedLock(ReadersWriterLock):
    """Says when a thread begins to wait: it has asked for the lock, and does not hold it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = threading.Semaphore(0)
        self._interrupted: int | None = None
        wait = self._condition.wait

        def observed(timeout: float | None = None) -> bool:
            self.waits.release()
            woken = wait(timeout)
            if threading.get_ident() == self._interrupted:
                raise KeyboardInterrupt
            return woken

        self._condition.wait = observed  # type: ignore[method-assign]

    def await_waiter(self) -> None:
        assert self.waits.acquire(timeout=DEADLOCK)

    def interrupt_first_waiter(self, waiter: Holder) -> None:
        """Wake the thread that has waited longest, and no other, with a `KeyboardInterrupt`."""
        with self._condition:
            self._interrupted = waiter.thread.ident
            self._condition.notify(1)


@pytest.fixture
def lock() -> ObservedLock:
    return ObservedLock()


@contextmanager
def holding(hold: Callable[[], AbstractContextManager[None]]) -> Iterator[Holder]:
    holder = Holder(hold)
    assert holder.holds.wait(DEADLOCK)
    yield holder
    holder.finish()


def test_readers_hold_it_together(lock: ObservedLock) -> None:
    with holding(lock.read), holding(lock.read), lock.read():
        assert not lock.waits.acquire(blocking=False)


def test_a_writer_waits_for_every_reader(lock: ObservedLock) -> None:
    with holding(lock.read) as first, holding(lock.read) as second:
        writer = Holder(lock.write)
        lock.await_waiter()
        first.finish()
        lock.await_waiter()  # woken, and waiting again: the other one is at work
        assert not writer.holds.is_set()
        second.finish()
        assert writer.holds.wait(DEADLOCK)
        writer.finish()


@pytest.mark.parametrize("kind", ["read", "write"])
def test_nobody_enters_while_a_writer_is_at_work(lock: ObservedLock, kind: str) -> None:
    with holding(lock.write) as writer:
        other = Holder(getattr(lock, kind))
        lock.await_waiter()
        assert not other.holds.is_set()
        writer.finish()
        assert other.holds.wait(DEADLOCK)
        other.finish()


def test_readers_that_come_after_a_writer_wait_for_it(lock: ObservedLock) -> None:
    """Else a stream of readers would keep it waiting for ever."""
    with holding(lock.read) as early:
        writer = Holder(lock.write)
        lock.await_waiter()
        late = Holder(lock.read)
        lock.await_waiter()
        assert not late.holds.is_set()
        early.finish()
        assert writer.holds.wait(DEADLOCK)
        assert not late.holds.is_set()
        writer.finish()
        assert late.holds.wait(DEADLOCK)
        late.finish()


def test_all_readers_that_waited_for_a_writer_enter_together(lock: ObservedLock) -> None:
    with holding(lock.write) as writer:
        readers = [Holder(lock.read), Holder(lock.read)]
        lock.await_waiter()
        lock.await_waiter()
        writer.finish()
        for reader in readers:  # neither is released before both hold it
            assert reader.holds.wait(DEADLOCK)
        for reader in readers:
            reader.finish()


def test_every_waiting_writer_has_its_turn(lock: ObservedLock) -> None:
    turns: SimpleQueue[Holder] = SimpleQueue()
    with holding(lock.read) as reader:
        writers = {Holder(lock.write, turns), Holder(lock.write, turns)}
        lock.await_waiter()
        lock.await_waiter()
        reader.finish()
        first = turns.get(timeout=DEADLOCK)
        (second,) = writers - {first}
        assert not second.holds.is_set()
        first.finish()
        assert turns.get(timeout=DEADLOCK) is second
        second.finish()


@pytest.mark.parametrize("kind", ["read", "write"])
def test_an_error_releases_it(lock: ObservedLock, kind: str) -> None:
    with pytest.raises(ValueError, match="at work"), getattr(lock, kind)():
        raise ValueError("at work")
    with lock.write():
        pass
    with lock.read():
        assert not lock.waits.acquire(blocking=False)


def test_a_writer_that_stops_waiting_lets_readers_in(lock: ObservedLock) -> None:
    """As by a key pressed in a terminal: the reader that waited behind it must be woken."""
    with holding(lock.read):
        writer = Holder(lock.write)
        lock.await_waiter()
        late = Holder(lock.read)
        lock.await_waiter()
        lock.interrupt_first_waiter(writer)
        assert late.holds.wait(DEADLOCK)
        late.finish()
    assert not writer.holds.is_set()
