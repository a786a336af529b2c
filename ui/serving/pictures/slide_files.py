"""The whole slides that the view may open: those in one folder, found by what they hold.

An archive keeps no path of a slide, only its fingerprint. Nothing outside the folder is opened.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ui.serving.pictures.deep_zoom import read_part, read_tile

if TYPE_CHECKING:
    from index_store import Slide, SlideInfo

MOST_OPEN: Final = 4
"""Slides whose processes are kept; each may take a gigabyte."""
MOST_FILES: Final = 5_000
"""Files of the folder that are looked at."""
SECONDS: Final = 20.0
"""For which slides of other names are opened to find one; those that were looked at are known next time."""
_Stamp = tuple[int, int, int]


class _Open:
    """A slide's process, used by one thread at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.slide: Slide | None = None
        self.ended = False

    def close(self) -> None:
        with self.lock:
            self.ended = True
            if self.slide is not None:
                self.slide.close()


class SlideFiles:
    """The slides of a folder and its sub-folders. Threads share it."""

    def __init__(self, folder: str | None) -> None:
        """`folder` None: no slide is opened."""
        self._folder = None if folder is None else Path(folder).resolve()
        self._lock = threading.Lock()
        self._known: dict[tuple[Path, _Stamp], str] = {}
        self._is_slide: dict[tuple[Path, _Stamp], bool] = {}
        self._open: OrderedDict[str, _Open] = OrderedDict()

    def names(self) -> dict[str, Path]:
        """The slides that are there, by their paths within the folder."""
        if self._folder is None or not self._folder.is_dir():
            return {}
        found: dict[Path, str] = {}
        for path in sorted(islice(self._folder.rglob("*"), MOST_FILES)):
            # A DICOM series is its folder; its files are none of their own.
            if not path.is_symlink() and found.keys().isdisjoint(path.parents) and self._is_a_slide(path):
                found[path] = path.relative_to(self._folder).as_posix()
        return {name: path for path, name in found.items()}

    def _is_a_slide(self, path: Path) -> bool:
        """Each file is opened for it once: the pages ask at every run."""
        from index_store import SlideProblem, is_slide

        try:
            key = path, _stamp(path)
        except SlideProblem:  # gone meanwhile
            return False
        if key not in self._is_slide:
            self._is_slide[key] = is_slide(path)
        return self._is_slide[key]

    def fingerprint_of(self, path: Path) -> str:
        """The fingerprint of a slide of the folder.

        Raises:
            index_store.SlideProblem: it cannot be opened, or lies elsewhere.
        """
        from index_store import Slide, SlideProblem

        path = path.resolve()
        if self._folder is None or not path.is_relative_to(self._folder):
            raise SlideProblem(f"{path.name} lies outside the folder of slides that this view may open (--slides).")
        key = path, _stamp(path)
        if key not in self._known:
            self._known[key] = ""  # stays so where it cannot be opened
            with Slide(path) as slide:
                self._known[key] = slide.info.fingerprint
        if not self._known[key]:
            raise SlideProblem(f"{path.name} could not be opened as a slide.")
        return self._known[key]

    def find(self, fingerprint: str, name: str = "") -> Path:
        """Where a slide lies; looked for by its name first.

        Raises:
            index_store.SlideProblem: it is not there.
        """
        from index_store import SlideProblem

        if self._folder is None:
            raise SlideProblem(
                "This view knows no folder of slides: name one with --slides (COIN_SLIDES), and slides open at their "
                "fields' places."
            )
        for (path, stamp), known in list(self._known.items()):
            if known == fingerprint and _is(path, stamp):
                return path
        paths = sorted(self.names().values(), key=lambda path: path.stem != name)
        until = time.monotonic() + SECONDS
        for number, path in enumerate(paths):
            if time.monotonic() > until:
                raise SlideProblem(
                    f"The slide was not found by its name, nor among {number} of the {len(paths)} slides in the folder "
                    "of this view. Try again: the search goes on where it ended."
                )
            with contextlib.suppress(SlideProblem):
                if self.fingerprint_of(path) == fingerprint:
                    return path
        raise SlideProblem(
            "The slide is not in the folder of slides any more: it was moved, renamed elsewhere or changed. Its fields "
            "are in the archive all the same."
        )

    def described(self, fingerprint: str, name: str = "") -> SlideInfo:
        """Size, scale and levels of a slide. Raises as `find` does."""
        with self._opened(fingerprint, name) as slide:
            return slide.info

    def tile(self, fingerprint: str, plane: int, level: int, x: int, y: int) -> bytes:
        """A Deep Zoom tile as JPEG. Raises as `find` and `read_tile` do."""
        with self._opened(fingerprint) as slide:
            return read_tile(slide, level, x, y, plane)

    def region(self, fingerprint: str, plane: int, box: tuple[int, int, int, int]) -> bytes:
        """A part of a slide as one JPEG. Raises as `find` and `read_part` do."""
        with self._opened(fingerprint) as slide:
            return read_part(slide, box, plane)

    def close(self) -> None:
        """End the processes of all slides."""
        with self._lock:
            entries = list(self._open.values())
            self._open.clear()
        for entry in entries:
            entry.close()

    @contextlib.contextmanager
    def _opened(self, fingerprint: str, name: str = "") -> Iterator[Slide]:
        from index_store import Slide

        path = self.find(fingerprint, name)
        while True:
            entry, others = self._entry(fingerprint)
            for other in others:
                other.close()
            with entry.lock:
                if entry.ended:  # closed between the two locks: another one is made
                    continue
                if entry.slide is None:
                    entry.slide = Slide(path)
                yield entry.slide
                return

    def _entry(self, fingerprint: str) -> tuple[_Open, list[_Open]]:
        """The place of a slide's process, and those that were least used and have to go."""
        with self._lock:
            entry = self._open.pop(fingerprint, None) or _Open()
            self._open[fingerprint] = entry
            return entry, [self._open.popitem(last=False)[1] for _ in range(len(self._open) - MOST_OPEN)]


@functools.lru_cache(maxsize=8)
def slide_files(folder: str | None) -> SlideFiles:
    """The slides of a folder; one object for the pages and for the routes."""
    return SlideFiles(folder)


def _stamp(path: Path) -> _Stamp:
    from index_store import SlideProblem

    try:
        state = path.stat()
    except OSError as error:
        raise SlideProblem(f"{path.name} cannot be read ({error.strerror}): check that it is there.") from error
    return state.st_ino, state.st_size, state.st_mtime_ns


def _is(path: Path, stamp: _Stamp) -> bool:
    from index_store import SlideProblem

    with contextlib.suppress(SlideProblem):
        return _stamp(path) == stamp
    return False
