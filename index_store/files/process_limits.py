"""Limits of memory and time for a process that decodes what nobody vouches for."""

from __future__ import annotations

import os
import sys


def limit_this_process(memory: int, seconds: int) -> None:
    """Limit this process to `memory` bytes of addresses and `seconds` of the processor's time, and let it dump no core.

    Where the system can (it cannot on Windows, and macOS refuses a limit of address space).
    """
    try:
        import resource
    except ImportError:
        return
    for limit, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(limit)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(limit, (most, most))
        except (ValueError, OSError):
            continue


def single_threaded_environment() -> dict[str, str]:
    """The environment for such a process: this one's packages, and no threads, whose stacks count as addresses."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return environment
