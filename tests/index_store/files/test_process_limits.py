"""Limits of time: what takes the processor too long is ended, and a busy machine is no fault of the file's."""

from __future__ import annotations

import contextlib
import threading

import pytest

from index_store.files.process_limits import PATIENCE, LimitedProcess


class Expires(threading.Event):
    """Never set, and waited for without waiting."""

    waited = 0

    def wait(self, timeout: float | None = None) -> bool:
        self.waited += 1
        return False


@pytest.mark.parametrize(("share", "rounds"), [(1.0, 1), (0.2, 3), (0.0, PATIENCE)])
def test_who_waits_for_a_processor_is_given_time(share: float, rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has a share of a processor is ended after as many rounds of 60 s."""
    done = Expires()
    with contextlib.closing(LimitedProcess("index_store.files.decode_one")) as process:
        monkeypatch.setattr(process, "_processor_seconds", lambda: 60 * share * done.waited)
        process._end_slow(60, done)
        assert done.waited == rounds
        assert "more than 60 s" in process.why_it_ended(memory=2**30, seconds=60)[0]


def test_a_process_says_how_long_it_has_computed() -> None:
    with contextlib.closing(LimitedProcess("index_store.files.decode_one")) as process:
        assert 0 <= process._processor_seconds() < 60
