"""Ratings are stored at once, by several readers and tabs, and are frozen when a reader closes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from retrieval import ReaderStudyClosedError, ReaderStudyError
from retrieval.reader_study.ratings import LONGEST_COMMENT, Rating, Ratings, create_ratings, reader_name

ROOT = Path(__file__).parents[3]
PICTURES = [f"picture {number}" for number in range(40)]
WRITER = """
import sys
from pathlib import Path
from retrieval.reader_study.ratings import Ratings
path, reader, question, score = sys.argv[1:5]
pictures = [f"picture {number}" for number in range(40)]
ratings = Ratings(Path(path), pictures)
ratings.begin(reader, pseudonym=True)
for picture in pictures:
    ratings.rate(reader, picture, question, int(score))
    print(picture, flush=True)  # what was acknowledged
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_ratings(tmp_path / "ratings.sqlite")
    return tmp_path / "ratings.sqlite"


def opened(path: Path) -> Ratings:
    return Ratings(path, PICTURES)


def writing(path: Path, reader: str, question: str, score: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), reader, question, str(score)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_answers_are_there_after_opening_anew(path: Path) -> None:
    ratings = opened(path)
    ratings.begin("A", pseudonym=False)
    ratings.rate("A", PICTURES[3], "anatomic", 4)
    ratings.rate("A", PICTURES[3], "guess", "generated")
    ratings.rate("A", PICTURES[3], "comment", "nuclei; too round\n=1+1")
    ratings.rate("A", PICTURES[3], "anatomic", 2)
    ratings.close()
    again = opened(path)
    found = again.of("A")[PICTURES[3]]
    assert (found.anatomic, found.diagnostic, found.guess) == (2, None, "generated")
    assert found.comment == "nuclei; too round\n=1+1"
    assert not found.is_complete
    again.rate("A", PICTURES[3], "guess", None)
    assert again.of("A")[PICTURES[3]].guess is None
    assert again.of("B") == {}
    (reader,) = again.readers()
    assert (reader.name, reader.pseudonym, reader.closed) == ("A", False, "")
    assert again.begin("A", pseudonym=True) == reader, "going on changed what was said at the beginning"
    again.close()


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("anatomic", 0),
        ("anatomic", 6),
        ("diagnostic", True),
        ("diagnostic", "3"),
        ("guess", "fake"),
        ("comment", None),
        ("reader", "B"),
        ("anatomic = 1; --", 1),
    ],
)
def test_what_is_no_answer_is_refused(path: Path, question: str, answer: int | str | None) -> None:
    ratings = opened(path)
    ratings.begin("A", pseudonym=True)
    with pytest.raises(ReaderStudyError, match="no answer"):
        ratings.rate("A", PICTURES[0], question, answer)
    with pytest.raises(ReaderStudyError, match="no picture"):
        ratings.rate("A", "another", "anatomic", 1)
    with pytest.raises(ReaderStudyError, match="Nobody reads under the name 'B'"):
        ratings.rate("B", PICTURES[0], "anatomic", 1)
    assert ratings.of("A") == {}
    ratings.close()


def test_long_and_broken_comments_are_kept_as_far_as_they_can_be(path: Path) -> None:
    ratings = opened(path)
    ratings.begin("A", pseudonym=True)
    ratings.rate("A", PICTURES[0], "comment", "\udcff" + "x" * 3000)
    assert ratings.of("A")[PICTURES[0]].comment == "?" + "x" * (LONGEST_COMMENT - 1)
    ratings.close()


def test_what_was_closed_is_frozen_for_every_process_and_tab(path: Path) -> None:
    tab, other_tab = opened(path), opened(path)
    for reader in ("A", "B"):
        tab.begin(reader, pseudonym=True)
    tab.rate("A", PICTURES[0], "anatomic", 3)
    closed = other_tab.close_reader("A")
    assert closed.closed
    for question, answer in (("anatomic", 5), ("guess", "real"), ("comment", "late"), ("diagnostic", None)):
        with pytest.raises(ReaderStudyClosedError, match="frozen"):
            tab.rate("A", PICTURES[0], question, answer)
    with pytest.raises(ReaderStudyClosedError):
        tab.close_reader("A")
    assert tab.begin("A", pseudonym=True) == closed, "beginning again opens what was closed"
    assert tab.of("A") == {PICTURES[0]: Rating(3, rated=tab.of("A")[PICTURES[0]].rated)}
    tab.rate("B", PICTURES[0], "anatomic", 5)  # somebody else reads on
    with pytest.raises(ReaderStudyError, match="'C'"):
        tab.close_reader("C")
    tab.close()
    other_tab.close()


@pytest.mark.slow
def test_two_readers_and_two_tabs_of_one_lose_nothing(path: Path) -> None:
    """Three processes at once; two of them answer different questions about the same pictures of one reader."""
    writers = [
        writing(path, "A", "anatomic", 1),
        writing(path, "A", "diagnostic", 2),
        writing(path, "B", "anatomic", 3),
    ]
    for writer in writers:
        out, _ = writer.communicate()
        assert writer.returncode == 0
        assert out.splitlines() == PICTURES
    ratings = opened(path)
    assert len(ratings.readers()) == 2
    assert {(one.anatomic, one.diagnostic) for one in ratings.of("A").values()} == {(1, 2)}
    assert {(one.anatomic, one.diagnostic) for one in ratings.of("B").values()} == {(3, None)}
    assert len(ratings.of("A")) == len(ratings.of("B")) == len(PICTURES)
    ratings.close()


def test_what_was_acknowledged_survives_a_kill(path: Path) -> None:
    writer = writing(path, "A", "anatomic", 4)
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(10)]
    writer.kill()
    writer.communicate()
    ratings = opened(path)
    found = ratings.of("A")
    assert acknowledged == PICTURES[:10]
    assert set(acknowledged) <= set(found)
    assert set(found) == set(PICTURES[: len(found)]), "in between something is missing"
    ratings.rate("A", PICTURES[-1], "diagnostic", 5)  # and it goes on
    ratings.close()


@pytest.mark.parametrize("name", ["", "  ", "a" * 61, "a\u202eb", "a\x00b", "\ud800"])
def test_what_cannot_be_a_name(path: Path, name: str) -> None:
    with pytest.raises(ReaderStudyError, match="name or a pseudonym"):
        reader_name(name)


def test_one_name_however_it_was_typed() -> None:
    assert reader_name("  Jos\u0065\u0301   B ") == reader_name("Jos\u00e9 B") == "José B"


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReaderStudyError, match="missing"):
        opened(tmp_path / "ratings.sqlite")
    (tmp_path / "ratings.sqlite").write_bytes(b"no database" * 100)
    ratings = opened(tmp_path / "ratings.sqlite")
    with pytest.raises(ReaderStudyError, match="damaged"):
        ratings.readers()
    ratings.close()
