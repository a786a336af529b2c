"""The reviews of one user of one archive, in a folder for the owner alone: a JSON file each, and the queries that found
their cases.

Each change reads the file, changes one thing and writes it whole, under a lock: two tabs of a user do not undo each
other's changes, and a process that is killed leaves the file as it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from ui.errors import ReviewError
from ui.review.records import TICKS, Found, Pin, Review, review_from_dict, review_to_dict

if TYPE_CHECKING:
    from retrieval import Query, SavedQueries

LONGEST_NAME: Final = 80
LONGEST_NOTE: Final = 20_000
MOST_CASES: Final = 500
MAX_BYTES: Final = 64 * 1024**2
PATIENCE: Final = 30.0
"""Seconds to wait for a change in another tab."""


class Reviews:
    """The reviews of a user. Safe for many threads and processes.

    Names are texts of any kind, a user's too: files are named by their hashes.
    """

    def __init__(self, folder: Path | str, user: str) -> None:
        """`folder`: of all users' reviews of one archive."""
        self.user = user
        self.folder = Path(folder) / hashed(user)

    @property
    def queries(self) -> SavedQueries:
        """The queries that found pinned cases, by the names in `Found.query`."""
        from retrieval import SavedQueries

        return SavedQueries(self.folder / "queries")

    def names(self) -> tuple[str, ...]:
        """The names of the reviews, the last changed first."""
        paths = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return tuple(self._read(path).name for path in paths)

    def __contains__(self, name: str) -> bool:
        return self._path(name).is_file()

    def load(self, name: str) -> Review:
        """Raises ReviewError where there is none of that name, or its file is none."""
        path = self._path(name)
        if not path.is_file():
            known = ", ".join(self.names()) or "none yet"
            raise ReviewError(f"{self.user} has no review '{name}' (there is: {known}).")
        return self._read(path)

    def create(self, name: str) -> Review:
        """A new review without cases. Raises ReviewError where the name is taken or cannot be one."""
        name = " ".join(name.split())
        if not name or len(name) > LONGEST_NAME:
            raise ReviewError(f"A review needs a name of 1 to {LONGEST_NAME} characters.")
        with self._locked():
            if self._path(name).exists():
                raise ReviewError(f"There is a review '{name}' already: choose another name.")
            return self._write(Review(name, self.user))

    def delete(self, name: str) -> None:
        """Forget a review with its notes, and the queries that no other one needs. Raises as `load`."""
        with self._locked():
            self.load(name)
            self._path(name).unlink()
            needed = {
                pin.found.query
                for other in map(self.load, self.names())
                for pin in (*other.pins, *other.unpinned)
                if pin.found is not None
            }
            for query in set(self.queries.names()) - needed:
                self.queries.delete(query)

    def keep_query(self, query: Query) -> str:
        """Keep the query that found a case; returns its name, which is the same for the same query."""
        from retrieval import query_event

        name = str(query_event(query)["query"])
        if name not in self.queries.names():
            self.queries.save(name, query, replace=True)
        return name

    def pin(self, name: str, case: str, found: Found | None = None) -> Review:
        """Pin a case at the end; one that had been pinned before has its note and ticks again. Raises as `load`."""

        def change(review: Review) -> Review:
            if review.pin_of(case) is not None:
                return review
            if len(review.pins) >= MOST_CASES:
                raise ReviewError(f"A review holds at most {MOST_CASES} cases: begin another one.")
            known = next((pin for pin in review.unpinned if pin.case == case), Pin(case, _now()))
            pin = replace(known, found=found or known.found)
            others = tuple(pin for pin in review.unpinned if pin.case != case)
            return replace(review, pins=(*review.pins, pin), unpinned=others)

        return self._change(name, change)

    def unpin(self, name: str, case: str) -> Review:
        """Take a case from the tray; its note is kept. Raises as `load`."""

        def change(review: Review) -> Review:
            taken = tuple(pin for pin in review.pins if pin.case == case)
            left = tuple(pin for pin in review.pins if pin.case != case)
            return replace(review, pins=left, unpinned=(*review.unpinned, *taken))

        return self._change(name, change)

    def move(self, name: str, case: str, by: int) -> Review:
        """Move a case by so many places; at an end it stays. Raises as `load`."""

        def change(review: Review) -> Review:
            pins = list(review.pins)
            at = next((number for number, pin in enumerate(pins) if pin.case == case), None)
            if at is None:
                return review
            pin = pins.pop(at)
            pins.insert(max(0, at + by), pin)
            return replace(review, pins=tuple(pins))

        return self._change(name, change)

    def tick(self, name: str, case: str, ticks: tuple[str, ...]) -> Review:
        """Replace what is ticked of a case. Raises as `load`, and for a tick that there is not."""
        if unknown := set(ticks) - set(TICKS):
            raise ReviewError(f"'{', '.join(sorted(unknown))}' cannot be ticked: choose among {', '.join(TICKS)}.")
        chosen = tuple(tick for tick in TICKS if tick in ticks)
        return self._change_pin(name, case, lambda pin: replace(pin, ticks=chosen))

    def write_note(self, name: str, text: str, *, case: str = "", base: str = "") -> str:
        """Write the note on a case, or on the whole where none is named.

        Args:
            base: the note that was on the screen when `text` was written. Where another is stored by now, written in
                another tab, both are kept, one below the other.

        Returns:
            The note as it is stored.

        Raises:
            ReviewError: as of `load`; it is too long, or the case is not pinned.
        """
        stored = ""

        def merged(known: str) -> str:
            nonlocal stored
            stored = text if known in (base, text) else f"{known}\n\n{text}".strip()
            if len(stored) > LONGEST_NOTE:
                raise ReviewError(f"The note has {len(stored):,} characters, at most {LONGEST_NOTE:,} are kept.")
            return stored

        if case:
            self._change_pin(name, case, lambda pin: replace(pin, note=merged(pin.note)))
        else:
            self._change(name, lambda review: replace(review, note=merged(review.note)))
        return stored

    def _change_pin(self, name: str, case: str, change: Callable[[Pin], Pin]) -> Review:
        def changed(review: Review) -> Review:
            if case not in {pin.case for pin in (*review.pins, *review.unpinned)}:
                raise ReviewError(f"The case '{case}' is not in the review '{name}': pin it first.")
            # Also of one that was taken from the tray in another tab meanwhile: what is written is kept.
            pins, unpinned = (
                tuple(change(pin) if pin.case == case else pin for pin in kept)
                for kept in (review.pins, review.unpinned)
            )
            return replace(review, pins=pins, unpinned=unpinned)

        return self._change(name, changed)

    def _change(self, name: str, change: Callable[[Review], Review]) -> Review:
        with self._locked():
            return self._write(change(self.load(name)))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from generation import private_folder

        private_folder(self.folder)
        try:
            with FileLock(self.folder / "reviews.lock", timeout=PATIENCE, mode=0o600):
                yield
        except Timeout as error:
            raise ReviewError("Another process is writing this user's reviews. Try again.") from error

    def _write(self, review: Review) -> Review:
        from generation import write_atomic

        data = json.dumps(review_to_dict(review), ensure_ascii=False, indent=1).encode(errors="replace")
        write_atomic(self._path(review.name), data)
        return review

    def _read(self, path: Path) -> Review:
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError("it is too large")
            return review_from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ReviewError(
                f"A review of {self.user} cannot be read ({error}). Restore or move away its file: {path}."
            ) from error

    def _path(self, name: str) -> Path:
        return self.folder / f"{hashed(name)}.json"


def hashed(name: str) -> str:
    """What a user or a review is called in a folder: any text can be a name."""
    return hashlib.sha256(name.encode(errors="replace")).hexdigest()[:32]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
