"""Searched queries are kept under keys that cannot be guessed, without metadata and without an archive's report."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest
from PIL import Image

from index_store import Archive, CaseFilter
from retrieval import Query, Region
from ui.errors import ReviewError
from ui.review import links as module
from ui.review.links import QueryLinks


@pytest.fixture
def opened(archive: Path) -> Archive:
    return Archive.open(archive, read_only=True)


@pytest.fixture
def links(opened: Archive, tmp_path: Path) -> QueryLinks:
    return QueryLinks(tmp_path / "links", opened, "ada")


def test_a_query_comes_back_whole_also_to_a_colleague(links: QueryLinks, opened: Archive) -> None:
    query = Query(text="Clue cells.", more=("a",), k=7, where=CaseFilter(sites=("cervix",)), seeds=(3,))
    key = links.keep(query)
    assert QueryLinks(links.folder.parent, opened, "grace").load(key) == query
    assert len(key) * 4 >= 128, "bits"
    assert links.keep(query) != key
    links.keep(Query(text="Clue cells."))
    assert [past.words for past in links.last(5)] == ["Clue cells.", "Clue cells. · Site: cervix"], "each once"
    assert query == links.load(links.last(2)[1].key)
    assert QueryLinks(links.folder.parent, opened, "grace").last(5) == ()


def test_a_picture_is_kept_once_as_pixels_with_its_scale(links: QueryLinks) -> None:
    file = io.BytesIO()
    picture = Image.effect_noise((64, 48), 60).convert("RGB")
    picture.save(file, "TIFF", description="DOE, JANE", resolution_unit=3, resolution=40_000.0)
    first = links.keep(Query(image=file.getvalue(), label="field.tif"))
    links.keep(Query(image=file.getvalue(), label="field.tif", region=Region(0, 0, 0.5, 0.5)))
    assert len(list(links.folder.glob("*.png"))) == 1
    assert not [path for path in links.folder.iterdir() if b"JANE" in path.read_bytes()]
    assert links.last(2)[1].words == "image field.tif"
    query = links.load(first)
    assert (query.label, query.mpp) == ("field.tif", pytest.approx(0.25))
    with Image.open(io.BytesIO(query.image)) as kept:
        assert kept.convert("RGB").tobytes() == picture.tobytes()


def test_a_picture_lives_as_long_as_the_last_query_by_it(links: QueryLinks) -> None:
    def searched(edge: int) -> str:
        file = io.BytesIO()
        Image.new("RGB", (edge, 64), "white").save(file, "PNG")
        return links.keep(Query(image=file.getvalue()))

    searched(64), searched(65)
    for path in links.folder.iterdir():
        os.utime(path, ns=(0, 0))
    key = searched(64)
    assert links.load(key).image
    assert len(list(links.folder.glob("*.png"))) == len(list(links.folder.glob("*.mpp"))) == 1
    (picture,) = links.folder.glob("*.png")
    nearly = picture.stat().st_mtime - 80 * 86_400
    os.utime(picture, (nearly, nearly))
    searched(64)
    assert picture.stat().st_mtime > nearly


def test_the_report_of_a_case_is_read_from_the_archive_again(links: QueryLinks, opened: Archive) -> None:
    case = opened.cases(limit=1)[0]
    key = links.keep(Query(case=case.key, text=case.report))
    assert case.report not in (links.folder / f"{key}.json").read_text(encoding="utf-8")
    assert links.load(key).text == case.report


@pytest.mark.parametrize("key", ["", "0" * 40, "../../../etc/passwd", "*", "0" * 39 + "\n"])
def test_what_is_no_key_is_refused(links: QueryLinks, key: str) -> None:
    links.keep(Query(text="t"))
    with pytest.raises(ReviewError, match="search again"):
        links.load(key)


def test_old_ones_are_forgotten_and_files_are_for_their_owner(
    links: QueryLinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    keys = [links.keep(Query(text=str(number))) for number in range(3)]
    for number, key in enumerate(keys):
        os.utime(links.folder / f"{key}.json", ns=(2**61 + number, 2**61 + number))
    os.utime(links.folder / f"{keys[0]}.json", ns=(0, 0))
    links.keep(Query(text="new"))
    assert not (links.folder / f"{keys[0]}.json").exists()
    assert (links.folder / f"{keys[1]}.json").exists()
    assert {stat.S_IMODE(path.stat().st_mode) for path in links.folder.iterdir()} == {0o600}
    assert stat.S_IMODE(links.folder.stat().st_mode) == 0o700


def test_what_is_kept_and_for_how_long(links: QueryLinks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were searched last, to the second, to the query and to the byte."""
    assert (module.DAYS, module.MOST, module.PICTURES_MB) == (90, 1000, 512)
    monkeypatch.setattr(module, "MOST", 10)
    now = 1_000_000_000
    monkeypatch.setattr(module.time, "time", lambda: float(now))
    links.folder.mkdir(parents=True)

    def left(ages: dict[str, int], size: int = 1) -> set[str]:
        """Which of the files are left, by their seconds since they were used."""
        for path in links.folder.iterdir():
            path.unlink()
        for name, age in ages.items():
            with (links.folder / name).open("wb") as file:
                file.truncate(size)  # a hole, which takes no room
            os.utime(links.folder / name, (now - age, now - age))
        links._forget_old()
        return {path.name for path in links.folder.iterdir()}

    days = 90 * 86_400
    assert left({"a.json": days, "b.json": days + 1, "a.png": days, "b.png": days + 1, "b.mpp": 0}) == {
        "a.json",
        "a.png",
    }
    assert left({f"{n}.json": n for n in range(12)}) == {f"{n}.json" for n in range(10)}
    quarter = {f"{n}.png": n for n in range(5)} | {f"{n}.mpp": 0 for n in range(5)}
    assert left(quarter, 128 << 20) == {f"{n}.{kind}" for n in range(4) for kind in ("png", "mpp")}


def test_a_query_that_cannot_be_read_is_left_out_of_the_list_and_named(links: QueryLinks) -> None:
    keys = [links.keep(Query(text=text)) for text in ("one", "two", "three", "four")]
    for number, key in enumerate(keys):
        os.utime(links.folder / f"{key}.json", (number, number))
    for key, damage in ((keys[1], "{"), (keys[2], "[]")):
        (links.folder / f"{key}.json").write_text(damage, encoding="utf-8")
        os.utime(links.folder / f"{key}.json", (2, 2))
        with pytest.raises(ReviewError, match="cannot be read"):
            links.load(key)
    assert [past.words for past in links.last(9)] == ["four", "one"]
    assert [past.words for past in links.last(1)] == ["four"]
    (links.folder / f"{keys[0]}.json").write_text("{}", encoding="utf-8")
    assert [past.words for past in links.last(9)] == ["four"]
