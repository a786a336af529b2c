"""A process killed before, after and in the middle of single operations on files: its own, SQLite's and FAISS's.

By default one place of every operation; `make test-faults` tries every one of them (`thoroughness.py`).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from index_store import Archive
from index_store.catalog.catalog import Catalog
from tests.index_store import syscalls
from tests.index_store.archive_builders import found_by_itself
from tests.index_store.archive_processes import run
from tests.index_store.operations import OPERATIONS, Operation, State, state
from tests.index_store.thoroughness import ALL, thoroughness

PLACES = thoroughness(1, 1_000_000)
"""How many places of each operation are tried."""
QUICK = {"add"}
"""What `make test` tries; the others run in `make test-slow`."""
KILLED = -9
DERIVED = ("index",)
"""Folders that may be lost."""
KINDS = {syscalls.BEFORE: "before", syscalls.AFTER: "after", syscalls.TORN: "in the middle of"}

pytestmark = pytest.mark.skipif(syscalls.library() is None, reason="needs Linux and a C compiler")


def strike(name: str, root: Path, step: int, how: int, trace: Path | None) -> None:
    """In a process of its own: do the operation, and die at the step."""
    syscalls.arm(root, step=step, how=how, trace=trace)
    OPERATIONS[name].act(root)
    syscalls.disarm()


@contextmanager
def watched(seen: list[State], root: Path, place: str, scratch: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Note the state after each transaction."""
    writing = Catalog.writing

    @contextmanager
    def noted(catalog: Catalog) -> Iterator[Session]:
        with writing(catalog) as session:
            yield session
        if Path(catalog.name).parent == root / place:
            seen.append(state(root, place, scratch))

    with patch.context() as patched:
        patched.setattr(Catalog, "writing", noted)
        yield


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in OPERATIONS]
)
def test_killed_at_a_file_operation(name: str, quick_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operation, prepared = OPERATIONS[name], quick_folder / "prepared"
    prepared.mkdir()
    operation.prepare(prepared)

    whole = shutil.copytree(prepared, quick_folder / "whole")
    generations = [state(whole, operation.place, quick_folder / "s")]
    with watched(generations, whole, operation.place, quick_folder / "s", monkeypatch):
        operation.act(whole)
    generations.append(state(whole, operation.place, quick_folder / "s0"))

    traced = shutil.copytree(prepared, quick_folder / "traced")
    existed = {traced, *traced.rglob("*")}
    assert run(strike, name, traced, 0, syscalls.COUNT, quick_folder / "trace") == 0
    steps = syscalls.read_trace(quick_folder / "trace")
    check_order(steps, existed)

    # After one step is before the next: only the last has an "after" of its own.
    places = [(number, syscalls.BEFORE) for number in range(1, len(steps) + 1)]
    places += [(number, syscalls.TORN) for number, step in enumerate(steps, start=1) if step.name == "write"]
    places = [*sorted(places), (len(steps), syscalls.AFTER)]
    stride = max(1, len(places) // PLACES)
    places = places[stride // 2 :: stride]
    reached, kills = set(), 0
    for number, how in places:
        place = f"{name}, killed {KINDS[how]} step {number}: {steps[number - 1]}"
        struck = shutil.copytree(prepared, quick_folder / "struck")
        code = run(strike, name, struck, number, how, None)
        assert code in (KILLED, 0), place  # 0: threads divide the work a little differently each time
        kills += code == KILLED
        try:
            reached.add(check_struck(struck, operation, generations, quick_folder / "scratch"))
        except BaseException as error:
            error.add_note(place)
            raise
        shutil.rmtree(struck)
    sys.stdout.write(f"{name}: {len(steps)} operations on files, killed at {kills} of {len(places)} places\n")
    assert kills > 0.9 * len(places)
    if ALL:
        assert len(reached) > 1, "nothing was ever begun, or everything always finished"


def check_struck(root: Path, operation: Operation, generations: list[State], scratch: Path) -> int:
    """After a kill: one generation, whole; found by itself; and the same call finishes. Returns which generation."""
    there = state(root, operation.place, scratch / "0")
    assert there in generations, "a mixture of two generations, or something lost"
    if isinstance(there, str) or operation.place == "backup":
        pass  # there is no archive yet
    elif operation is OPERATIONS["migrate"]:
        pass
    elif operation is OPERATIONS["repair"]:
        Archive.open(root / operation.place).close()  # begun with index and log out of step
    else:
        with Archive.open(root / operation.place, read_only=True) as archive:
            assert archive.notes == (), "an index had to be made anew"
            found_by_itself(archive)
            assert [finding for finding in archive.examine().findings if not finding.harmless] == []
        with Archive.open(root / operation.place) as archive, archive.writer():
            pass  # any writer clears up after the killed one
        with Archive.open(root / operation.place, read_only=True) as archive:
            assert {finding.check for finding in archive.examine().findings} <= {"records"}, "reports without vectors"
        assert state(root, operation.place, scratch / "1") == there
    operation.act(root)
    assert state(root, operation.place, scratch / "2") == generations[-1]
    if operation.place != "backup" and operation is not OPERATIONS["migrate"]:
        with Archive.open(root / operation.place) as archive:
            found_by_itself(archive)
            assert [finding for finding in archive.examine().findings if not finding.harmless] == []
    shutil.rmtree(scratch, ignore_errors=True)
    return generations.index(there)


def check_order(steps: list[syscalls.Step], existed: set[Path]) -> None:
    """What a kill cannot show, since the kernel lives on, and a power cut would: a name appears only over content that
    is on disk, the name itself is made durable, and a transaction's log is on disk before the operation returns."""
    written: dict[Path, int] = {}
    synced: dict[Path, int] = {}
    named: dict[Path, int] = {}
    for number, step in enumerate(steps):
        if step.name == "write":
            written[step.path] = number
        elif step.name == "fsync":
            synced[step.path] = number
        elif step.name == "mkdir" and step.path.name not in DERIVED and step.path not in existed:
            named[step.path] = number
        elif step.name == "rename" and step.other is not None:
            assert synced.get(step.path, -1) >= written.get(step.path, -1), f"{step} before its content is on disk"
            named[step.other] = number
    for path, number in named.items():
        assert synced.get(path.parent, -1) > number or not path.exists(), f"the name {path} was never synced"
    for path, number in written.items():
        if path.name.endswith("-wal"):
            assert synced.get(path, -1) > number, f"{path} was acknowledged before it was on disk"
