"""Pickled weights read in this process, for tests of what is made of them: a process of their own imports torch anew.
That process and its limits are what `tests/generation/model/test_pickled.py` tests."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import SimpleNamespace
from typing import Any

import pytest

from generation.model import pickled, pickled_child


@contextmanager
def pickled_here() -> Iterator[None]:
    """The child's work without the child, and without its limits, which could not be raised again."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        with redirect_stdout(io.StringIO()) as told:
            pickled_child.main(*command[-5:])
        return subprocess.CompletedProcess(command, 0, stdout=told.getvalue().encode())

    here = SimpleNamespace(run=run, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pickled, "subprocess", here)
        patch.setattr(pickled_child, "limit", lambda *_: None)
        yield
