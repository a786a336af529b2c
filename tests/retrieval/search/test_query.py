"""A query is data: it refuses what cannot be asked, is refined into new ones, and comes back from JSON as it was."""

from __future__ import annotations

import json
from typing import Any

import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index_store import CaseFilter
from retrieval import QueryError
from retrieval.search.channels.registry import CHANNELS
from retrieval.search.query import Query, query_from_dict, query_from_json, query_to_dict
from retrieval.search.region import Region

fractions = st.floats(0, 1, allow_nan=False)
words = st.text(max_size=20)
keys = st.lists(st.text(min_size=1, max_size=8), max_size=3, unique=True).map(tuple)


@st.composite
def regions(draw: Any) -> Region:
    left, right = sorted(draw(st.lists(fractions, min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(fractions, min_size=2, max_size=2, unique=True)))
    return Region(left, top, right, bottom)


@st.composite
def queries(draw: Any) -> Query:
    text = draw(st.sampled_from(["", "Smear shows clusters.", "宮頸細胞 — é"]))
    asked_by = draw(st.sampled_from(["image", "case", "nothing"] if text else ["image", "case"]))
    image = draw(st.binary(min_size=1, max_size=40)) if asked_by == "image" else b""
    case = draw(st.text(min_size=1, max_size=8)) if asked_by == "case" else ""
    image_id = draw(st.none() | st.integers(1, 99)) if case else None
    possible = Query(text=text, image=image, case=case).possible_channels
    return Query(
        text=text,
        image=image,
        label=draw(words),
        case=case,
        image_id=image_id,
        region=draw(st.none() | regions()) if image or image_id is not None else None,
        more=draw(keys),
        less=draw(keys),
        seeds=tuple(draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5, unique=True))),
        channels=tuple(draw(st.lists(st.sampled_from(possible), unique=True))),
        fusion=draw(st.sampled_from([None, "rrf", "score"])),
        weights=tuple(draw(st.dictionaries(st.sampled_from(list(CHANNELS)), st.floats(0, 5))).items()),
        include_own_patient=draw(st.booleans()),
        k=draw(st.integers(1, 100)),
        where=draw(st.none() | st.builds(CaseFilter, sites=keys, phantoms=st.sampled_from([None, True, False]))),
    )


@pytest.mark.slow
@given(queries())
def test_a_query_comes_back_from_json_as_it_was(query: Query) -> None:
    assert query_from_json(json.dumps(query_to_dict(query))) == query


@pytest.mark.slow
@given(queries(), st.text(min_size=1, max_size=8))
def test_a_mark_replaces_the_opposite_one_and_can_be_taken_back(query: Query, key: str) -> None:
    liked = query.more_like(key)
    assert liked.more[-1] == key and key not in liked.less
    disliked = liked.less_like(key)
    assert disliked.less[-1] == key and key not in disliked.more
    plain = disliked.unmarked(key)
    assert key not in (*plain.more, *plain.less)
    assert [k for k in query.more if k != key] == list(plain.more)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "The query is empty"),
        ({"text": "  "}, "report is empty"),
        ({"image": b"x", "case": "a"}, "one of the two"),
        ({"text": "a", "k": 0}, "at least 1"),
        ({"text": "a", "seeds": ()}, "at least one seed"),
        ({"text": "a", "channels": ("image",)}, "needs an image, a slide or a case"),
        ({"case": "a", "channels": ("joint",)}, "needs report text"),
        ({"text": "a", "channels": ("magic",)}, "no channel 'magic'"),
        ({"case": "a", "region": Region(0, 0, 1, 1)}, "needs one image"),
        ({"text": "a", "image_id": 3}, "without the case"),
        ({"text": "a", "image_id": 0}, "without the case"),
        ({"text": "a", "mpp": 0.25}, "no image that it is the scale of"),
        ({"case": "a", "mpp": 0.25}, "no image that it is the scale of"),
        ({"image": b"x", "mpp": 0.0}, "0 µm a pixel is no scale"),
        ({"image": b"x", "mpp": 0.049}, r"\(0.05 to 20\)"),
        ({"image": b"x", "mpp": 20.1}, "20.1 µm a pixel is no scale"),
        ({"text": "a", "region": Region(0, 0, 1, 1)}, "needs one image"),
        ({"text": "a", "case": "b", "channels": ("generated",), "seeds": ()}, "at least one seed"),
    ],
)
def test_what_cannot_be_asked_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(QueryError, match=message):
        Query(**values)


def test_what_a_query_is_where_nothing_else_is_said() -> None:
    query = Query(text="a")
    assert (query.seeds, query.preset, query.k, query.include_own_patient) == ((0, 1, 2, 3), "draft", 10, False)
    for values in (
        {"text": "a", "k": 1},
        {"image": b"x", "mpp": 0.05},
        {"image": b"x", "mpp": 20.0},
        {"case": "a", "image_id": 0, "region": Region(0, 0, 1, 1)},
        {"image": b"x", "region": Region(0, 0, 1, 1)},
        {"case": "a", "seeds": ()},  # nothing is generated
    ):
        Query(**values)  # type: ignore[arg-type]


def test_a_part_of_an_image_can_be_all_of_it_again() -> None:
    part, query = Region(0, 0, 0.5, 1), Query(case="a", image_id=7)
    assert query.within(part) == Query(case="a", image_id=7, region=part)
    assert query.within(part, image_id=0) == Query(case="a", image_id=0, region=part)
    assert query.within(part).within(None) == query


def test_what_is_not_said_is_not_kept_so_that_versions_before_can_read_it() -> None:
    plain = query_to_dict(Query(text="a", where=CaseFilter(sites=("cervix",))))
    assert plain["version"] == 1
    assert not {"mpp", "slide"} & plain.keys()
    assert not {"mpp", "labels"} & plain["where"].keys()
    whole = Query(
        image=b"x",
        mpp=0.25,
        where=CaseFilter(labels=(("cervix", "", "NILM"),), mpp=(0.2, 0.3)),
        weights=(("image", 2),),
    )
    kept = json.loads(json.dumps(query_to_dict(whole)))
    assert kept["mpp"] == 0.25
    assert kept["where"]["mpp"] == [0.2, 0.3]
    assert kept["where"]["labels"] == [["cervix", "", "NILM"]]
    assert query_from_dict(kept) == whole
    assert query_from_dict({**plain, "version": 0}).text == "a"
    assert query_from_dict({**plain, "where": None, "region": None}) == Query(text="a")


@pytest.mark.parametrize(
    "sides", [(0.5, 0, 0.5, 1), (0, 0.9, 1, 0.1), (-0.1, 0, 1, 1), (0, 0, 1, 1.5), (0, 0, float("nan"), 1)]
)
def test_a_region_that_is_none_is_refused(sides: tuple[float, ...]) -> None:
    with pytest.raises(QueryError, match="region"):
        Region(*sides)


def test_a_region_cuts_its_part_and_never_nothing() -> None:
    image = PIL.Image.new("RGB", (100, 50))
    assert Region(0.25, 0.5, 0.75, 1).cut(image).size == (50, 25)
    assert Region(0.5, 0.84, 0.58, 1).cut(image).size == (8, 8)
    with pytest.raises(QueryError, match=r"has 7 × 8 pixels of the image's 100 × 50: too few"):
        Region(0.5, 0.84, 0.57, 1).cut(image)


def test_dropping_seeds_ends_before_the_last() -> None:
    query = Query(text="a", seeds=(4, 7)).without_seed(4)
    assert query.seeds == (7,)
    with pytest.raises(QueryError, match="at least one seed"):
        query.without_seed(7)
    with pytest.raises(QueryError, match="no generated image of seed 9"):
        query.without_seed(9)


def test_editing_the_text_keeps_the_seeds() -> None:
    assert Query(text="a", seeds=(4, 7)).with_text("b") == Query(text="b", seeds=(4, 7))


@pytest.mark.parametrize(
    ("query", "kind", "rule", "channels"),
    [
        (Query(text="a"), "report", "text", ("generated", "joint", "report")),
        (Query(image=b"x"), "image", "image", ("image", "colour")),
        (Query(case="a"), "case", "image", ("image", "colour")),
        (Query(text="a", case="b"), "report and case", "text and image", tuple(CHANNELS)),
    ],
)
def test_what_a_query_holds_decides_channels_and_rule(
    query: Query, kind: str, rule: str, channels: tuple[str, ...]
) -> None:
    assert (query.kind, query.rule, query.possible_channels) == (kind, rule, channels)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("version"),
        lambda d: d.update(version=99),
        lambda d: d.update(image="%%%"),
        lambda d: d.update(text=3),
        lambda d: d.update(k="3"),
        lambda d: d.update(region=[1, 2]),
        lambda d: d.update(weights=[1]),
        lambda d: d.update(where=["cervix"]),
        lambda d: d.update(more=[1]),
        lambda d: d.update(unknown=1),
        lambda d: d.update(version=2),
        lambda d: d.update(version="1"),
        lambda d: d.update(k=True),
        lambda d: d.update(k=3.0),
        lambda d: d.update(seeds=[1.5]),
        lambda d: d.update(label=1),
        lambda d: d.update(less=[None]),
        lambda d: d.update(image="", case="a", image_id="1"),
        lambda d: d.update(image="eA==", mpp=True),
    ],
)
def test_what_is_no_query_is_refused(change: Any) -> None:
    document = query_to_dict(Query(text="a"))
    change(document)
    with pytest.raises(QueryError, match=r"no query|newer version"):
        query_from_dict(document)


@pytest.mark.parametrize("text", ["", "[", "[]", "3", "{}"])
def test_what_is_no_json_query_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        query_from_json(text)
