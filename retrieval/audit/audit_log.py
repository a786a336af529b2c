"""An append-only file of events, each holding the hash of the one before: who asked what, and what was shown.

    <folder>/<archive's id>.jsonl      one JSON object a line
    {"seq": 7, "time": "2026-11-26T01:02:03.456Z", "event": "query", …, "previous": "<of 6>", "hash": "<of 7>"}

`hash` is the SHA-256 of the line without it (keys sorted, no spaces). A line that is changed, removed or put in breaks
the chain at that place. **Whoever may write the file can also write a new chain; and lines cut off the end leave a
shorter whole one.** Against both, note the newest hash elsewhere now and then (`verify` compares), or keep the file
where its writers can only append.

A line is on disk before `record` returns. A write that a crash cut short is followed, at the next event, by one that
says so, with the fragment's hash. `prune` takes away the oldest events and leaves an anchor in their place: the number
and hash of the last one removed, which a `pruned` event in the chain confirms.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

from filelock import FileLock, Timeout

from index_store.atomic_write import sync_folder, write_durably
from retrieval.errors import AuditError

LOCK_SECONDS: Final = 10.0
_TAIL: Final = 1 << 16

Event = dict[str, Any]


@dataclass(frozen=True)
class AuditState:
    """What a log's chain says of itself."""

    events: int
    """That are in the file and in the chain."""
    first: int
    """Number of the oldest event in the file; 0 where there is none."""
    last: int
    """Number of the newest."""
    head: str
    """Hash of the newest: what to note elsewhere."""
    pruned: int
    """Events that were taken away, oldest first, and are vouched for by an anchor."""
    problem: str = ""
    """What is wrong, and on which line; empty where the chain is whole."""
    notes: tuple[str, ...] = ()
    """What is no fault: a write that a crash cut short, a removal that did not come to its end."""


class AuditLog:
    """The audit log of one archive. Safe for many threads and processes: each event is written under a lock.

    Raises `AuditError` where it cannot be written or is damaged: what cannot be audited must not be answered.
    """

    def __init__(self, folder: Path | str, archive: str, *, keep_days: int = 0) -> None:
        """`archive` is the archive's id. `keep_days`: older events are removed now and then; 0 keeps all."""
        self.path = Path(folder) / f"{archive}.jsonl"
        self._origin = hashlib.sha256(f"coin audit log of {archive}".encode()).hexdigest()
        self._keep = timedelta(days=keep_days)
        self._pruned_on: object = None

    def record(self, event: str, **fields: object) -> None:
        """Append an event, durably. `fields` are plain JSON values; times and numbers are added here."""
        with self._locked(make=True):
            today = datetime.now(UTC).date()
            if self._keep and self._pruned_on != today:
                self._prune(datetime.now(UTC) - self._keep, user="retention")
                self._pruned_on = today
            self._append({"event": event, **fields})

    def events(self) -> Iterator[Event]:
        """The events in the file, oldest first; anchors and fragments are left out, and nothing is checked."""
        for line in self._lines():
            entry = _parsed(line)
            if entry is not None and "seq" in entry:
                yield entry

    def verify(self, *, expected: tuple[int, str] | None = None) -> AuditState:
        """Follow the chain from its beginning. `expected` is the number and hash of an event, noted earlier. Needs no
        right to write; an event that is just being written looks cut short."""
        self._must_exist()
        return _Chain(self._origin, expected).follow(self._lines())

    def prune(self, before: datetime, *, user: str) -> int:
        """Take away the events before a time (from the beginning, up to the first that is not); returns how many."""
        with self._locked():
            return self._prune(before, user=user)

    # Under the lock

    def _append(self, fields: Event) -> None:
        last, fragment = self._end()
        entries: list[Event] = []
        if fragment and _parsed(fragment) is None:
            entries.append({"event": "recovered", "bytes": len(fragment), "lost": _sha256(fragment)})
        data = b"\n" if fragment else b""
        seq, previous = (last["seq"], last["hash"]) if last else (0, self._origin)
        for entry in [*entries, fields]:
            seq += 1
            line = {"seq": seq, "time": _now(), **entry, "previous": previous}
            previous = _hash(line)
            data += _line({**line, "hash": previous})
        with self._explained():
            # Not through a buffer: one write, which the operating system puts at the end whoever else writes.
            made = not self.path.exists()
            descriptor = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600
            )
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if made:
                sync_folder(self.path.parent)

    def _end(self) -> tuple[Event | None, bytes]:
        """The newest event (or an anchor in its place), and what a crash left behind it."""
        if not self.path.exists():
            return None, b""
        with self._explained(), self.path.open("rb") as file:
            *whole, fragment = _last_lines(file)
        # All of the newest event but the end of its line may have come to the disk: then it is there.
        lines = [line for line in [*whole, *([fragment] if _parsed(fragment) else [])] if line]
        if not lines:
            return None, fragment
        entry = _parsed(lines[-1])
        if entry is None or not {"seq", "hash"} <= set(entry.get("anchor", entry)):
            raise AuditError(
                f"The audit log {self.path} is damaged at its end. Nothing is answered unrecorded: look at it with "
                "`coin audit`, then move it away."
            )
        found: Event = entry.get("anchor", entry)
        return found, fragment

    def _prune(self, before: datetime, *, user: str) -> int:
        removed = 0
        through: Event | None = None
        for entry in self.events():
            if entry["time"] >= _written(before):
                break
            removed, through = removed + 1, entry
        if through is None:
            return 0
        anchor = {"seq": through["seq"], "hash": through["hash"]}
        # The chain says it first: a crash before the file is replaced leaves a whole log and an announcement.
        self._append({"event": "pruned", "user": user, "removed": removed, "through": anchor})
        kept = self._lines()
        for line in kept:
            if (_parsed(line) or {}).get("seq") == through["seq"]:
                break

        def write(file: BinaryIO) -> None:
            file.write(_line({"anchor": anchor}))
            file.writelines(kept)

        with self._explained():
            write_durably(self.path, write, mode=self.path.stat().st_mode & 0o777)
            sync_folder(self.path.parent)
        return removed

    def _lines(self) -> Iterator[bytes]:
        if self.path.exists():
            with self._explained(), self.path.open("rb") as file:
                yield from file

    def _must_exist(self) -> None:
        if not self.path.exists():
            raise AuditError(f"There is no audit log {self.path}: nothing was recorded for this archive there.")

    @contextmanager
    def _locked(self, *, make: bool = False) -> Iterator[None]:
        with self._explained():
            if make:
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            else:
                self._must_exist()
            lock = FileLock(f"{self.path}.lock")
            try:
                lock.acquire(timeout=LOCK_SECONDS)
            except Timeout as error:
                raise AuditError(f"The audit log {self.path} is held by another process. Try again.") from error
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


class _Chain:
    """Follows the lines of a log, and finds the first that does not fit."""

    def __init__(self, origin: str, expected: tuple[int, str] | None) -> None:
        self._seq, self._hash = 0, origin
        self._expected = expected
        self._anchor: Event | None = None
        self._announced: list[Event] = []
        self._fragment = b""
        self._problem = ""
        self._notes: list[str] = []
        self._events = self._first = self._read = 0

    def follow(self, lines: Iterator[bytes]) -> AuditState:
        for number, line in enumerate(lines, start=1):
            self._take(number, line)
            if self._problem:
                break
        if not self._problem:
            self._finish()
        pruned = self._anchor["seq"] if self._anchor else 0
        return AuditState(self._events, self._first, self._seq, self._hash, pruned, self._problem, tuple(self._notes))

    def _take(self, number: int, line: bytes) -> None:
        entry = _parsed(line)
        if entry is None:
            if self._fragment:
                self._problem = f"line {number} is no event, nor is the one before"
            self._fragment = line
        elif number == 1 and "anchor" in entry:
            self._anchor = entry["anchor"]
            self._seq, self._hash = self._anchor["seq"], self._anchor["hash"]
            self._check_expected()
        else:
            self._take_event(number, entry)

    def _take_event(self, number: int, entry: Event) -> None:
        said = entry.pop("hash", None)
        if entry.get("seq") != self._seq + 1 or entry.get("previous") != self._hash:
            self._problem = f"line {number} does not follow event {self._seq}: events were removed, put in or moved"
        elif said != _hash(entry):
            self._problem = f"line {number} (event {self._seq + 1}) was changed after it was written"
        elif self._fragment and entry.get("lost") != _sha256(self._fragment.removesuffix(b"\n")):
            self._problem = f"line {number - 1} is no event, and no event says that a crash cut it short"
        else:
            if self._fragment:
                self._notes.append(f"line {number - 1} was cut short by a crash")
                self._fragment = b""
            self._seq, self._hash = entry["seq"], said
            self._events += 1
            self._first = self._first or self._seq
            if entry["event"] == "pruned":
                self._announced.append(entry["through"])
            self._check_expected()

    def _check_expected(self) -> None:
        if self._expected and self._expected[0] == self._seq and self._expected[1] != self._hash:
            self._problem = f"event {self._seq} has another hash than was noted: the log was written anew"

    def _finish(self) -> None:
        if self._fragment:
            self._notes.append("the last line was cut short by a crash; the next event will say so")
        if self._anchor and self._anchor not in self._announced:
            self._problem = "the log begins with an anchor that no event confirms: its beginning was cut off"
        elif self._announced and self._announced[-1] != self._anchor:
            self._notes.append("a removal of old events was begun and not finished: prune again")
        if self._expected and self._expected[0] > self._seq:
            self._problem = f"the log ends at event {self._seq}, before the noted {self._expected[0]}"


def _hash(entry: Event) -> str:
    return _sha256(json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def _line(entry: Event) -> bytes:
    return json.dumps(entry, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _parsed(line: bytes) -> Event | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _last_lines(file: BinaryIO) -> list[bytes]:
    """The lines at the end of a file, at least one whole one where there is one; the last is what no newline ends."""
    size = file.seek(0, os.SEEK_END)
    length = _TAIL
    while True:
        file.seek(max(0, size - length))
        lines = file.read().split(b"\n")
        if length >= size or len(lines) > 2:
            return lines if length >= size else lines[1:]
        length *= 4


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _now() -> str:
    return _written(datetime.now(UTC))


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
