"""An append-only file of events, each with the hash of the one before: who searched for what, and what was shown.

    <folder>/<archive's id>.jsonl      one JSON object a line (see `chain`)

**Whoever may write the file can also write a new chain; and without its last lines it is a shorter whole one.** Against
both, note the newest hash elsewhere now and then (`verify` compares), or keep the file where its writers can only
append.

A line is on disk before `record` returns. A write that a crash cut short is followed, at the next event, by an event
`recovered` with the fragment's hash. `prune` removes the oldest events and leaves an anchor in their place: the number
and hash of the last one removed, which a `pruned` event in the chain confirms.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

from filelock import FileLock, Timeout

from generation.atomic_write import private_folder
from retrieval.audit.chain import (
    FORM,
    AuditState,
    Event,
    from_line,
    origin_hash,
    sealed,
    sha256,
    timestamp,
    to_line,
    verify_chain,
)
from retrieval.errors import AuditError

LOCK_SECONDS: Final = 10.0
_TAIL: Final = 1 << 16
"""Bytes at the end of the file that are read first to find the newest event."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class AuditLog:
    """The audit log of one archive. Safe for many threads and processes: each event is written under a lock.

    Raises `AuditError` where it cannot be written or is damaged: what cannot be audited must not be answered.
    """

    def __init__(
        self, folder: Path | str, archive: str, *, keep_days: int = 0, clock: Callable[[], datetime] = _utc_now
    ) -> None:
        """
        Args:
            folder: of the log files.
            archive: the archive's id.
            keep_days: older events are removed once a day; 0 keeps all.
            clock: the time of an event, with its zone.
        """
        self.path = Path(folder) / f"{archive}.jsonl"
        self._origin = origin_hash(archive)
        self._keep = timedelta(days=keep_days)
        self._clock = clock
        self._pruned_on: object = None

    def record(self, event: str, **fields: object) -> None:
        """Append an event, durably. `fields` are plain JSON values; time and number are added here."""
        with self._locked(create=True):
            now = self._clock()
            if self._keep and self._pruned_on != now.date():
                self._prune(now - self._keep, user="retention")
                self._pruned_on = now.date()
            self._append({"event": event, **fields})

    def events(self) -> Iterator[Event]:
        """The events in the file, oldest first; anchors and fragments are left out, and nothing is checked."""
        for line in self._lines():
            event = from_line(line)
            if event is not None and "seq" in event:
                yield event

    def verify(self, *, expected: tuple[int, str] | None = None) -> AuditState:
        """Follow the chain from its beginning. `expected` is the number and hash of an event, noted earlier. Needs no
        right to write; an event that is just being written looks cut short."""
        self._must_exist()
        return verify_chain(self._lines(), self._origin, expected=expected)

    def prune(self, before: datetime, *, user: str) -> int:
        """Remove the events before a time (from the beginning, up to the first that is not); returns how many."""
        with self._locked():
            return self._prune(before, user=user)

    # Under the lock

    def _append(self, fields: Event) -> None:
        last, fragment = self._end()
        entries: list[Event] = []
        if fragment and from_line(fragment) is None:
            entries.append({"event": "recovered", "bytes": len(fragment), "lost": sha256(fragment)})
        data = b"\n" if fragment else b""
        seq, previous = (last["seq"], last["hash"]) if last else (0, self._origin)
        for entry in [*entries, fields]:
            seq += 1
            when = timestamp(self._clock())
            line, previous = sealed({"seq": seq, "time": when, **entry, "chain": FORM, "previous": previous})
            data += line
        with self._explained():
            # Not through a buffer: one write, which the operating system puts at the end whoever else writes.
            is_new = not self.path.exists()
            descriptor = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600
            )
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                self._sync_folder()

    def _end(self) -> tuple[Event | None, bytes]:
        """The newest event (or an anchor in its place), and what a crash left behind it."""
        if not self.path.exists():
            return None, b""
        with self._explained(), self.path.open("rb") as file:
            *whole, fragment = _last_lines(file)
        # All of the newest event but its newline may have come to the disk: then it counts.
        lines = [*whole, *([fragment] if from_line(fragment) else [])]
        if not lines:
            return None, fragment
        entry = from_line(lines[-1])
        if entry is None:
            raise AuditError(
                f"The audit log {self.path} is damaged at its end. Nothing is answered unrecorded: look at it with "
                "`coin audit`, then move it away."
            )
        newest: Event = entry if "seq" in entry else entry["anchor"]
        return newest, fragment

    def _prune(self, before: datetime, *, user: str) -> int:
        removed = 0
        through: Event | None = None
        for event in self.events():
            if event["time"] >= timestamp(before):
                break
            removed, through = removed + 1, event
        if through is None:
            return 0
        anchor = {"seq": through["seq"], "hash": through["hash"]}
        # The chain announces it first: a crash before the file is replaced leaves a whole log and an announcement.
        self._append({"event": "pruned", "user": user, "removed": removed, "through": anchor})
        kept = self._lines()
        for line in kept:
            if (from_line(line) or {}).get("seq") == through["seq"]:
                break
        unfinished = self.path.with_name(f"{self.path.name}.tmp")
        with self._explained():
            mode = self.path.stat().st_mode & 0o777
            unfinished.unlink(missing_ok=True)
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(to_line({"anchor": anchor}))
                file.writelines(kept)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.path)
            self._sync_folder()
        return removed

    def _lines(self) -> Iterator[bytes]:
        if self.path.exists():
            with self._explained(), self.path.open("rb") as file:
                yield from file

    def _sync_folder(self) -> None:
        from index_store.atomic_write import sync_folder

        sync_folder(self.path.parent)

    def _must_exist(self) -> None:
        if not self.path.exists():
            raise AuditError(f"There is no audit log {self.path}: nothing was recorded for this archive there.")

    @contextmanager
    def _locked(self, *, create: bool = False) -> Iterator[None]:
        with self._explained():
            if create:
                private_folder(self.path.parent)
            else:
                self._must_exist()
            lock = FileLock(f"{self.path}.lock", mode=0o600)
            try:
                lock.acquire(timeout=LOCK_SECONDS)
            except Timeout as error:
                raise AuditError(f"The audit log {self.path} is locked by another process. Try again.") from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise AuditError(
                f"The audit log {self.path} cannot be written or read ({reason}). Nothing is answered unrecorded: "
                "check the folder, or switch the log off (COIN_AUDIT)."
            ) from error


def _last_lines(file: BinaryIO) -> list[bytes]:
    """The lines at the end of a file: the first may be cut, then at least a whole one where there is one; the last is
    what no newline ends."""
    size = file.seek(0, os.SEEK_END)
    length = _TAIL
    while True:
        file.seek(max(0, size - length))
        lines = file.read().split(b"\n")
        if length >= size or len(lines) > 2:
            return lines
        length *= 4
