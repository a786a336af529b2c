"""What a query asks, in words."""

from __future__ import annotations

from index_store import CaseFilter
from retrieval import Query, Region, SlideQuery
from retrieval.search.slides.slide_query import SlideArea
from ui.text.query import choice_words, filter_words, picture_words


def test_the_picture_of_a_query_in_words() -> None:
    half = Region(0, 0, 0.5, 1)
    assert picture_words(Query(text="Smear.")) == ""
    assert picture_words(Query(image=b"x", label="a.png")) == "image a.png"
    assert picture_words(Query(image=b"x")) == "image"
    assert picture_words(Query(case="K")) == "case K"
    assert picture_words(Query(case="K", image_id=7, region=half)) == (
        "a part of image 7 of case K: from 0% to 50% of its width, 0% to 100% of its height"
    )
    assert picture_words(Query(slide=SlideQuery("C:\\slides\\a.svs"))) == "slide a.svs"
    assert picture_words(Query(slide=SlideQuery("/s/a.svs", SlideArea(1, 2, 30, 40)))) == (
        "the part 1, 2, 30, 40 of slide a.svs"
    )


def test_every_filter_has_words() -> None:
    assert filter_words(None) == filter_words(CaseFilter()) == []
    for field, value in {
        **dict.fromkeys(("sites", "systems", "categories", "stains", "preparations", "kinds", "sources"), ("a", "b")),
        **dict.fromkeys(("exclude_patients", "exclude_cases"), ("a", "b")),
    }.items():
        (words,) = filter_words(CaseFilter(**{field: value}))
        assert words.endswith(": a or b"), words
    assert filter_words(CaseFilter(labels=(("cervix", "", "HSIL"),))) == ["Label: cervix/HSIL"]
    assert filter_words(CaseFilter(mpp=(0.2, 0.3), phantoms=False)) == [
        "Scale: 0.2 to 0.3 µm a pixel",
        "Without phantoms",
    ]
    assert filter_words(CaseFilter(phantoms=True)) == ["Phantoms only"]


def test_what_else_was_chosen_has_words() -> None:
    assert choice_words(Query(text="Smear.")) == []
    chosen = Query(text="a", channels=("report",), fusion="rrf", weights=(("report", 2.0),), site="urine")
    assert choice_words(chosen) == [
        "Only by: reports",
        "Joined by ranks",
        "Weights: reports 2",
        "Generated images of: urine",
    ]
    assert choice_words(Query(case="K", include_own_patient=True)) == ["With other cases of its own patient"]
