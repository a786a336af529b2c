"""The audit log: whatever is done to it afterwards shows, and a crash leaves it whole."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retrieval import AuditError, AuditLog
from retrieval.audit.chain import event_hash

ROOT = Path(__file__).parents[3]
LATER = timedelta(days=1)


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    """A log of five events."""
    log = AuditLog(tmp_path / "audit", "archive")
    for number in range(5):
        log.record("query", user="ünal", cases=[number])
    return log


def lines(log: AuditLog) -> list[bytes]:
    return log.path.read_bytes().splitlines(keepends=True)


def age(log: AuditLog, count: int, days: int = 400) -> None:
    """Write the log anew as if its first `count` events were old (a whole chain: what its owner can do)."""
    events = list(log.events())
    log.path.unlink()
    for number, event in enumerate(events):
        moment = datetime.now(UTC) - timedelta(days=days if number < count else 0)
        fields = {key: value for key, value in event.items() if key not in ("seq", "time", "previous", "hash")}
        AuditLog(log.path.parent, log.path.stem, clock=lambda moment=moment: moment).record(**fields)


def test_events_are_kept_in_order_and_chained(log: AuditLog) -> None:
    events = list(log.events())
    assert [(event["seq"], event["cases"], event["user"]) for event in events] == [
        (number + 1, [number], "ünal") for number in range(5)
    ]
    assert all(event["previous"] == before["hash"] for before, event in itertools.pairwise(events))
    state = log.verify()
    assert (state.events, state.first, state.last, state.head, state.problem) == (5, 1, 5, events[-1]["hash"], "")
    assert abs(datetime.fromisoformat(events[-1]["time"]) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_only_its_owner_reads_it(log: AuditLog) -> None:
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("victim", range(5))
def test_a_changed_event_shows(log: AuditLog, victim: int) -> None:
    changed = lines(log)
    changed[victim] = changed[victim].replace(b'"cases":[%d]' % victim, b'"cases":[9]')
    log.path.write_bytes(b"".join(changed))
    assert f"event {victim + 1}) was changed" in log.verify().problem


@pytest.mark.parametrize("victim", range(4))
def test_a_removed_or_moved_event_shows(log: AuditLog, victim: int) -> None:
    whole = lines(log)
    log.path.write_bytes(b"".join(whole[:victim] + whole[victim + 1 :]))
    assert f"line {victim + 1} does not follow event {victim}" in log.verify().problem
    log.path.write_bytes(b"".join([*whole[:victim], whole[victim + 1], whole[victim], *whole[victim + 2 :]]))
    assert log.verify().problem
    log.path.write_bytes(b"".join([*whole[: victim + 1], whole[victim], *whole[victim + 1 :]]))
    assert log.verify().problem


def test_a_log_of_another_archive_shows(log: AuditLog) -> None:
    other = AuditLog(log.path.parent, "other")
    other.path.write_bytes(log.path.read_bytes())
    assert "line 1 does not follow" in other.verify().problem


def test_a_cut_or_rewritten_log_shows_against_a_noted_event(log: AuditLog) -> None:
    noted = (5, log.verify().head)
    assert log.verify(expected=noted).problem == ""
    whole = log.path.read_bytes()
    log.path.write_bytes(b"".join(lines(log)[:3]))
    assert log.verify().problem == ""  # by itself it does not: this is what the note is for
    assert "ends at event 3, before the noted 5" in log.verify(expected=noted).problem
    log.path.unlink()
    for number in range(5):
        log.record("query", user="somebody else", cases=[number])
    assert log.verify().problem == ""
    assert "event 5 has another hash than was noted" in log.verify(expected=noted).problem
    log.path.write_bytes(whole)
    log.record("query", user="ünal")
    assert log.verify(expected=noted).problem == ""


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_a_write_that_a_crash_cut_short_is_reported(log: AuditLog, kept: int) -> None:
    whole = lines(log)
    log.path.write_bytes(b"".join(whole[:-1]) + whole[-1][:kept])
    assert "cut short by a crash" in log.verify().notes[0]
    log.record("query", user="ünal")
    state = log.verify()
    assert (state.problem, state.events) == ("", 6)
    assert [event["event"] for event in log.events()][-2:] == ["recovered", "query"]
    torn = log.path.read_bytes().replace(whole[-1][:kept] + b"\n", b"{}}\n" if kept != 1 else b"}\n", 1)
    log.path.write_bytes(torn)
    assert log.verify().problem


def test_an_event_that_lacks_only_the_end_of_its_line_is_there(log: AuditLog) -> None:
    log.path.write_bytes(log.path.read_bytes()[:-1])
    assert (log.verify().problem, log.verify().events) == ("", 5)
    log.record("query", user="ünal")
    assert [event["event"] for event in log.events()] == ["query"] * 6
    assert log.verify().problem == ""


def test_nothing_is_recorded_after_a_damaged_end(log: AuditLog) -> None:
    with log.path.open("ab") as file:
        file.write(b"not an event\n")
    with pytest.raises(AuditError, match="damaged at its end"):
        log.record("query", user="ünal")


def test_pruning_leaves_a_chain_that_can_be_followed(log: AuditLog) -> None:
    age(log, 3)
    noted_old, noted_new = [(event["seq"], event["hash"]) for event in log.events()][2:4]
    assert log.prune(datetime.now(UTC) - LATER, user="keeper") == 3
    state = log.verify(expected=noted_new)
    assert (state.problem, state.notes, state.pruned, state.first, state.events) == ("", (), 3, 4, 3)
    assert log.verify(expected=noted_old).problem == ""  # the anchor is that very event
    assert [event["event"] for event in log.events()] == ["query", "query", "pruned"]
    assert log.prune(datetime.now(UTC) - LATER, user="keeper") == 0
    log.record("query", user="ünal")
    assert log.verify().problem == ""
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600
    # Another beginning, or none, does not fit what the chain says.
    whole = lines(log)
    log.path.write_bytes(b"".join(whole[1:]))
    assert log.verify().problem
    event = json.loads(whole[1])
    forged = json.dumps({"anchor": {"seq": event["seq"], "hash": event["hash"]}}).encode() + b"\n"
    log.path.write_bytes(b"".join([forged, *whole[2:]]))
    assert "anchor that no event confirms" in log.verify().problem


def test_everything_may_be_pruned_and_twice(log: AuditLog) -> None:
    assert log.prune(datetime.now(UTC) + LATER, user="keeper") == 5
    log.record("query", user="ünal")
    assert log.prune(datetime.now(UTC) + LATER, user="keeper") == 2
    state = log.verify()
    assert (state.problem, state.pruned, state.first, state.last) == ("", 7, 8, 8)


def test_a_prune_that_a_crash_stopped_is_finished_later(log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    age(log, 2)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            log.prune(datetime.now(UTC) - LATER, user="keeper")
    state = log.verify()
    assert state.problem == ""
    assert "not finished" in state.notes[0]
    assert log.prune(datetime.now(UTC) - LATER, user="keeper") == 2
    assert log.verify().notes == ()


def test_retention_removes_old_events_by_itself(log: AuditLog) -> None:
    age(log, 4, days=31)
    AuditLog(log.path.parent, "archive", keep_days=32).record("query", user="ünal")
    assert log.verify().pruned == 0
    AuditLog(log.path.parent, "archive", keep_days=30).record("query", user="ünal")
    state = log.verify()
    assert (state.problem, state.pruned) == ("", 4)


class Clock:
    """A time that the test sets."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 10, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def test_retention_looks_once_a_day(tmp_path: Path) -> None:
    clock = Clock()
    log = AuditLog(tmp_path, "archive", keep_days=1, clock=clock)
    kept = []
    for hours in (0, 23, 2, 24):
        clock.now += timedelta(hours=hours)
        log.record("query")
        kept.append(sum(event["event"] == "query" for event in log.events()))
    assert kept == [1, 2, 3, 2], "the first is a day old at the third, and is removed on the next day, with the second"


def test_an_event_of_that_very_time_stays(tmp_path: Path) -> None:
    clock = Clock()
    log = AuditLog(tmp_path, "archive", clock=clock)
    for _ in range(3):
        log.record("query")
        clock.now += timedelta(days=1)
    assert log.prune(datetime(2026, 3, 2, 10, tzinfo=UTC), user="keeper") == 1


def test_two_removals_leave_the_anchor_of_the_second(tmp_path: Path) -> None:
    clock = Clock()
    log = AuditLog(tmp_path, "archive", clock=clock)
    for _ in range(5):
        log.record("query")
        clock.now += timedelta(days=1)
    for day in (3, 4):
        log.prune(datetime(2026, 3, day, tzinfo=UTC), user="keeper")
    state = log.verify()
    assert (state.problem, state.notes, state.pruned, state.first) == ("", (), 3, 4)


def test_an_anchor_in_the_middle_vouches_for_nothing(log: AuditLog) -> None:
    whole = lines(log)
    second = json.loads(whole[1])
    anchor = json.dumps({"anchor": {"seq": second["seq"], "hash": second["hash"]}}).encode() + b"\n"
    log.path.write_bytes(b"".join([whole[0], anchor, *whole[2:]]))
    assert "line 2 does not follow event 1" in log.verify().problem


def test_the_hash_is_that_of_the_sorted_event() -> None:
    assert event_hash({"b": 1, "a": "ü"}) == hashlib.sha256('{"a":"ü","b":1}'.encode()).hexdigest()


def test_an_event_is_synced_before_record_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append("file"))
    monkeypatch.setattr("index_store.atomic_write.sync_folder", lambda folder: synced.append(folder.name))
    log = AuditLog(tmp_path / "audit", "archive")
    log.record("query")
    assert synced == ["file", "audit"], "a new file is synced with its folder"
    log.record("query")
    assert synced[2:] == ["file"]


@pytest.mark.slow
def test_long_events_and_many(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, "archive")
    for number in range(30):
        log.record("query", cases=list(range(number * 2_000)))  # the longest is larger than what is read at once
    assert log.verify().events == 30


def test_threads_and_processes_make_one_chain(tmp_path: Path) -> None:
    script = (
        "import sys; from retrieval import AuditLog\n"
        "log = AuditLog(sys.argv[1], 'archive')\n"
        "for number in range(15): log.record('query', user=sys.argv[2], cases=[number])"
    )
    others = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path), f"process {i}"], cwd=ROOT) for i in range(3)
    ]
    log = AuditLog(tmp_path, "archive")
    threads = [threading.Thread(target=log.record, args=("query",), kwargs={"user": f"thread {i}"}) for i in range(15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(600) for other in others] == [0, 0, 0]
    state = log.verify()
    assert (state.problem, state.events) == ("", 60)
    assert {event["user"] for event in log.events()} == {
        *(f"process {i}" for i in range(3)),
        *(f"thread {i}" for i in range(15)),
    }


def test_there_is_a_clear_error_where_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AuditError, match="Nothing is answered unrecorded"):
        AuditLog(tmp_path / "file", "archive").record("query")
    with pytest.raises(AuditError, match="nothing was recorded"):
        AuditLog(tmp_path, "archive").verify()


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="no O_NOFOLLOW on this system")
def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "archive.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AuditError, match="cannot be written"):
        AuditLog(tmp_path, "archive").record("query")
    assert (tmp_path / "elsewhere").read_bytes() == b""
