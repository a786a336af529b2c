"""Progress: a bar on a terminal, a line now and then in a file, and nothing for quick work."""

from __future__ import annotations

import io
import sys

import pytest

from ui.commands.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_quick_work_in_a_pipe_stays_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Adding", unit="images") as draw:
        for done in range(1, 101):
            draw(done, 100)
    assert capsys.readouterr() == ("", "")


def test_long_work_in_a_pipe_writes_lines_with_rate_and_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Adding", unit="images", seconds=0) as draw:
        draw(1, 4)
        draw(4, 4)
    out, err = capsys.readouterr()
    assert out == ""
    first, last = err.splitlines()
    assert first.startswith("Adding: 1/4 images (25 %), ")
    assert last.startswith("Adding: 4/4 images (100 %), ")
    assert "images/s, about 00:00 left" in last
    assert "\r" not in err


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("Adding", unit="images") as draw:
        draw(2, 4)
        draw(4, 4)
    assert "\rAdding: " in terminal.getvalue()
    assert terminal.getvalue().endswith("\r"), "the bar stays on the screen after the work"


def test_a_note_stands_beside_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Training", unit="steps", seconds=0) as draw:
        draw(1, 4)
        draw(2, 4, "loss 0.5")
    assert capsys.readouterr().err.splitlines()[1].endswith(" left, loss 0.5")


def test_the_rate_counts_from_the_first_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was done before, or while models loaded, is no part of it."""
    clock = iter([100.0, 102.0])
    monkeypatch.setattr("ui.commands.progress.time.monotonic", lambda: next(clock))
    with progress("Adding", unit="images", seconds=1) as update:
        update(10, 30)
        update(20, 30)
    assert "20/30 images (67 %),  5.00images/s" in capsys.readouterr().err


def test_a_bar_stands_where_the_work_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress("Adding", unit="images") as update:
        bar = update.__closure__[0].cell_contents  # type: ignore[attr-defined]
        for done in (3, 5, 9):
            update(done, 10 + done)
            assert (bar.n, bar.total) == (done, 10 + done)
