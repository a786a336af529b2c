"""A slide, read by a process of its own under limits of memory and time: what it holds nobody vouches for."""

from __future__ import annotations

import contextlib
import json
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from index_store.errors import SlideProblem
from index_store.files.process_limits import FREE, MEMORY, LimitedProcess, NotStarted
from index_store.slides.records import SlideInfo

SECONDS: Final = 60
"""That opening a slide, or reading a region, may take."""
Region = tuple[int, int, int, int, int, int]
"""x, y in pixels of level 0; width, height in pixels of the level; level; plane."""
LARGEST: Final = 16 * 1024**2
"""Pixels of the largest region."""
KIND: Final = "It is damaged, or of a kind that is not read here. Export it from the scanner's software again."
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
        self._process: LimitedProcess | None = None
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
        self._process.close()
        self._process = None

    def read_region(self, x: int, y: int, width: int, height: int, level: int = 0, plane: int = 0) -> NDArray[np.uint8]:
        """`uint8[height, width, 3]`, RGB, of `level`; (x, y) is the upper left corner in pixels of level 0.

        Raises:
            ValueError: no such level or plane, or a region of no pixel or of more than `LARGEST`.
            SlideProblem: a tile of the region is damaged, or it took too much memory or time. Other regions may be
                fine.
        """
        found = next(self._answers([(x, y, width, height, level, plane)]))
        if isinstance(found, SlideProblem):
            raise found
        return found

    def regions(self, requests: Sequence[Region]) -> Iterator[NDArray[np.uint8] | None]:
        """The uint8[height, width, 3] of each (x, y, width, height, level, plane), or None for what cannot be read.

        The next region is decoded while the caller looks at one.
        """
        for found in self._answers(requests):
            yield None if isinstance(found, SlideProblem) else found

    def _answers(self, requests: Sequence[Region]) -> Iterator[NDArray[np.uint8] | SlideProblem]:
        for _, _, width, height, level, plane in requests:
            if not (0 <= level < len(self.info.levels) and 0 <= plane < len(self.info.planes)):
                raise ValueError(f"no level {level} or plane {plane}")
            if width < 1 or height < 1 or width * height > LARGEST:
                raise ValueError(f"a region of {width} × {height} pixels")
        sent = 0
        for number, request in enumerate(requests):
            if self._process is None or sent <= number:
                problem = self._ready(request)
                if problem is not None:
                    yield problem
                    continue
                self._send(request)
                sent = number + 1
            if number + 1 < len(requests):
                self._send(requests[number + 1])
                sent = number + 2
            found = self._received(request)
            if self._process is None:
                sent = number + 1
            yield found

    def _ready(self, request: Region) -> SlideProblem | None:
        """Start the process where it ended, unless it did so too often or the slide is another one."""
        place = self._place(request)
        if self._ended >= ENDED:
            return SlideProblem(f"{place}: its reader failed {ENDED} times, and is not started again.")
        if self._process is not None:
            return None
        try:
            same = self._start() == self.info
        except SlideProblem as problem:
            self._ended = ENDED
            return problem
        if same:
            return None
        self.close()
        self._ended = ENDED
        return SlideProblem(f"{place}: the slide changed while it was read. Read it again.")

    def _place(self, request: Region) -> str:
        return f"{self.name} cannot be read at {request[0]}, {request[1]} of level {request[4]}"

    def _received(self, request: Region) -> NDArray[np.uint8] | SlideProblem:
        width, height = request[2:4]
        try:
            answer, pixels = self._answer(width * height * 3)
        except NotStarted as reason:
            return SlideProblem(f"{self._place(request)} ({reason}). {FREE}")
        if answer is None:
            assert self._process is not None
            what, advice = self._process.why_it_ended(memory=MEMORY, seconds=SECONDS)
            self._ended += 1
            self.close()
            return SlideProblem(f"{self._place(request)}: it {what}. {advice}".rstrip())
        if "unreadable" in answer:
            return SlideProblem(f"{self._place(request)}: the file is damaged there ({answer['unreadable']}).")
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)

    def _start(self) -> SlideInfo:
        try:
            self._process = LimitedProcess("index_store.slides.readers.slide_main", [str(self._path)])
            with self._process.within(SECONDS):
                self._process.check_started()
            answer, _ = self._answer(0)
        except NotStarted as reason:
            self.close()
            raise SlideProblem(
                f"{self.name} could not be opened, since no process could be started for it ({reason}). {FREE}"
            ) from reason
        if answer is None or "info" not in answer:
            if answer is None:
                what, advice = self._process.why_it_ended(memory=MEMORY, seconds=SECONDS)
                self.close()
                raise SlideProblem(f"{self.name} {what}. {advice or KIND}")
            self.close()
            raise SlideProblem(f"{self.name} {answer['what']}. {answer['advice']}")
        return SlideInfo.from_dict(answer["info"])

    def _send(self, request: Region) -> None:
        assert self._process is not None
        with contextlib.suppress(OSError):  # it ended: so does its answer
            self._process.input.write(json.dumps(request).encode() + b"\n")
            self._process.input.flush()

    def _answer(self, size: int) -> tuple[dict[str, Any] | None, bytes]:
        """The process's next answer and its pixels; None where it ends before that. Raises `NotStarted`."""
        process = self._process
        assert process is not None
        with process.within(SECONDS):
            try:
                answer = process.answer()
                if answer is None or "bytes" not in answer:
                    return answer, b""
                pixels = process.output.read(size) if answer["bytes"] == size else b""
            except (OSError, ValueError):  # its end within an answer
                return None, b""
            return (answer, pixels) if len(pixels) == size else (None, b"")
