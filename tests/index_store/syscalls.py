"""Counting a process's file operations, and killing it at one of them: the Python side of syscalls.c."""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COUNT, BEFORE, AFTER, TORN = range(4)
SOURCE = Path(__file__).with_name("syscalls.c")


@dataclass(frozen=True)
class Step:
    """One operation on a file."""

    name: str
    """ "write", "fsync", "rename", "unlink", "truncate", "mkdir" or "rmdir"."""
    path: Path
    other: Path | None
    """Where a rename leads."""


@functools.cache
def library() -> Path | None:
    """The built library; None where it cannot be built (no Linux, no C compiler)."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    folder = Path(tempfile.mkdtemp(prefix="syscalls-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    built = folder / "syscalls.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", built, SOURCE, "-ldl", "-lpthread"]
    return built if subprocess.run(command, capture_output=True, check=False).returncode == 0 else None


@contextmanager
def preloaded() -> Iterator[None]:
    """Processes that are started within have the library, asleep."""
    built, before = library(), os.environ.get("LD_PRELOAD")
    if built is not None:
        os.environ["LD_PRELOAD"] = f"{built} {before}" if before else str(built)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("LD_PRELOAD", None)
        else:
            os.environ["LD_PRELOAD"] = before


def arm(folder: Path, *, step: int = 0, how: int = COUNT, trace: Path | None = None) -> None:
    """From now on, count this process's operations below `folder`; kill it before, after or in the middle of one."""
    ctypes.CDLL(None).syscalls_arm(
        os.fsencode(folder), ctypes.c_long(step), ctypes.c_int(how), None if trace is None else os.fsencode(trace)
    )


def disarm() -> None:
    ctypes.CDLL(None).syscalls_disarm()


def read_trace(path: Path) -> list[Step]:
    steps = []
    for line in path.read_text().splitlines():
        name, first, other = line.split("\t")
        steps.append(Step(name, Path(first), Path(other) if other else None))
    return steps
