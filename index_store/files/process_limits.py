"""Limits of memory and time for a process that decodes what nobody vouches for."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Final

MEMORY: Final = 1024**3
"""Bytes of address space of a process that decodes. Python and its libraries take 200 MB of it for a picture, 270 for a
slide."""
FREE: Final = "Free processes and memory on this machine, then repeat."
"""What to do where a process could not be started, or was ended by others."""
PATIENCE: Final = 5
"""By how much longer a process may take that waits for the processor: a busy machine is no fault of the file's."""
NO_MEMORY: Final = 3
"""The status with which such a process ends that met its limit of memory."""


class NotStarted(Exception):
    """No process could be started; says why, in words that continue "could not be started"."""


class LimitedProcess:
    """A module of this package as a process of its own, with its input and output connected. For one thread."""

    def __init__(self, module: str, arguments: Sequence[str] = ()) -> None:
        """Raises `NotStarted`."""
        self._too_slow = False
        self._feeder: threading.Thread | None = None
        try:
            running = subprocess.Popen(
                [sys.executable, "-X", "utf8", "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=single_threaded_environment(),
            )
        except OSError as error:  # too many processes, no memory, no interpreter
            raise NotStarted(error.strerror) from error
        assert running.stdin is not None
        assert running.stdout is not None
        self.running, self.input, self.output = running, running.stdin, running.stdout

    def close(self) -> None:
        """End the process."""
        self.running.kill()
        if self._feeder is not None:
            self._feeder.join()
        for pipe in (self.input, self.output):
            with contextlib.suppress(OSError):  # it ended before it had read what was written
                pipe.close()
        self.running.wait()

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """End the process where what is done here takes longer, or `PATIENCE` times as long where the process has less
        than half of a processor. Raises `NotStarted`."""
        done = threading.Event()
        watcher = threading.Thread(target=self._end_slow, args=(seconds, done), daemon=True)
        with _thread_problem():
            watcher.start()
        try:
            yield
        finally:
            done.set()

    def feed(self, data: bytes) -> None:
        """Write all of its input, while its output is read. Raises `NotStarted`."""
        feeder = threading.Thread(target=self._write, args=(data,), daemon=True)
        with _thread_problem():
            feeder.start()
        self._feeder = feeder

    def answer(self) -> dict[str, Any] | None:
        """The next answer of the process; None where it ended before that."""
        head = self.output.read(4)
        if len(head) < 4:
            return None
        answer: dict[str, Any] = json.loads(self.output.read(struct.unpack(">I", head)[0]))
        return answer

    def check_started(self) -> None:
        """Raise `NotStarted` where it ended before it said that it had started: what it was to read is not to blame."""
        if self.answer() is None and not self._too_slow:
            raise NotStarted(f"it ended with status {self.running.wait()}")

    def why_it_ended(self, *, memory: int, seconds: float) -> tuple[str, str]:
        """Why the process ended without an answer, in words that continue the name of a file, and what to do."""
        status = self.running.wait()
        if self._too_slow or status == -getattr(signal, "SIGXCPU", 0):
            return f"would take more than {seconds:g} s to decode", ""
        if status == NO_MEMORY:
            return f"would take more than {memory // 1024**2} MB to decode", ""
        if status == -getattr(signal, "SIGKILL", 0):
            return "could not be decoded: its process was ended by the system or by somebody", FREE
        if status < 0:
            name = signal.Signals(-status).name
            return f"broke its decoder ({name}): it is damaged, or takes more than {memory // 1024**2} MB", ""
        return f"could not be decoded: its process ended with status {status}", FREE

    def _end_slow(self, seconds: float, done: threading.Event) -> None:
        before = self._processor_seconds()
        for _ in range(PATIENCE):
            if done.wait(seconds):
                return
            if self._processor_seconds() - before >= seconds / 2:
                break
        if self.running.poll() is None:
            self._too_slow = True
            self.running.kill()

    def _processor_seconds(self) -> float:
        """That the process has taken; of a system that does not say it, those of the clock."""
        try:
            # Linux: the clock of a process's processor time, as clock_getcpuclockid(3) numbers it.
            return time.clock_gettime((~self.running.pid << 3) | 2)
        except (AttributeError, OSError, OverflowError):  # another system, or the process has ended
            return time.monotonic()

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # it ended before it had read all: its answer says why
            self.input.write(data)
            self.input.close()


@contextlib.contextmanager
def _thread_problem() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # no further thread
        raise NotStarted(str(error)) from error


def say(out: IO[bytes], answer: Mapping[str, Any]) -> None:
    """Write an answer within such a process."""
    text = json.dumps(answer).encode()
    out.write(struct.pack(">I", len(text)) + text)
    out.flush()


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
