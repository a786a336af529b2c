"""Pickled weights read in this process, for tests of what is made of them: a process of their own imports torch anew.
That process and its limits are what `tests/generation/model/test_pickled.py` tests."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from generation.model import pickled, pickled_child


@contextmanager
def pickled_here() -> Iterator[None]:
    """The child's work without the child."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        source, target = map(Path, command[-5:-3])
        try:
            result: dict[str, Any] = {"left_out": pickled_child.convert(source, target)}
        except Exception as error:  # noqa: BLE001  # as the child tells whatever the file provokes
            result = {"error": [f"{type(error).__name__}: {error}"]}
        return subprocess.CompletedProcess(command, 0, stdout=json.dumps(result).encode())

    here = SimpleNamespace(run=run, DEVNULL=subprocess.DEVNULL, TimeoutExpired=subprocess.TimeoutExpired)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pickled, "subprocess", here)
        yield
