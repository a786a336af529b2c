"""A slide, read by a process of its own under limits of memory and time: what it holds nobody vouches for."""

from __future__ import annotations

import contextlib
import json
import stat
import struct
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from index_store.errors import SlideProblem
from index_store.files.process_limits import single_threaded_environment
from index_store.slides.records import SlideInfo

SECONDS: Final = 60
"""That opening a slide, or reading a region, may take."""
LARGEST: Final = 16 * 1024**2
"""Pixels of the largest region."""
ENDED: Final = 3
"""After so many regions at which its process ended or was too slow, a slide is read no more."""


class Slide:
    """One open slide; use it in a `with` statement. Not for several threads at once.

    Raises:
        SlideProblem: it is no slide, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path.absolute()
        self._ended = 0
        self._process: subprocess.Popen[bytes] | None = None
        try:
            kind = self._path.stat().st_mode
        except OSError as error:
            raise SlideProblem(f"{self.name} cannot be read ({error.strerror}): check that it is there.") from error
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise SlideProblem(f"{self.name} is neither a file nor a folder: name a slide.")
        self.info: SlideInfo = self._start()

    def __enter__(self) -> Slide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the slide's process."""
        if self._process is None:
            return
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # it ended before it had read what was written
                    pipe.close()
        self._process.wait()
        self._process = None

    def read_region(self, x: int, y: int, width: int, height: int, level: int = 0, plane: int = 0) -> NDArray[np.uint8]:
        """`uint8[height, width, 3]`, RGB, of `level`; (x, y) is the upper left corner in pixels of level 0.

        Raises:
            ValueError: no such level or plane, or a region of no pixel or of more than `LARGEST`.
            SlideProblem: a tile of the region is damaged, or it took too much memory or time. Other regions may be
                fine.
        """
        if not (0 <= level < len(self.info.levels) and 0 <= plane < len(self.info.planes)):
            raise ValueError(f"no level {level} or plane {plane}")
        if width < 1 or height < 1 or width * height > LARGEST:
            raise ValueError(f"a region of {width} × {height} pixels")
        place = f"{self.name} cannot be read at {x}, {y} of level {level}"
        if self._ended >= ENDED:
            raise SlideProblem(f"{place}: its reader failed {ENDED} times, and is not started again.")
        if self._process is None and self._start() != self.info:
            self.close()
            self._ended = ENDED
            raise SlideProblem(f"{place}: the slide changed while it was read. Read it again.")
        answer, pixels = self._asked([x, y, width, height, level, plane], width * height * 3)
        if answer is None:
            self._ended += 1
            self.close()
            raise SlideProblem(f"{place}: it takes more memory than the limit or more than {SECONDS} s.")
        if "unreadable" in answer:
            raise SlideProblem(f"{place}: the file is damaged there ({answer['unreadable']}).")
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)

    def _start(self) -> SlideInfo:
        command = [sys.executable, "-X", "utf8", "-m", "index_store.slides.slide_main", str(self._path)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=single_threaded_environment(),
        )
        answer, _ = self._asked(None, 0)
        if answer is None or "info" not in answer:
            self.close()
            if answer is None:
                raise SlideProblem(
                    f"{self.name} takes more memory than the limit or more than {SECONDS} s to open: it is damaged, or "
                    "of a kind that is not read here. Export it from the scanner's software again."
                )
            raise SlideProblem(f"{self.name} {answer['what']}. {answer['advice']}")
        return SlideInfo.from_dict(answer["info"])

    def _asked(self, request: list[int] | None, size: int) -> tuple[dict[str, Any] | None, bytes]:
        """The process's answer to a request (None: to its start) and its pixels; None where it ends before that."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        try:
            if request is not None:
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
            head = process.stdout.read(4)
            text = process.stdout.read(struct.unpack(">I", head)[0]) if len(head) == 4 else b""
            answer = json.loads(text) if text else None
            if answer is None or "bytes" not in answer:
                return answer, b""
            pixels = process.stdout.read(size) if answer["bytes"] == size else b""
            return (answer, pixels) if len(pixels) == size else (None, b"")
        except (OSError, ValueError):  # its end within a write, or within an answer
            return None, b""
        finally:
            timer.cancel()
