"""Reviews are kept: by user, whole, for the owner alone, and no tab loses another's note."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from retrieval import Query
from ui.errors import ReviewError
from ui.review import store as module
from ui.review.records import RELEVANT, Found, Versions
from ui.review.store import LONGEST_NAME, LONGEST_NOTE, MAX_BYTES, MOST_CASES, PATIENCE, Reviews

FOUND = Found("q", False, 1, (), 7, Versions("coin", 3, "clip", "f"))


@pytest.fixture
def reviews(tmp_path: Path) -> Reviews:
    store = Reviews(tmp_path / "reviews", "ada@example.org")
    store.create("Look-alikes of HSIL")
    return store


def test_cases_are_pinned_in_order_with_note_and_ticks(reviews: Reviews) -> None:
    name = "Look-alikes of HSIL"
    for case in ("a", "b", "c"):
        reviews.pin(name, case, FOUND)
    reviews.move(name, "c", -1)
    reviews.move(name, "a", -1)
    reviews.write_note(name, "Dark nuclei", case="b")
    reviews.write_note(name, "For the seminar")
    reviews.tick(name, "a", ("poor", RELEVANT))
    review = Reviews(reviews.folder.parent, "ada@example.org").load(name)
    assert [pin.case for pin in review.pins] == ["a", "c", "b"]
    assert (review.pins[2].note, review.note) == ("Dark nuclei", "For the seminar")
    assert review.pins[0].ticks == (RELEVANT, "poor")
    assert [pin.is_relevant for pin in review.pins] == [True, None, None]
    assert review.pins[0].found == FOUND


def test_a_case_that_is_pinned_again_has_its_note_again(reviews: Reviews) -> None:
    name = "Look-alikes of HSIL"
    reviews.pin(name, "a", FOUND)
    reviews.write_note(name, "Clue cells?", case="a")
    assert reviews.unpin(name, "a").pins == ()
    assert reviews.load(name).unpinned[0].note == "Clue cells?"
    review = reviews.pin(name, "a")
    assert (review.pins[0].note, review.pins[0].found, review.unpinned) == ("Clue cells?", FOUND, ())


def test_two_tabs_lose_no_note(reviews: Reviews) -> None:
    name = "Look-alikes of HSIL"
    reviews.pin(name, "a")
    assert reviews.write_note(name, "first tab", case="a", base="") == "first tab"
    assert reviews.write_note(name, "second tab", case="a", base="") == "first tab\n\nsecond tab"
    assert reviews.write_note(name, "", case="a", base="first tab\n\nsecond tab") == "", "an own text can be deleted"
    reviews.unpin(name, "a")
    reviews.write_note(name, "typed while it was unpinned elsewhere", case="a", base="")
    assert reviews.load(name).unpinned[0].note == "typed while it was unpinned elsewhere"


def test_changes_at_the_same_time_are_all_kept(reviews: Reviews) -> None:
    def work(number: int) -> None:
        store = Reviews(reviews.folder.parent, "ada@example.org")
        store.pin("Look-alikes of HSIL", f"case {number}")
        store.write_note("Look-alikes of HSIL", f"note {number}", case=f"case {number}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))
    pins = reviews.load("Look-alikes of HSIL").pins
    assert {(pin.case, pin.note) for pin in pins} == {(f"case {n}", f"note {n}") for n in range(24)}


KILLED = """
import sys
from ui.review.store import Reviews
store = Reviews(sys.argv[1], "ada@example.org")
number, known = 0, ""
while True:
    number += 1
    known = store.write_note("Look-alikes of HSIL", "x" * 10_000 + str(number), base=known)
    print(number, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(reviews: Reviews) -> None:
    command = [sys.executable, "-c", KILLED, str(reviews.folder.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as writer:
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(5)][-1]
        writer.kill()
    assert int(reviews.load("Look-alikes of HSIL").note.lstrip("x")) >= acknowledged
    reviews.write_note("Look-alikes of HSIL", "the lock is free again")
    assert reviews.load("Look-alikes of HSIL").note.endswith("free again")


def test_files_are_for_their_owner_alone(reviews: Reviews) -> None:
    reviews.keep_query(Query(text="Clue cells."))
    reviews.pin("Look-alikes of HSIL", "a")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in reviews.folder.rglob("*") if path.is_file()}
    folders = [reviews.folder.parent, *(path for path in reviews.folder.parent.rglob("*") if path.is_dir())]
    assert modes == {0o600}
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_users_do_not_see_each_others_reviews(reviews: Reviews) -> None:
    other = Reviews(reviews.folder.parent, "../ada@example.org")
    assert other.names() == ()
    with pytest.raises(ReviewError, match="has no review 'Look-alikes of HSIL'"):
        other.load("Look-alikes of HSIL")
    assert other.folder.parent == reviews.folder.parent


def test_names_are_texts_of_any_kind_and_the_last_changed_comes_first(reviews: Reviews) -> None:
    names = ["../../etc/passwd", "Zwei / drei?", "CON"]
    for name in names:
        reviews.create(name)
    os.utime(reviews._path("Zwei / drei?"), ns=(2**62, 2**62))
    assert set(reviews.names()) == {*names, "Look-alikes of HSIL"}
    assert reviews.names()[0] == "Zwei / drei?"
    for name, message in (("", "1 to 80"), ("x" * 81, "1 to 80"), ("CON", "already")):
        with pytest.raises(ReviewError, match=message):
            reviews.create(name)


def test_a_deleted_review_takes_its_queries_with_it(reviews: Reviews) -> None:
    shared, own = (reviews.keep_query(Query(text=text)) for text in ("shared", "own"))
    assert reviews.keep_query(Query(text="own")) == own
    reviews.create("second")
    for name, query in (("second", shared), ("Look-alikes of HSIL", shared), ("Look-alikes of HSIL", own)):
        reviews.pin(name, query, Found(query, False, 1, (), 1, FOUND.versions))
    reviews.delete("Look-alikes of HSIL")
    assert (reviews.names(), reviews.queries.names()) == (("second",), (shared,))


def test_what_cannot_be_is_refused(reviews: Reviews) -> None:
    name = "Look-alikes of HSIL"
    with pytest.raises(ReviewError, match="pin it first"):
        reviews.write_note(name, "n", case="not there")
    reviews.pin(name, "a")
    with pytest.raises(ReviewError, match="'excellent' cannot be ticked"):
        reviews.tick(name, "a", ("excellent",))
    with pytest.raises(ReviewError, match="at most"):
        reviews.write_note(name, "x" * 30_000)


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"version": 99}', '{"version": 1, "name": 3}'])
def test_a_damaged_file_is_named(reviews: Reviews, damage: str) -> None:
    path = reviews._path("Look-alikes of HSIL")
    path.write_text(damage, encoding="utf-8")
    with pytest.raises(ReviewError, match=path.name):
        reviews.load("Look-alikes of HSIL")


def test_a_review_has_a_limit(reviews: Reviews) -> None:
    path = reviews._path("Look-alikes of HSIL")
    document = json.loads(path.read_text(encoding="utf-8"))
    pin = {"case": "", "pinned": "", "note": "", "ticks": [], "found": None}
    document["pins"] = [{**pin, "case": str(number)} for number in range(MOST_CASES)]
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ReviewError, match=f"at most {MOST_CASES} cases"):
        reviews.pin("Look-alikes of HSIL", "one more")


def test_the_limits_are_these(reviews: Reviews, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (LONGEST_NAME, LONGEST_NOTE, MOST_CASES, MAX_BYTES, PATIENCE) == (80, 20_000, 500, 67_108_864, 30)
    name = "Look-alikes of HSIL"
    reviews.create("y" * 80)
    assert len(reviews.write_note(name, "x" * 20_000)) == 20_000
    with pytest.raises(ReviewError, match="The note has 20,001 characters, at most 20,000 are kept"):
        reviews.write_note(name, "x" * 20_001, base="x" * 20_000)
    path = reviews._path(name)
    monkeypatch.setattr(module, "MAX_BYTES", path.stat().st_size)
    assert reviews.load(name).note == "x" * 20_000
    monkeypatch.setattr(module, "MAX_BYTES", path.stat().st_size - 1)
    with pytest.raises(ReviewError, match="it is too large"):
        reviews.load(name)


def test_a_case_is_moved_by_so_many_places_and_stays_at_an_end(reviews: Reviews) -> None:
    name = "Look-alikes of HSIL"
    for case in "abcd":
        reviews.pin(name, case)
    for case, by, order in (
        ("a", 1, "bacd"), ("d", -2, "bdac"), ("b", 9, "dacb"), ("c", -9, "cdab"), ("x", 1, "cdab"), ("b", 0, "cdab"),
    ):  # fmt: skip
        assert "".join(pin.case for pin in reviews.move(name, case, by).pins) == order
    assert [pin.case for pin in reviews.unpin(name, "d").pins] == ["c", "a", "b"]
    assert [pin.case for pin in reviews.pin(name, "a").pins] == ["c", "a", "b"], "it is pinned already"
