"""The chain of an audit log: how an event is written as a line, and the check that none was changed or removed.

    {"seq": 7, "time": "2026-11-26T01:02:03.456Z", "event": "query", …, "chain": 2, "previous": "<of 6>", "hash": "…"}

`hash` is the SHA-256 of the line's bytes without it (from `{` to `}`). A line that is changed, removed or inserted
breaks the chain at that position. The first line may be an anchor in place of removed events,
{"anchor": {"seq": …, "hash": …}}, which a later `pruned` event confirms.

Lines of earlier versions have no `chain`. Their hash is that of the parsed line (keys sorted, no spaces), which says
nothing of a key that stands twice; so their bytes must be exactly those that those versions wrote for that content.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Event = dict[str, Any]

FORM = 2
"""Of the lines that this version writes: `chain` in each."""
_HASH_AT_END = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
_HASH_LENGTH = len(b',"hash":"') + 64 + len(b'"}')
_LONGEST_NUMBER = 1 << 62


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
    """The hash of an event as versions before `FORM` 2 made it."""
    return sha256(json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def sealed(event: Event) -> tuple[bytes, str]:
    """The line of an event that has no hash yet, with its newline, and the hash that it ends with."""
    body = to_line({key: value for key, value in event.items() if key != "hash"})[:-1]
    digest = sha256(body)
    return body[:-1] + b',"hash":"' + digest.encode() + b'"}\n', digest


def to_line(event: Event) -> bytes:
    """An event as it stands in the file, with its newline."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def from_line(line: bytes) -> Event | None:
    """The event of a line, or an anchor; None where it is neither, whatever bytes it has."""
    try:
        event = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict):
        return None
    return event if _is_event(event) or ("seq" not in event and _is_anchor(event.get("anchor"))) else None


def _is_event(event: Event) -> bool:
    texts = ("time", "event", "previous", "hash")
    if not _is_number(event.get("seq")) or not all(isinstance(event.get(name), str) for name in texts):
        return False
    return event["event"] != "pruned" or _is_anchor(event.get("through"))


def _is_anchor(anchor: object) -> bool:
    return isinstance(anchor, dict) and _is_number(anchor.get("seq")) and isinstance(anchor.get("hash"), str)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LONGEST_NUMBER


def _is_untouched(line: bytes, event: Event) -> bool:
    """Whether the line's bytes are those that its hash was made of."""
    line = line.removesuffix(b"\n")
    if "chain" in event:
        found = _HASH_AT_END.fullmatch(line[-_HASH_LENGTH:])
        return found is not None and sha256(line[:-_HASH_LENGTH] + b"}") == event["hash"] == found[1].decode()
    fields = {key: value for key, value in event.items() if key != "hash"}
    try:
        return to_line(event)[:-1] == line and event_hash(fields) == event["hash"]
    except UnicodeEncodeError:  # half a surrogate pair: no version wrote it
        return False


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
        self._events = self._first = self._last_line = 0

    def follow(self, lines: Iterable[bytes]) -> AuditState:
        for number, line in enumerate(lines, start=1):
            self._last_line = number
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
        elif number == 1 and "seq" not in event:
            self._anchor = event["anchor"]
            self._seq, self._hash = self._anchor["seq"], self._anchor["hash"]
            self._check_expected()
        else:
            self._check_event(number, line, event)

    def _check_event(self, number: int, line: bytes, event: Event) -> None:
        if self._fragment and event.get("lost") != sha256(self._fragment.removesuffix(b"\n")):
            self._problem = f"line {number - 1} is no event, and no event confirms that a crash cut it short"
        elif event.get("seq") != self._seq + 1 or event.get("previous") != self._hash:
            self._problem = f"line {number} does not follow event {self._seq}: events were removed, inserted or moved"
        elif not _is_untouched(line, event):
            self._problem = f"line {number} (event {self._seq + 1}) was changed after it was written"
        else:
            if self._fragment:
                self._notes.append(f"line {number - 1} was cut short by a crash")
                self._fragment = b""
            self._seq, self._hash = event["seq"], event["hash"]
            self._events += 1
            self._first = self._first or self._seq
            if event["event"] == "pruned":
                self._announced.append(event["through"])
            self._check_expected()

    def _check_expected(self) -> None:
        if self._expected and self._expected[0] == self._seq and self._expected[1] != self._hash:
            self._problem = f"event {self._seq} has another hash than was noted: the log was rewritten"

    def _check_end(self) -> None:
        if self._fragment.endswith(b"\n"):
            self._problem = f"line {self._last_line} is no event, and was not cut short by a crash"
        elif self._fragment:
            self._notes.append("the last line was cut short by a crash; the next event will confirm it")
        if self._anchor and self._anchor not in self._announced and not self._problem:
            self._problem = "the log begins with an anchor that no event confirms: its beginning was cut off"
        elif self._announced and self._announced[-1] != self._anchor:
            self._notes.append("a removal of old events was begun and not finished: prune again")
        if self._expected and self._expected[0] > self._seq:
            self._problem = f"the log ends at event {self._seq}, before the noted {self._expected[0]}"
