"""A slide in a query: what it may be, how it is kept, and what it is called to others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retrieval import Query, QueryError, SavedQueries, SlideArea, SlideQuery
from retrieval.search.query import query_from_dict, query_to_dict


def test_a_query_by_a_slide_is_kept_whole(tmp_path: Path) -> None:
    area = SlideArea(1200.5, 800, 128, 128, in_um=True)
    queries = SavedQueries(tmp_path)
    for query in (
        Query(slide=SlideQuery("/slides/a.svs", fields=16, match="median"), mpp=0.25, k=3),
        Query(slide=SlideQuery("/slides/a.svs", area), text="Clusters."),
    ):
        assert query_from_dict(json.loads(json.dumps(query_to_dict(query)))) == query
        queries.save("one", query, replace=True)
        assert queries.load("one") == query
    assert (query.kind, query.rule) == ("report and slide", "text and image")
    assert "image" in query.possible_channels
    assert "slide" not in query_to_dict(Query(text="Clusters."))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x": -1}, "begins left of the slide or above it"),
        ({"width": 0}, "is empty"),
        ({"height": -5}, "is empty"),
        ({"y": float("nan")}, "four finite numbers"),
        ({"width": 1e12}, "larger than any slide"),
        ({"x": True}, "four finite numbers"),
    ],
)
def test_an_area_that_cannot_lie_on_a_slide_is_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        SlideArea(**({"x": 1, "y": 2, "width": 3, "height": 4} | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"path": " "}, "has no path"),
        ({"fields": 0}, "choose 1 to 256"),
        ({"fields": 257}, "choose 1 to 256"),
        ({"match": "sum"}, "choose even, mean, median, best"),
    ],
)
def test_a_slide_that_cannot_query_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        SlideQuery(**({"path": "a.svs"} | values))  # type: ignore[arg-type]
    kept = query_to_dict(Query(slide=SlideQuery("a.svs")))
    kept["slide"] |= values
    with pytest.raises(QueryError, match=message):
        query_from_dict(kept)


def test_a_slide_goes_with_no_image_and_no_case() -> None:
    slide = SlideQuery("a.svs")
    with pytest.raises(QueryError, match="an image and a slide"):
        Query(slide=slide, image=b"x")
    with pytest.raises(QueryError, match="a slide and a case"):
        Query(slide=slide, case="C")
    with pytest.raises(QueryError, match="A region needs one image"):
        from retrieval import Region

        Query(slide=slide, region=Region(0, 0, 1, 1))


def test_an_area_in_micrometres_is_one_in_pixels() -> None:
    assert SlideArea(100, 50, 128, 64, in_um=True).box(0.25) == (400, 200, 512, 256)
    assert SlideArea(100, 50, 128, 64).box(None) == (100, 50, 128, 64)
    assert str(SlideArea(100, 50.5, 128, 64, in_um=True)) == "100, 50.5, 128, 64 µm"
