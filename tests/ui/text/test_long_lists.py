"""Lists that are cut name how many they leave out; amounts change their unit; what is not known is not printed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ui.text import archive, imports


def added(**changed: Any) -> Any:
    nothing = dict.fromkeys(("added", "updated", "unchanged", "derived", "reports"), 0)
    lists = dict.fromkeys(("skipped", "identifiers", "slides", "notes"), ())
    return SimpleNamespace(
        **{**nothing, **lists, "seconds": 2.0, "images_per_second": 3.5, "redacted": False, **changed}
    )


def test_what_was_added_is_counted_where_there_is_any() -> None:
    head = "added 0 images, updated 0, unchanged 0, skipped 0"
    assert archive.add_text(added()) == head
    assert archive.add_text(added(added=7, updated=1, unchanged=2, skipped=("a", "b"))) == (
        "added 7 images, updated 1, unchanged 2, skipped 2; 2.0 s, 3.5 images/s\n  skipped a\n  skipped b"
    )
    assert archive.add_text(added(derived=3)) == f"{head}; site or category of 3 cases extracted from their reports"
    assert archive.add_text(added(reports=4)) == f"{head}; 4 reports embedded"
    assert "They are stored unchanged" in archive.add_text(added(identifiers=("2 names",)))
    assert "2 names. They were replaced." in archive.add_text(added(identifiers=("2 names",), redacted=True))


def test_of_many_slides_twenty_are_listed() -> None:
    slide = SimpleNamespace(
        line=2, fields=9, unread=1, width_um=128.0, places=40, left_out={"blurred": 3}, seconds=0.5, notes=()
    )
    line = "  line 2: a slide, 8 fields of 128 µm of 40 places, 3 blurred; chosen in 0.5 s"
    assert archive._slides([slide] * 20) == [line] * 20
    assert archive._slides([slide] * 21) == [*[line] * 20, "  and 1 more slides"]
    series = SimpleNamespace(**{**vars(slide), "places": 0, "left_out": {}, "notes": ("n",)})
    assert archive._slides([series]) == ["  line 2: a slide, 8 fields of 128 µm; chosen in 0.5 s", "  Note: n"]


def test_scales_are_listed_by_their_number() -> None:
    assert archive._scales({}) == archive._scales({"unknown": 4}) == ""
    assert archive._scales({"0.5": 1, "unknown": 4, "0.25": 3}) == "µm a pixel of images: 0.25: 3, 0.5: 1, unknown: 4"
    twelve = {str(number): 20 - number for number in range(12)}
    assert archive._scales(twelve).endswith("10: 10, 11: 9")
    assert archive._scales({**twelve, "12": 1}).endswith("10: 10, 11: 9, 1 others")


def test_an_index_says_how_exact_it_is() -> None:
    index: Any = SimpleNamespace(mode="flat", memory_bytes=2_500_000, recall={}, measured_at=0)
    assert archive._index_lines(None) == []
    assert archive._index_lines(index) == ["flat: exact, 2.5 MB of memory"]
    index.recall, index.measured_at = {"image": 0.9876}, 500
    assert archive._index_lines(index) == [
        "flat: exact under filters, 2.5 MB of memory",
        "without a filter recall@10 0.988 (image), measured at 500 vectors",
    ]


@pytest.mark.parametrize(
    ("number", "end"), [(0, "none stated; ask the authors."), (1, "Left out: 0."), (10, "8, 9."),
                        (11, "8, 9 and 1 further (all are in README.md).")],
)  # fmt: skip
def test_ten_of_the_parts_that_an_import_left_out_are_named(number: int, end: str) -> None:
    made: Any = SimpleNamespace(
        kind="LoRA", folder="here", source="there", revision="", licence="", changes=(),
        left_out=tuple(map(str, range(number))),
    )  # fmt: skip
    text = imports.import_text(made)
    assert text.startswith("LoRA imported to here from there.\n")
    assert text.endswith(end)


@pytest.mark.parametrize(
    ("amount", "words"), [(49_999_999, "50.0 MB"), (50_000_000, "0.1 GB"), (1_250_000, "1.2 MB"), (17e9, "17.0 GB")]
)
def test_amounts_of_memory(amount: int, words: str) -> None:
    assert imports._gb(amount) == words


def test_memory_that_is_just_enough_is_enough() -> None:
    assert imports._memory(10**9, 10**9, "about") == "about 1.0 GB needed, 1.0 GB available"
    assert imports._memory(10**9 + 1, 10**9, "about") == "about 1.0 GB needed, 1.0 GB available: NOT ENOUGH"
    assert imports._memory(10**9, None, "more than") == "more than 1.0 GB needed, unknown available"
