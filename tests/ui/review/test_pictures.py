"""The pictures of an evidence sheet: how large, in which format, how many, and what is said of those that lack."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from index_store import ArchiveError
from retrieval import Query
from ui.review import pictures as module
from ui.review.pictures import SheetPicture, query_pictures


@pytest.mark.parametrize(
    ("size", "kind", "shown"),
    [
        ((512, 512), "PNG", (512, 512)),
        ((513, 100), "JPEG", (513, 100)),
        ((100, 513), "JPEG", (100, 513)),
        ((1000, 10), "JPEG", (1000, 10)),
        ((1001, 10), "JPEG", (1000, 10)),
        ((20, 2000), "JPEG", (10, 1000)),
    ],
)
def test_a_large_picture_is_a_jpeg_of_at_most_1000_pixels(
    size: tuple[int, int], kind: str, shown: tuple[int, int]
) -> None:
    picture = module._picture(Image.new("RGB", size), "s", "a", 0.5, "l", "c")
    assert (picture.width, picture.height, picture.mpp) == (*size, 0.5), "of the source"
    assert (picture.sha256, picture.alt, picture.label, picture.caption) == ("s", "a", "l", "c")
    head, _, data = picture.data.partition(";base64,")
    assert head == f"data:image/{kind.lower()}"
    with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
        assert (opened.format, opened.size) == (kind, shown)
        if kind == "JPEG":
            assert {layer[1:3] for layer in opened.layer} == {(1, 1)}, "colours are as fine as brightness"


@pytest.mark.parametrize(
    ("width", "mpp", "length"),
    [(1000, 1.0, 200), (999, 1.0, 200), (1700, 1.0, 500), (400, 0.25, 20), (100, 0.01, 0.2), (10_000, 100.0, 200_000)],
)
def test_a_scale_bar_is_the_longest_round_length_within_three_tenths(width: int, mpp: float, length: float) -> None:
    bar = SheetPicture("", "", "", width, 10, mpp).bar
    assert bar == pytest.approx((length, 100 * length / (width * mpp)))


def test_a_scale_in_words() -> None:
    assert SheetPicture("", "", "", 2400, 10, 0.5).scale.endswith(", 1,200 µm wide")
    unknown = SheetPicture("", "", "", 2400, 10, None)
    assert (unknown.scale, unknown.bar) == ("scale unknown", None)


class Cases:
    """An archive of one case, whose images 3 and 6 are damaged."""

    def __init__(self, number: int) -> None:
        self.images = tuple(SimpleNamespace(id=index) for index in range(1, number + 1))

    def case(self, key: str) -> Any:
        if key == "gone":
            raise ArchiveError("There is no such case.")
        return self


def test_of_a_case_four_pictures_are_shown_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def case_picture(case: Any, image: Any) -> tuple[SheetPicture | None, str]:
        if image.id in (3, 6):
            return None, f"{image.id} is damaged."
        return SheetPicture("", str(image.id), "", 1, 1, None), ""

    monkeypatch.setattr(module, "case_picture", case_picture)
    none = SimpleNamespace(synthetic=())

    def shown(number: int, query: Query) -> tuple[list[str], str]:
        pictures, problem = query_pictures(Cases(number), query, none)  # type: ignore[arg-type]
        return [picture.sha256 for picture in pictures], problem

    assert shown(2, Query(case="a")) == (["1", "2"], "")
    assert shown(4, Query(case="a")) == (["1", "2", "4"], "3 is damaged.")
    assert shown(6, Query(case="a")) == (["1", "2", "4"], "3 is damaged. 2 further images are not shown.")
    assert shown(7, Query(case="a", image_id=5)) == (["5"], "")
    assert shown(7, Query(case="gone")) == ([], "There is no such case.")


def test_synthetic_images_that_are_gone_are_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 48)).save(file, "PNG")
    labels = {b"": "", b"not one": "", file.getvalue(): module.SYNTHETIC, b"damaged": module.SYNTHETIC}
    monkeypatch.setattr(module, "image_label", labels.__getitem__)
    for name, data in (("one", file.getvalue()), ("other", b"not one"), ("damaged", b"damaged")):
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in ("one", "other", "missing", "damaged", "one")]

    def shown(*paths: str) -> tuple[list[str], str]:
        found = SimpleNamespace(synthetic=[SimpleNamespace(path=path, seed=n) for n, path in enumerate(paths)])
        pictures, problem = query_pictures(Cases(0), Query(text="t"), found)  # type: ignore[arg-type]
        return [f"{picture.alt}, {picture.caption}, {picture.width}" for picture in pictures], problem

    assert shown(*paths) == (
        ["Synthetic image, seed 0, Seed 0., 64"],
        "3 synthetic images are no longer in the cache: run the query again.",
    )
    assert shown("") == ([], "1 synthetic images are no longer in the cache: run the query again.")
    assert shown(*[paths[0]] * 5) == ([f"Synthetic image, seed {n}, Seed {n}., 64" for n in range(4)], "")
