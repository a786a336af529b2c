"""Named queries: kept whole, found again, never overwritten unasked, never outside their folder."""

from __future__ import annotations

import dataclasses
import io
import os
import stat
from pathlib import Path

import PIL.Image
import PIL.PngImagePlugin
import pytest

from index_store import CaseFilter
from retrieval import QueryError
from retrieval.search.query import Query
from retrieval.search.region import Region
from retrieval.search.saved_queries import SavedAnswer, SavedQueries


@pytest.fixture
def saved(tmp_path: Path) -> SavedQueries:
    return SavedQueries(tmp_path / "queries")


def test_a_saved_query_comes_back(saved: SavedQueries) -> None:
    query = Query(
        text="Smear.",
        case="a",
        image_id=3,
        region=Region(0, 0, 0.5, 1),
        more=("b",),
        where=CaseFilter(sites=("urine",)),
    )
    assert saved.names() == ()
    path = saved.save("HSIL (second look)", query)
    assert saved.names() == ("HSIL (second look)",)
    assert saved.load("HSIL (second look)") == query
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    saved.delete("HSIL (second look)")
    assert saved.names() == ()


def test_a_name_that_is_taken_is_kept_unless_asked(saved: SavedQueries) -> None:
    saved.save("a", Query(text="first"))
    with pytest.raises(QueryError, match="already"):
        saved.save("a", Query(text="second"))
    assert saved.load("a").text == "first"
    saved.save("a", Query(text="second"), replace=True)
    assert saved.load("a").text == "second"
    assert [path.name for path in saved.folder.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["", "../a", "a/b", "a\\b", ".hidden", "a.", "a\n", "x" * 81, "_a", "con:"])
def test_a_name_that_leaves_the_folder_or_is_none_is_refused(saved: SavedQueries, name: str) -> None:
    for call in (saved.load, saved.delete, lambda name: saved.save(name, Query(text="a"))):
        with pytest.raises(QueryError, match="cannot name a query"):
            call(name)
    assert not saved.folder.exists()


def test_an_image_is_kept_without_its_metadata(saved: SavedQueries) -> None:
    about = PIL.PngImagePlugin.PngInfo()
    about.add_text("Patient", "Jane Doe")
    file = io.BytesIO()
    PIL.Image.new("RGB", (80, 60), (200, 30, 90)).save(file, "PNG", pnginfo=about)
    path = saved.save("a", Query(image=file.getvalue(), label="field.png"))
    loaded = saved.load("a")
    with PIL.Image.open(io.BytesIO(loaded.image)) as image:
        assert image.size == (80, 60) and image.getpixel((3, 3)) == (200, 30, 90)
        assert not image.text  # type: ignore[attr-defined]
    assert b"Jane" in file.getvalue() and b"Jane" not in loaded.image and "Jane" not in path.read_text()


def test_an_images_scale_is_kept(saved: SavedQueries) -> None:
    """Without it, the same query compared at another size when it was run again."""
    file = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(file, "PNG", dpi=(101_600, 101_600))
    saved.save("said by its file", Query(image=file.getvalue()))
    saved.save("given", Query(image=file.getvalue(), mpp=0.5))
    assert saved.load("said by its file").mpp == pytest.approx(0.25)
    assert saved.load("given").mpp == 0.5


def test_a_missing_query_is_named_with_those_that_are_there(saved: SavedQueries) -> None:
    saved.save("one", Query(text="a"))
    with pytest.raises(QueryError, match=r"no saved query 'two' \(saved: one\)"):
        saved.load("two")
    with pytest.raises(QueryError, match="no saved query 'two'"):
        saved.delete("two")


def test_a_broken_file_is_refused(saved: SavedQueries) -> None:
    saved.save("a", Query(text="a")).write_bytes(b"\xff\xfe")
    with pytest.raises(QueryError, match="no text"):
        saved.load("a")
    path = saved.save("b", Query(text="b"))
    path.write_text("[]")
    with pytest.raises(QueryError, match=r"'b' cannot be run\. This is no query .*b\.json"):
        saved.load("b")


@pytest.mark.parametrize(
    ("size", "message"), [(256 * 1024**2, "no text|JSON|not a"), (256 * 1024**2 + 1, "than 256 MiB")]
)
def test_a_file_that_is_too_large_is_not_read(
    saved: SavedQueries, monkeypatch: pytest.MonkeyPatch, size: int, message: str
) -> None:
    path = saved.save("a", Query(text="a"))
    os.truncate(path, size)  # takes no room on the disk
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "no query")
    with pytest.raises(QueryError, match=message):
        saved.load("a")


def test_the_answer_is_kept_beside_the_query_and_says_what_changed(saved: SavedQueries) -> None:
    answer = SavedAnswer({"a": 1, "b": 2}, 3, "f", "", ("image",))
    saved.save("a.b", Query(text="t"))
    assert saved.answer("a.b") is None
    saved.keep_answer("a.b", answer)
    assert (saved.answer("a.b"), saved.names()) == (answer, ("a.b",))
    assert answer.differs_by(dataclasses.replace(answer, revision=4, text_fingerprint="g")) == (
        "the archive",
        "the encoder of texts",
    )
    saved.save("a.b", Query(text="another"), replace=True)
    assert saved.answer("a.b") is None, "it was of the query before"
    (saved.folder / "a.b.answer").write_text('{"ranks": 1}', encoding="utf-8")
    assert saved.answer("a.b") is None
    saved.delete("a.b")
    assert list(saved.folder.iterdir()) == []
