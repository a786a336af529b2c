"""The chain of an audit log: how an event is written as a line, and the check that none was changed or removed.

    {"seq": 7, "time": "2026-11-26T01:02:03.456Z", "event": "query", …, "previous": "<of 6>", "hash": "<of 7>"}

`hash` is the SHA-256 of the line without it (keys sorted, no spaces). A line that is changed, removed or inserted
breaks the chain at that position. The first line may be an anchor in place of removed events,
{"anchor": {"seq": …, "hash": …}}, which a later `pruned` event confirms.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Event = dict[str, Any]


@dataclass(frozen=True)
class AuditState:
    """The outcome of following a log's chain."""

    events: int
    """In the file and in the chain."""
    first: int
    """Number of the oldest event in the file; 0 where there is none."""
    last: int
    """Number of the newest."""
    head: str
    """Hash of the newest: what to note elsewhere."""
    pruned: int
    """Events that were removed, oldest first, and that an anchor vouches for."""
    problem: str = ""
    """What is wrong, and on which line; empty where the chain is whole."""
    notes: tuple[str, ...] = ()
    """What is no fault: a write that a crash cut short, an unfinished removal."""


def verify_chain(lines: Iterable[bytes], origin: str, *, expected: tuple[int, str] | None = None) -> AuditState:
    """Follow the chain of a log's lines from its beginning.

    Args:
        lines: with their newlines.
        origin: what the first event names as the previous hash (`origin_hash`).
        expected: number and hash of an event, noted earlier.
    """
    return _Verifier(origin, expected).follow(lines)


def origin_hash(archive: str) -> str:
    """The beginning of the chain of the archive with this id."""
    return sha256(f"coin audit log of {archive}".encode())


def event_hash(event: Event) -> str:
    """The hash of an event that has none yet."""
    return sha256(json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def to_line(event: Event) -> bytes:
    """An event as it stands in the file, with its newline."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def from_line(line: bytes) -> Event | None:
    """The event of a line; None where it is no JSON object."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def sha256(data: bytes) -> str:
    """In hex."""
    return hashlib.sha256(data).hexdigest()


def timestamp(moment: datetime) -> str:
    """As "2026-11-26T01:02:03.456Z": these sort as their times do."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Verifier:
    """Follows the lines of a log, and finds the first that does not fit."""

    def __init__(self, origin: str, expected: tuple[int, str] | None) -> None:
        self._seq, self._hash = 0, origin
        self._expected = expected
        self._anchor: Event | None = None
        self._announced: list[Event] = []
        self._fragment = b""
        self._problem = ""
        self._notes: list[str] = []
        self._events = self._first = 0

    def follow(self, lines: Iterable[bytes]) -> AuditState:
        for number, line in enumerate(lines, start=1):
            self._check_line(number, line)
            if self._problem:
                break
        if not self._problem:
            self._check_end()
        pruned = self._anchor["seq"] if self._anchor else 0
        return AuditState(self._events, self._first, self._seq, self._hash, pruned, self._problem, tuple(self._notes))

    def _check_line(self, number: int, line: bytes) -> None:
        event = from_line(line)
        if event is None:
            if self._fragment:
                self._problem = f"line {number} is no event, nor is the one before"
            self._fragment = line
        elif number == 1 and "anchor" in event:
            self._anchor = event["anchor"]
            self._seq, self._hash = self._anchor["seq"], self._anchor["hash"]
            self._check_expected()
        else:
            self._check_event(number, event)

    def _check_event(self, number: int, event: Event) -> None:
        written_hash = event.pop("hash", None)
        if event.get("seq") != self._seq + 1 or event.get("previous") != self._hash:
            self._problem = f"line {number} does not follow event {self._seq}: events were removed, inserted or moved"
        elif written_hash != event_hash(event):
            self._problem = f"line {number} (event {self._seq + 1}) was changed after it was written"
        elif self._fragment and event.get("lost") != sha256(self._fragment.removesuffix(b"\n")):
            self._problem = f"line {number - 1} is no event, and no event confirms that a crash cut it short"
        else:
            if self._fragment:
                self._notes.append(f"line {number - 1} was cut short by a crash")
                self._fragment = b""
            self._seq, self._hash = event["seq"], written_hash
            self._events += 1
            self._first = self._first or self._seq
            if event["event"] == "pruned":
                self._announced.append(event["through"])
            self._check_expected()

    def _check_expected(self) -> None:
        if self._expected and self._expected[0] == self._seq and self._expected[1] != self._hash:
            self._problem = f"event {self._seq} has another hash than was noted: the log was rewritten"

    def _check_end(self) -> None:
        if self._fragment:
            self._notes.append("the last line was cut short by a crash; the next event will confirm it")
        if self._anchor and self._anchor not in self._announced:
            self._problem = "the log begins with an anchor that no event confirms: its beginning was cut off"
        elif self._announced and self._announced[-1] != self._anchor:
            self._notes.append("a removal of old events was begun and not finished: prune again")
        if self._expected and self._expected[0] > self._seq:
            self._problem = f"the log ends at event {self._seq}, before the noted {self._expected[0]}"
